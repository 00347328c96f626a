"""Whether a file system was ever mounted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from csi_cinderlib.host import filesystems, mkfs, mounthistory, mounts
from csi_cinderlib.host.signatures import Signature

pytestmark = pytest.mark.root
Loop = Callable[..., str]


def found_on(device: str) -> Signature:
    found = filesystems.probe(device)
    assert found
    return found


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_a_new_file_system_was_never_mounted(fs_type: str, loop: Loop) -> None:
    device = loop(320)
    made = mkfs.plan(device, fs_type).carry_out()
    assert mounthistory.was_never_mounted(device, made)


@pytest.mark.parametrize("fs_type", filesystems.SUPPORTED)
def test_a_mount_is_seen_at_once_and_afterwards(fs_type: str, loop: Loop, target: str) -> None:
    """XFS shows it in its log first, and in its superblock after the unmount."""
    device = loop(320)
    mkfs.plan(device, fs_type).carry_out()
    mounts.mount(device, target, fs_type)
    filesystems.write_out(target)
    assert not mounthistory.was_never_mounted(device, found_on(device))
    mounts.unmount(target)
    assert not mounthistory.was_never_mounted(device, found_on(device))


@pytest.mark.parametrize("name", ["vfat", "btrfs"])
def test_nothing_is_certain_about_others(name: str, loop: Loop) -> None:
    assert not mounthistory.was_never_mounted(loop(64), Signature(name))


def test_xfs_of_version_4_shows_nothing(loop: Loop) -> None:
    device = loop(320)
    made = mkfs.plan(device, "xfs", ("-m", "crc=0")).carry_out()
    assert not mounthistory.was_never_mounted(device, made)
