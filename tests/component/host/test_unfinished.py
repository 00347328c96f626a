"""The mark of a creation that has not ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import blankness, devices, filesystems, kernel, mkfs, unfinished
from csi_cinderlib.host.disposable import Disposable

pytestmark = pytest.mark.root
MIB = 1024 * 1024
VOLUME, ATTACHMENT = "vol", "of-this-node@1"
Loop = Callable[..., str]


def test_a_mark_is_there_until_it_is_removed(loop: Loop) -> None:
    device = loop(64)
    assert not unfinished.is_marked(device, VOLUME)
    unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
    assert unfinished.is_marked(device, VOLUME)
    unfinished.remove(device, VOLUME)
    unfinished.remove(device, VOLUME)
    assert not unfinished.is_marked(device, VOLUME)
    assert blankness.is_blank(device)


@pytest.mark.parametrize("fs_type", filesystems.SUPPORTED)
@pytest.mark.parametrize("mib", [320, 1024, 5000])
@pytest.mark.parametrize("block_size", [512, 4096])
def test_mkfs_leaves_the_mark(fs_type: str, mib: int, block_size: int, loop: Loop) -> None:
    device = loop(mib, block_size=block_size)
    creation = mkfs.plan(device, fs_type)
    unfinished.mark(creation.proof, VOLUME, ATTACHMENT)
    creation.carry_out()
    assert unfinished.is_marked(device, VOLUME)


@pytest.mark.parametrize("fs_type", filesystems.SUPPORTED)
def test_removing_the_mark_damages_no_file_system(fs_type: str, loop: Loop) -> None:
    device = loop(320)
    creation = mkfs.plan(device, fs_type)
    unfinished.mark(creation.proof, VOLUME, ATTACHMENT)
    made = creation.carry_out()
    unfinished.remove(device, VOLUME)
    checks = {"ext4": ["e2fsck", "-f", "-n"], "xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check", "--readonly"]}
    from csi_cinderlib.host import commands

    commands.run([*checks[made.name], device], timeout=60)


def test_a_mark_that_is_not_whole_or_elsewhere_is_none(loop: Loop, tmp_path: Path) -> None:
    device = loop(64)
    unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
    place = unfinished.place(64 * MIB)
    assert place
    with Path(device).open("r+b") as file:
        file.seek(place + unfinished.LENGTH - 1)
        file.write(b"x")
    devices.flush(device)
    assert not unfinished.is_marked(device, VOLUME)
    unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
    os.truncate(tmp_path / "disk.img", 128 * MIB)
    devices.refresh_size(device)
    assert not unfinished.is_marked(device, VOLUME), "the device has grown since"


def test_the_mark_of_another_volume_is_none(loop: Loop) -> None:
    """The storage may show the device of another volume, or give a new one the place of a deleted one."""
    device = loop(64)
    unfinished.mark(Disposable(device), "another", ATTACHMENT)
    assert not unfinished.is_marked(device, VOLUME)
    assert not unfinished.is_marked(device, VOLUME, by=ATTACHMENT)
    unfinished.remove(device, VOLUME)
    assert unfinished.is_marked(device, "another")


def test_only_the_node_that_has_begun_last_may_finish(loop: Loop) -> None:
    device = loop(64)
    assert not unfinished.is_marked(device, VOLUME, by=ATTACHMENT)
    unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
    assert unfinished.is_marked(device, VOLUME, by=ATTACHMENT)
    unfinished.mark(Disposable(device), VOLUME, "of-the-other@1")
    for use in (unfinished.is_marked, unfinished.remove):
        with pytest.raises(HostError, match=r"volume vol: another node has begun .*\(attachment of-the-other@1\)"):
            use(device, VOLUME, by=ATTACHMENT)
    assert unfinished.is_marked(device, VOLUME)
    unfinished.remove(device, VOLUME, by="of-the-other@1")
    assert not unfinished.is_marked(device, VOLUME)


def test_a_small_device_has_no_mark(loop: Loop) -> None:
    device = loop(4)
    unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
    assert not unfinished.is_marked(device, VOLUME)
    assert blankness.is_blank(device)


def test_an_erasure_keeps_the_mark(loop: Loop) -> None:
    """A kill during the erasure must not leave remains without it."""
    device = loop(64)
    with Path(device).open("r+b") as file:
        file.write(b"\xa5" * 64 * MIB)
    unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
    blankness.erase(Disposable(device))
    assert unfinished.is_marked(device, VOLUME)
    unfinished.remove(device, VOLUME)
    assert blankness.is_blank(device)


def test_what_is_at_the_place_of_the_mark_since_is_not_overwritten(loop: Loop) -> None:
    """mkfs may use the place, and another node that has the volume since may have written there."""
    device, place = loop(64), unfinished.place(64 * MIB)
    assert place
    unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
    with Path(device).open("r+b") as file:
        file.seek(place)
        file.write(b"data" * 1024)
    devices.flush(device)
    unfinished.remove(device, VOLUME)
    with Path(device).open("rb") as file:
        file.seek(place)
        assert file.read(4096) == b"data" * 1024


def test_a_device_that_the_callers_mapping_holds_can_be_marked(loop: Loop) -> None:
    device = loop(64)
    with kernel.opened(device, os.O_RDONLY | os.O_EXCL):
        unfinished.mark(Disposable(device), VOLUME, ATTACHMENT, is_held=True)
    assert unfinished.is_marked(device, VOLUME)


def test_a_device_in_use_is_not_marked(loop: Loop) -> None:
    device = loop(64)
    with kernel.opened(device, os.O_RDONLY | os.O_EXCL), pytest.raises(HostError, match=f"cannot mark {device}"):
        unfinished.mark(Disposable(device), VOLUME, ATTACHMENT)
