"""Mappings that are half made, without a node or on another device than recorded: they are found and removed, never forgotten."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.brick import scsi
from csi_cinderlib.errors import HostError, PreconditionFailed
from csi_cinderlib.host import devicemapper, devices, luks, mounts
from tests.component.host.formats import encrypt
from tests.component.node.bed import BLOCK, MIB, Node, WatchedInitiator
from tests.guest.inside.encrypted import encrypted, killed_at, mappings, power_off
from tests.guest.inside.shell import run
from tests.guest.scenarios.test_guest_encryption import CANARY, later, node, read, write

pytestmark = pytest.mark.guest("luks")
__all__ = ["node"]
MAPPING = "cinderlib-vol"
SWEEP_SECONDS = 60.0


def known() -> list[str]:
    """All mappings in the kernel, also those without a table."""
    return [line.split()[0] for line in run("dmsetup", "ls").splitlines() if "No devices" not in line]


def half_made(node: Node, *, loaded: bool) -> None:
    """The state after a kill of cryptsetup in the middle: a device without a table, or with one that is not active."""
    volume = encrypted(node)
    device = devices.attach_file(str(volume.file))
    uuid = volume.header.replace("-", "")
    run("dmsetup", "create", MAPPING, "--notable", "-u", f"CRYPT-LUKS2-{uuid}-{MAPPING}")
    if loaded:
        size = devices.size(device) // 512 - 32768
        key = f"{'00' * 31}01{'00' * 31}02"
        run(
            "dmsetup",
            "load",
            MAPPING,
            "--table",
            f"0 {size} crypt aes-xts-plain64 {key} 0 {device} 32768 1 sector_size:4096",
        )


@pytest.mark.parametrize("loaded", [False, True])
def test_a_half_made_mapping_is_removed_by_the_next_stage_and_by_unstage(node: Node, loaded: bool) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    node.unstage(volume)
    half_made(node, loaded=loaded)
    assert luks.find(MAPPING)
    assert read(node.stage(later(volume))) == CANARY
    node.unstage(volume)
    assert killed_at("stage.connected", node, "stage", "ext4", later(volume))
    half_made(node, loaded=loaded)
    Node(node.base).unstage(volume)
    assert known() == []


@pytest.mark.parametrize("capability", ["mount", "block"])
def test_a_volume_whose_node_in_dev_is_gone_is_still_known(node: Node, capability: str) -> None:
    volume = encrypted(node)
    args = (BLOCK,) if capability == "block" else ()
    node.stage(volume, *args)
    target = node.publish(volume, *args)
    Path("/dev/mapper", MAPPING).unlink()
    with pytest.raises(PreconditionFailed, match="is still published at"):
        node.unstage(volume)
    node.stage(later(volume), *args)
    node.unpublish(volume, target)
    node.unstage(volume)
    assert known() == []


def test_a_mapping_of_another_program_with_that_name_is_kept(node: Node) -> None:
    """Such as that of a logical volume `vol` of a volume group `cinderlib`."""
    run("dmsetup", "create", MAPPING, "--table", "0 2048 zero", "-u", "LVM-abc")
    volume = encrypted(node)
    with pytest.raises(HostError, match="has the UUID 'LVM-abc' of another program"):
        node.stage(volume)
    with pytest.raises(HostError, match="of another program"):
        node.unstage(volume)
    assert known() == [MAPPING]
    run("dmsetup", "remove", MAPPING)
    node.unstage(volume)


def test_another_volume_at_the_recorded_path_is_not_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    first = node.records.find("vol")
    power_off()
    other = node.volume("other")
    write(node.stage(other), b"of the other")
    second = node.records.find("other")
    assert first
    assert first.device
    assert second
    assert second.device
    assert first.device.path == second.device.path
    assert killed_at("stage.header-opened", node, "stage", "ext4", later(volume))
    again = Node(node.base)
    record = again.records.find("vol")
    assert record
    assert record.device
    assert record.device.path != second.device.path, "the device is stored before its mapping is opened"
    watched = WatchedInitiator(node.base / "state")
    again.staging._initiator = watched
    offline: list[str] = []
    monkeypatch.setattr(scsi, "take_offline", offline.append)
    again.unstage(later(volume))
    assert (watched.calls, offline) == ([f"disconnect {record.device.path}"], [])
    assert known() == []
    assert read(node.staging_path(other)) == b"of the other"
    node.unstage(other)


def test_a_raw_device_in_use_blocks_its_removal_and_a_deferred_one_ends_with_its_user(node: Node) -> None:
    volume = encrypted(node)
    node.stage(volume, BLOCK)
    path = luks.path_of(MAPPING)
    with Path(path).open("rb") as user:
        with pytest.raises(HostError, match=f"cannot remove the mapping {MAPPING}"):
            luks.close(MAPPING)
        luks.close(MAPPING, deferred=True)
        found = devicemapper.find(MAPPING)
        assert found
        assert found.deferred
        assert user.read(1)
    deadline = time.monotonic() + 60
    while devicemapper.find(MAPPING):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    node.stage(later(volume), BLOCK)
    node.unstage(volume)


def test_a_kill_of_cryptsetup_at_any_moment_leaves_nothing_that_cannot_be_removed(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "swept"
    with file.open("wb") as made:
        made.truncate(64 * MIB)
    device = run("losetup", "--find", "--show", file).strip()
    encrypt(device, b"k", uuid="1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60")
    name = "cinderlib-swept"
    argv = ("cryptsetup", "open", "--type=luks2", "--disable-keyring", "--key-file=-", device, name)
    environment = {**os.environ, "DM_DISABLE_UDEV": "1"}

    def started() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        assert process.stdin
        process.stdin.write(b"k")
        process.stdin.close()
        return process

    begun = time.monotonic()
    assert started().wait() == 0
    whole = time.monotonic() - begun
    luks.close(name)
    states: Counter[tuple[bool, bool]] = Counter()
    end = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < end:
        process = started()
        time.sleep(random.uniform(0.5, 1.02) * whole)
        process.kill()
        process.wait()
        found = devicemapper.find(name)
        states[bool(found), bool(found and found.active)] += 1
        luks.close(name)
        assert known() == []
        assert not os.path.lexists(f"/dev/mapper/{name}")
    print("found, active:", dict(states))
    run("losetup", "--detach", device)


def test_the_mounts_of_a_mapping_are_found_without_its_node(node: Node) -> None:
    volume = encrypted(node)
    staged = node.stage(volume)
    Path("/dev/mapper", MAPPING).unlink()
    assert [item.target for item in mounts.by_device(luks.path_of(MAPPING))] == [staged]
    assert mappings() == [MAPPING]
    node.unstage(replace(volume))
    assert mappings() == []
