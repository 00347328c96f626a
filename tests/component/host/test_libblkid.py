"""libblkid, called in this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import filesystems, libblkid

pytestmark = pytest.mark.root

MIB = 1024 * 1024
BTRFS_SUPERBLOCK = 64 * 1024
Loop = Callable[..., str]


def test_nothing_is_known_of_a_blank_device(loop: Loop) -> None:
    assert libblkid.known_as(loop(64)) == ""


@pytest.mark.parametrize("fs_type", filesystems.SUPPORTED)
def test_a_file_system_is_named(fs_type: str, loop: Loop) -> None:
    device = loop(320)
    filesystems.make(device, fs_type)
    assert libblkid.known_as(device) == fs_type


def test_a_partition_table_is_named(loop: Loop) -> None:
    device = loop(64)
    subprocess.run(["sfdisk", "--quiet", device], input=b"label: gpt\n", check=True, stderr=subprocess.DEVNULL)
    assert libblkid.known_as(device) == "gpt"


def test_several_file_systems_at_once_are_not_nothing(loop: Loop) -> None:
    device = loop(320)
    filesystems.make(device, "btrfs")
    with Path(device).open("r+b") as file:
        file.seek(BTRFS_SUPERBLOCK)
        superblock = file.read(4096)
        subprocess.run(["mkfs.ext4", "-q", "-F", device], check=True)
        file.seek(BTRFS_SUPERBLOCK)
        file.write(superblock)
    assert libblkid.known_as(device) == "several signatures at once"


def test_a_device_that_cannot_be_read_is_an_error(loop: Loop, tmp_path: Path) -> None:
    device = loop(64)
    os.truncate(tmp_path / "disk.img", MIB)
    with pytest.raises(HostError, match=rf"^identifying the content of {device}: Input/output error$"):
        libblkid.known_as(device)


def test_a_missing_device_is_named() -> None:
    with pytest.raises(HostError, match=r"^identifying the content of /dev/missing: No such file or directory$"):
        libblkid.known_as("/dev/missing")


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    libblkid._library.cache_clear()
    monkeypatch.setattr(libblkid, "_LIBRARY", "libmissing.so.1")
    with pytest.raises(
        HostError,
        match=r"^libmissing.so.1 cannot be loaded \(.*\); on Debian and Ubuntu it is in the package libblkid1$",
    ):
        libblkid.known_as("/dev/null")
