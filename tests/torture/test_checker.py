"""The checker sees each kind of damage: one thing is damaged at a time."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.host import kernel, mounts
from tests.support import loops
from tests.support.repeating import until
from tests.torture import checker, data
from tests.torture.bed import Bed
from tests.torture.bed_array import ArrayBed
from tests.torture.bed_loopfile import LoopFileBed
from tests.torture.clients import Client
from tests.torture.plan import Action
from tests.torture.truth import CREATED, PUBLISHED, Finding, Volume

pytestmark = pytest.mark.root
IOC_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN: stop the file system as an error does."""


def thick_volume(client: Client) -> Volume:
    volume = client.volumes[-1]
    volume.wants_thick = True
    client._modify(volume)
    return volume


def act(client: Client, name: str, *, pick: float = 0.0, kind: str = "ext4", level: int = CREATED) -> None:
    client.act(Action(name, pick, kind, level))


def furnish(bed: Bed) -> Client:
    """A published volume with data and a snapshot, and a raw one that is not attached."""
    bed.start()
    client = Client(bed, "c", random.Random(1))
    client.hurry = False
    act(client, "create")
    act(client, "up", level=PUBLISHED)
    act(client, "write")
    act(client, "snapshot")
    act(client, "create", kind="block")
    act(client, "up", pick=0.9, level=PUBLISHED)
    act(client, "write", pick=0.9)
    act(client, "down", pick=0.9)
    return client


@pytest.fixture(scope="module")
def furnished() -> Iterator[Client]:
    bed = LoopFileBed()
    try:
        yield furnish(bed)
    finally:
        bed.close()


@pytest.fixture
def client(furnished: Client) -> Iterator[Client]:
    """Each test repairs what it damages, so that the next one begins with nothing wrong."""
    assert checker.check(furnished.bed) == []
    yield furnished
    assert checker.check(furnished.bed) == []


@pytest.fixture
def bed(client: Client) -> Bed:
    return client.bed


@pytest.fixture
def published(client: Client) -> Volume:
    return client.volumes[0]


@pytest.fixture
def detached(client: Client) -> Volume:
    return client.volumes[1]


def test_a_deleted_file_of_a_volume_is_found(bed: Bed, detached: Volume) -> None:
    file = bed.pool / f"volume-{detached.id}"
    kept = file.rename(bed.pool / "ballast")  # a name that the checker ignores
    assert checker.check(bed) == [f"missing object {file.name} (1)"]
    kept.rename(file)


def test_an_additional_file_is_found(bed: Bed) -> None:
    file = bed.pool / ".incomplete" / "volume-x"
    file.write_bytes(b"")
    assert checker.check(bed) == ["unexpected object .incomplete/volume-x (0)"]
    file.unlink()


def test_a_volume_of_another_size_is_found(bed: Bed, detached: Volume) -> None:
    file = bed.pool / f"volume-{detached.id}"
    os.truncate(file, 2 * 1024**3)
    assert checker.check(bed) == [f"object {file.name} is 2, not 1"]
    os.truncate(file, 1024**3)


def test_a_record_that_was_dropped_or_changed_is_found(bed: Bed, detached: Volume) -> None:
    with sqlite3.connect(bed.state / "controller" / "metadata.db", isolation_level=None) as database:
        row = database.execute("SELECT * FROM volumes WHERE id = ?", [detached.id]).fetchone()
        database.execute("DELETE FROM volumes WHERE id = ?", [detached.id])
        assert checker.check(bed) == [f"missing record volume-{detached.id} (available 1)"]
        database.execute(f"INSERT INTO volumes VALUES ({', '.join('?' * len(row))})", row)
        (body,) = database.execute("SELECT body FROM volumes WHERE id = ?", [detached.id]).fetchone()
        changed = json.dumps({**json.loads(body), "status": "deleting"})
        database.execute("UPDATE volumes SET body = ? WHERE id = ?", [changed, detached.id])
        assert checker.check(bed) == [f"record volume-{detached.id} is deleting 1, not available 1"]
        database.execute("UPDATE volumes SET body = ? WHERE id = ?", [body, detached.id])
    database.close()


def test_the_record_of_a_deleted_volume_waits_for_the_clean_up(bed: Bed, detached: Volume) -> None:
    assert not checker.awaits_clean_up(bed)
    with sqlite3.connect(bed.state / "controller" / "metadata.db", isolation_level=None) as database:
        (body,) = database.execute("SELECT body FROM volumes WHERE id = ?", [detached.id]).fetchone()
        for status, waits in (("deleted", True), ("deleting", False)):
            changed = json.dumps({**json.loads(body), "status": status})
            database.execute("UPDATE volumes SET id = 'x', body = ? WHERE id = ?", [changed, detached.id])
            assert checker.awaits_clean_up(bed) == waits
            database.execute("UPDATE volumes SET id = ?, body = ? WHERE id = 'x'", [detached.id, body])
    database.close()


def test_a_mount_that_was_left_or_lost_is_found(bed: Bed, published: Volume) -> None:
    elsewhere = bed.root / "left"
    elsewhere.mkdir()
    mounts.bind(str(bed.target(published.name)), str(elsewhere))
    assert checker.check(bed) == [f"unexpected mount at {elsewhere}"]
    mounts.unmount(str(elsewhere))
    target = str(bed.target(published.name))
    mounts.unmount(target)
    assert checker.check(bed) == [f"missing mount at {target}"]
    mounts.bind(str(bed.staging(published.name)), target)


