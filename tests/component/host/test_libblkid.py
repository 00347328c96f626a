"""libblkid, called in this process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, filesystems, libblkid, mkfs, signatures

pytestmark = pytest.mark.root

MIB = 1024 * 1024
LEAST = signatures.SPAN + signatures.TAIL
ROOT = Path(__file__).parents[3]
BTRFS_SUPERBLOCK = 64 * 1024
Loop = Callable[..., str]


def test_nothing_is_known_of_a_blank_device(loop: Loop) -> None:
    assert libblkid.known_as(loop(64)) == ""


@pytest.mark.parametrize("fs_type", filesystems.SUPPORTED)
def test_a_file_system_is_named(fs_type: str, loop: Loop) -> None:
    device = loop(320)
    mkfs.plan(device, fs_type).carry_out()
    assert libblkid.known_as(device) == fs_type


def test_a_partition_table_is_named(loop: Loop) -> None:
    device = loop(64)
    subprocess.run(["sfdisk", "--quiet", device], input=b"label: gpt\n", check=True, stderr=subprocess.DEVNULL)
    assert libblkid.known_as(device) == "gpt"


def test_several_file_systems_at_once_are_not_nothing(loop: Loop) -> None:
    device = loop(320)
    mkfs.plan(device, "btrfs").carry_out()
    with Path(device).open("r+b") as file:
        file.seek(BTRFS_SUPERBLOCK)
        superblock = file.read(4096)
        subprocess.run(["mkfs.ext4", "-q", "-F", device], check=True)
        file.seek(BTRFS_SUPERBLOCK)
        file.write(superblock)
    assert libblkid.known_as(device) == "several signatures"


def test_a_device_that_cannot_be_read_is_an_error(loop: Loop, tmp_path: Path) -> None:
    device = loop(64)
    os.truncate(tmp_path / "disk.img", MIB)
    with pytest.raises(HostError, match=rf"^cannot identify the content of {device}: Input/output error$"):
        libblkid.known_as(device)


def test_a_missing_device_is_named() -> None:
    with pytest.raises(HostError, match=r"^cannot identify the content of /dev/missing: No such file or directory$"):
        libblkid.known_as("/dev/missing")


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    libblkid._library.cache_clear()
    monkeypatch.setattr(libblkid, "_LIBRARY", "libmissing.so.1")
    with pytest.raises(
        HostError,
        match=r"^cannot load libmissing.so.1: .*; on Debian and Ubuntu install the package libblkid1$",
    ):
        libblkid.known_as("/dev/null")


def reads_of(device: str) -> list[tuple[int, int]]:
    """Start and end of each part of a device that libblkid reads to find that there is nothing. It tells when it is asked to."""
    code = "import sys; from csi_cinderlib.host import libblkid; assert libblkid.known_as(sys.argv[1]) == ''"
    argv, told = [sys.executable, "-c", code, device], {**os.environ, "LIBBLKID_DEBUG": "all"}
    done = subprocess.run(argv, cwd=ROOT, env=told, check=True, stderr=subprocess.PIPE, text=True)
    found = re.findall(r"read: off=(\d+) len=(\d+)", done.stderr)
    return [(int(start), int(start) + int(length)) for start, length in found]


@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize(
    "size", [LEAST, LEAST + 4096, 64 * MIB + 4096, 1024 * MIB, 5_000_000_000 // 4096 * 4096, 12 * MIB * MIB]
)
def test_of_zeros_libblkid_reads_nothing_but_the_two_ends(
    size: int, block_size: int, loop: Loop, tmp_path: Path
) -> None:
    """So it need not be asked about a device whose ends are zeros: what it does depends on nothing else."""
    device = loop(8, block_size=block_size)
    os.truncate(tmp_path / "disk.img", size)
    assert devices.refresh_size(device) == size
    reads = reads_of(device)
    assert len(reads) > 20
    assert {end <= signatures.SPAN or start >= size - signatures.TAIL for start, end in reads} == {True}
    assert all(end <= size for _, end in reads)
