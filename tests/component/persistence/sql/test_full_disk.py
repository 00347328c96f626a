"""Promise 28 for SQLite: on a full disk records are changed and removed, and none that begins something is added."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.model.records import KeyValue, Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.samples import volume
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.sql.sqlite import RESERVED_FILES, RESERVED_SIZE
from tests.support.disks import Disk, mounted

pytestmark = pytest.mark.root

BLOB = {"blob": "x" * 4000}


WHOLE = RESERVED_FILES * RESERVED_SIZE


@pytest.fixture(params=["tmpfs", "ext4", "xfs"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", 320 if request.param == "xfs" else 16, request.param) as made:
        yield made


@contextmanager
def opened(disk: Disk) -> Iterator[Store]:
    with closing(open_store("sql", state_dir=disk.path)) as store:
        yield store


def reserved(disk: Disk) -> int:
    """Bytes that are kept back."""
    return sum(path.stat().st_size for path in (disk.path / "metadata.db-reserve").iterdir())


def add_until_full(store: Store, disk: Disk) -> list[Volume]:
    """Up to the last page, so that the log is as long as it gets and nothing of it fits into the file."""
    added = [store.add(volume(f"{number:05}", status=Status.CREATING, fields=BLOB)) for number in range(50)]
    disk.fill_but(1024 * 1024)
    with pytest.raises(StoreUnavailable, match=rf"the disk of the metadata store {disk.path}/metadata\.db is full"):
        added.extend(
            store.add(volume(f"{number:05}", status=Status.CREATING, fields=BLOB)) for number in range(50, 5000)
        )
    disk.fill()
    return list(_all(store))


def _all(store: Store) -> Sequence[Volume]:
    return store.page(Volume, limit=5000).records


def test_everything_is_removed_on_a_full_disk_by_those_who_filled_it_and_by_others(disk: Disk) -> None:
    with opened(disk) as store:
        added = add_until_full(store, disk)
        assert len(added) > 50
        for record in added[::2]:
            store.remove(store.replace(replace(record, status=Status.DELETING, owner="me")))
            disk.fill()
    disk.fill()  # others take the room of the log
    with opened(disk) as store:
        assert _all(store) == tuple(added[1::2])
        for record in added[1::2]:
            store.remove(store.replace(replace(record, status=Status.DELETING, owner="me")))
            disk.fill()
        assert _all(store) == ()
        disk.clear()
        assert store.add(volume("again", status=Status.CREATING, fields=BLOB)).id == "again"
        assert reserved(disk) == WHOLE


def test_what_clean_up_writes_down_has_room_and_what_begins_has_none(disk: Disk) -> None:
    with opened(disk) as store:
        record = add_until_full(store, disk)[0]
        for number in range(20):
            store.add(KeyValue(id=f"leftover {number}", value="x" * 1000))
            disk.fill()
            with pytest.raises(StoreUnavailable, match="is full"):
                store.add(volume("new", status=Status.CREATING, fields={"blob": "x" * 100_000}))
            with pytest.raises(StoreUnavailable, match="is full"):
                store.replace(replace(record, status=Status.EXTENDING, message="x" * 100_000))


def test_large_values_of_a_user_do_not_take_the_room_for_deletions(disk: Disk) -> None:
    with opened(disk) as store:
        added = [replace(record, status=Status.AVAILABLE) for record in add_until_full(store, disk)]
        for record in added[:20]:
            with pytest.raises(StoreUnavailable, match="is full"):
                store.replace(replace(record, metadata={"note": "x" * 2_000_000}))
            disk.fill()
        for record in added:
            store.remove(store.replace(replace(record, status=Status.DELETING, owner="me")))
            disk.fill()
        assert _all(store) == ()


def test_nothing_is_begun_until_the_reserve_is_whole_again(disk: Disk) -> None:
    with opened(disk):
        pass
    disk.fill()
    for path in (disk.path / "metadata.db-reserve").iterdir():
        path.unlink()
    disk.fill_but(1024 * 1024)
    with opened(disk) as store:
        with pytest.raises(StoreUnavailable, match="free space to allow new operations"):
            store.add(volume("new", status=Status.CREATING))
        disk.clear()
        store.remove(store.add(volume("new", status=Status.CREATING)))
        assert reserved(disk) == WHOLE


@pytest.mark.parametrize("disk", ["ext4"], indirect=True)
def test_a_write_costs_one_sync_and_asks_for_no_room(disk: Disk, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from csi_cinderlib.persistence.plugins import open_store; "
        "from csi_cinderlib.persistence.contract.samples import volume; store = open_store('sql', state_dir=Path(sys.argv[1])); "
        "[store.remove(store.add(volume('v'))) for _ in range(int(sys.argv[2]))]; store.close()"
    )

    def calls(rounds: int) -> Counter[str]:
        log = tmp_path / f"{rounds}.log"
        traced = "trace=fsync,fdatasync,fallocate,unlink,statfs,openat"
        argv = [
            "strace",
            "-f",
            "-qq",
            "-o",
            str(log),
            "-e",
            traced,
            sys.executable,
            "-c",
            code,
            str(disk.path),
            str(rounds),
        ]
        subprocess.run(argv, check=True)
        return Counter(
            line.split()[1].partition("(")[0]
            for line in log.read_text().splitlines()
            if str(disk.path) in line or "sync" in line
        )

    calls(1)  # makes the file and its reserve
    assert calls(25) - calls(5) == {"fdatasync": 40}