def detach(device: str, bed: Bed) -> None:
    """It goes when the last one has closed it who looks at it just now."""
    subprocess.run(["losetup", "--detach", device], check=True)
    number = int(device.removeprefix("/dev/loop"))
    until(lambda: number not in loops.below(str(bed.root)))


def test_a_loop_device_that_was_left_is_found(bed: Bed, detached: Volume) -> None:
    argv = ["losetup", "--find", "--show", str(bed.pool / f"volume-{detached.id}")]
    device = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    assert checker.check(bed) == [f"unexpected loop device on volume-{detached.id}"]
    detach(device, bed)


def test_a_stage_record_that_was_lost_or_left_is_found(bed: Bed, published: Volume) -> None:
    record = bed.state / "node" / "stage" / f"{published.id}.json"
    other = record.rename(record.with_name("left.json"))
    assert checker.check(bed) == [f"missing stage record of {published.id}", "unexpected stage record of left"]
    other.rename(record)


def test_a_changed_byte_is_found(client: Client, published: Volume) -> None:
    file = client.bed.target(published.name) / next(iter(published.contents))
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(Finding, match=f"{published.name}: {file.name} holds"):
        client.verify(published)
    file.write_bytes(content)
    client.verify(published)


def test_a_file_system_that_an_error_stopped_is_staged_anew_before_its_data_are_compared(
    client: Client, published: Volume
) -> None:
    target = client.bed.target(published.name)
    with kernel.opened(str(target), os.O_RDONLY) as fd:
        kernel.ioctl(fd, IOC_SHUTDOWN, bytearray(struct.pack("=I", 2)))
    with pytest.raises(data.Stopped):
        data.verify(published, target)
    client.verify(published)
    assert published.level == PUBLISHED


def test_a_changed_byte_of_a_detached_raw_volume_is_found(client: Client, detached: Volume) -> None:
    with (client.bed.pool / f"volume-{detached.id}").open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
        file.flush()
        with pytest.raises(Finding, match=f"{detached.name}: 0 holds"):
            client.verify(detached)
        client.bring(detached, CREATED)
        file.seek(0)
        file.write(first)
    client.verify(detached)


def test_a_changed_snapshot_is_found(client: Client, published: Volume) -> None:
    (snapshot,) = published.snapshots
    client.verify_snapshot(snapshot)
    key, checksum = next(iter(snapshot.contents.items()))
    snapshot.contents[key] = checksum[:-1] + "x"
    with pytest.raises(Finding, match=f"{key} holds"):
        client.verify_snapshot(snapshot)
    snapshot.contents[key] = checksum
    client.delete(client.volumes[-1])


def test_damage_to_what_belongs_to_others_is_found(bed: Bed) -> None:
    notes = bed.pool / "notes.txt"
    content = notes.read_bytes()
    notes.write_bytes(b"changed")
    assert checker.check(bed) == ["the file notes.txt of others in the pool is gone or changed"]
    notes.write_bytes(content)
    (number,) = (number for number, path in loops.below(str(bed.root)).items() if path == bed.foreign_file)
    detach(f"/dev/loop{number}", bed)
    assert checker.check(bed) == ["a loop device of others is gone"]
    subprocess.run(["losetup", "--find", bed.foreign_file], check=True)
    inner = Path(bed.foreign_mount)
    kept = (inner / "data").read_bytes()
    kernel.call("umount2", os.fsencode(inner), 0)
    assert checker.check(bed) == [f"missing mount at {inner}", "a mount of others is gone"]
    mounts.mount("foreign", str(inner), "tmpfs")
    (inner / "data").write_bytes(kept)


def test_a_mapping_and_a_deletion_on_the_array_are_found() -> None:
    bed = ArrayBed()
    try:
        client = furnish(bed)
        assert checker.check(bed) == []
        published, detached = client.volumes
        (lun,) = (lun for lun in bed.array.luns() if lun.name == f"volume-{detached.id}")
        bed.array.map(lun.id, "another-host")
        assert checker.check(bed) == [f"volume-{detached.id} is mapped to another-host, and must be mapped to nothing"]
        bed.array.unmap(lun.id, "another-host")
        (foreign,) = (lun for lun in bed.array.luns() if lun.by == "others")
        bed.array.delete(foreign.id)
        assert checker.check(bed) == ["deleted a LUN of others: volume-of-others"]
        data.verify(published, bed.target(published.name))
    finally:
        bed.close()


def test_a_thick_volume_without_its_space_is_seen(client: Client, bed: Bed) -> None:
    volume = thick_volume(client)
    file = bed.pool / f"volume-{volume.id}"
    assert checker.check(bed) == []
    with file.open("r+b") as opened:
        kernel.call("fallocate", opened.fileno(), 0x3, 512 * 1024**2, 4096)
    assert checker.check(bed) == [f"volume-{volume.id} is not allocated as a whole"]
    volume.wants_thick = False
    client._modify(volume)


def test_an_unfinished_modification_is_seen(client: Client, bed: Bed) -> None:
    volume = client.volumes[-1]
    database = sqlite3.connect(bed.state / "controller" / "metadata.db")
    (was,) = database.execute("SELECT body FROM volumes WHERE id = ?", (volume.id,)).fetchone()
    for body in (json.dumps({**json.loads(was), "modification": {"message": "no"}}), was):
        with database:
            database.execute("UPDATE volumes SET body = ? WHERE id = ?", (body, volume.id))
        found = checker.check(bed)
        assert (found == []) == (body == was)
    database.close()
