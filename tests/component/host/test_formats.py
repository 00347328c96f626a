"""Every format that libblkid knows is recognised by our table too, and none of them is ever formatted over."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import PreconditionFailed, UnsafeToFormat
from csi_cinderlib.host import blankness, commands, devices, filesystems, mkfs, unfinished
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.host.filesystems import Kind
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node.formatting import decide
from tests.component.host.formats import MADE, Made, data_places
from tests.component.host.handmade import PARTITION_TABLES, SUPERBLOCKS, HandMade

pytestmark = pytest.mark.root
MIB, GIB = 1024**2, 1024**3
SMALL = 64 * MIB
"""Of a device that is written by hand, and more than libblkid wants of one with any format."""
TAIL = 2 * MIB
Loop = Callable[..., str]

NOT_TOLD = {
    "bsd": "libblkid looks for it only inside a partition of a DOS table",
    "minix": "libblkid tells this partition table only inside a partition of a DOS table",
    "unixware": "libblkid looks for it at a place at which it never is",
}
"""Partition tables that libblkid knows and never names for a whole device."""
KINDS = {"filesystem": Kind.FILE_SYSTEM, "raid": Kind.MEMBER, "crypto": Kind.ENCRYPTED}
OF_ANOTHER_KIND = {"zfs": Kind.MEMBER, "oracleasm": Kind.MEMBER, "drbdproxy": Kind.OTHER}
"""libblkid counts these as file systems."""


def known_names(function: str, *more: object) -> set[str]:
    """The names of a list that libblkid was built with."""
    get_name = getattr(ctypes.CDLL("libblkid.so.1"), function)
    name, names = ctypes.c_char_p(), set[str]()
    for number in itertools.count():
        if get_name(ctypes.c_size_t(number), ctypes.byref(name), *more) != 0:
            break
        names.add((name.value or b"").decode())
    return names


KNOWN_SUPERBLOCKS = known_names("blkid_superblocks_get_name", None)
KNOWN_TABLES = known_names("blkid_partitions_get_name")


def label(example: Made | HandMade) -> str:
    return "-".join(filter(None, (example.known_as, example.variant)))


of_tools = pytest.mark.parametrize("example", MADE, ids=label)
by_hand = pytest.mark.parametrize("example", (*SUPERBLOCKS, *PARTITION_TABLES), ids=label)


def device_with(example: Made | HandMade, loop: Loop, scratch: Path) -> str:
    """A device with the format; its file is disk.img."""
    if isinstance(example, HandMade):
        device = loop(SMALL // MIB, block_size=example.block_size)
        example.write(device, SMALL)
    else:
        if not shutil.which(example.argv[0], path=commands.SEARCH_PATH):
            pytest.skip(f"{example.argv[0]} is not installed")
        device = loop(1024, block_size=512)
        example.write(device, scratch)
    devices.flush(device)
    name = Path(device).name
    assert not list(Path("/sys/block", name).glob(f"{name}p*")), "partitions would stay when the file is detached"
    return device


def zero(device: str, length: int) -> None:
    with Path(device).open("r+b") as file:
        file.write(bytes(length))
    devices.flush(device)


def content(image: Path) -> str:
    """A checksum of all data in a file that is not zeros."""
    digest = hashlib.blake2b()
    with image.open("rb") as file:
        for offset in data_places(file.fileno()):
            if data := os.pread(file.fileno(), MIB, offset).strip(b"\0"):
                digest.update(b"%d:" % offset + data)
    return digest.hexdigest()


EMPTY = hashlib.blake2b().hexdigest()


def blkid(device: str) -> dict[str, str]:
    said = commands.run(["blkid", "-p", "-o", "export", device], timeout=60, ok=(0, 2)).stdout
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def assert_never_formatted(device: str) -> None:
    """Where the controller cannot say what another node did: neither as a file nor as a disk of an array."""
    found = filesystems.probe(device)
    wanted = "btrfs" if found and found.name == "xfs" else "xfs"
    for places in (blankness.nonzero, blankness._nonzero_places):
        is_blank = next(places(device), None) is None
        assert not is_blank
        with pytest.raises((UnsafeToFormat, PreconditionFailed)):
            decide(found, wanted, Formatting.UNKNOWN, is_blank=lambda: is_blank)  # noqa: B023


def test_each_format_of_libblkid_has_an_example() -> None:
    """A name that is missing here is new in this machine's libblkid: make it, or write it by hand."""
    assert len(KNOWN_SUPERBLOCKS) > 70
    assert len(KNOWN_TABLES) > 10
    made = {example.known_as for example in MADE}
    superblocks = made | {example.known_as for example in SUPERBLOCKS}
    assert KNOWN_SUPERBLOCKS - superblocks == {"exfs"}  # made of an XFS, below
    assert KNOWN_TABLES - {example.known_as for example in PARTITION_TABLES} <= made


@of_tools
def test_what_tools_make_is_recognised_and_never_formatted(example: Made, loop: Loop, tmp_path: Path) -> None:
    assert_recognised_and_kept(example, device_with(example, loop, tmp_path), tmp_path / "disk.img")


@by_hand
def test_what_is_written_by_hand_is_recognised_and_never_formatted(
    example: HandMade, loop: Loop, tmp_path: Path
) -> None:
    device = device_with(example, loop, tmp_path)
    assert_recognised_and_kept(example, device, tmp_path / "disk.img")
    assert_never_formatted(device)


def is_table(example: Made | HandMade) -> bool:
    return example in PARTITION_TABLES or example.known_as in KNOWN_TABLES - KNOWN_SUPERBLOCKS


def assert_recognised_and_kept(example: Made | HandMade, device: str, image: Path) -> None:
    found, told, before = filesystems.probe(device), blkid(device), content(image)
    assert found
    assert found.name == example.name
    if is_table(example):
        assert found.kind is Kind.PARTITIONS
        assert told.get("PTTYPE") == example.known_as or example.known_as in NOT_TOLD
    elif example.known_as in KNOWN_SUPERBLOCKS:
        assert told["TYPE"] == example.known_as
        assert found.kind is OF_ANOTHER_KIND.get(found.name, KINDS.get(told["USAGE"], found.kind))
    with pytest.raises(UnsafeToFormat, match=f"contains {found.name} "):
        mkfs.plan(device, "ext4").carry_out()
    assert content(image) == before


def test_an_exfs_is_recognised(loop: Loop) -> None:
    device = loop(1024, block_size=512)
    commands.run(["mkfs.xfs", "-q", device], timeout=60)
    with Path(device).open("r+b") as file:
        file.write(b"EXFS")
    devices.flush(device)
    found = filesystems.probe(device)
    assert found
    assert found.name == blkid(device)["TYPE"] == "exfs"


@of_tools
def test_a_format_that_lost_its_head_is_never_formatted(example: Made, loop: Loop, tmp_path: Path) -> None:
    """With 1, 2 or 4 MiB of zeros: the most of these that leave anything, since fewer leave more."""
    device = device_with(example, loop, tmp_path)
    lost = max((mib for mib in (1, 2, 4) if mib < (example.head_only or 8)), default=0)
    zero(device, lost * MIB)
    assert_never_formatted(device)
    zero(device, 4 * MIB)
    assert (content(tmp_path / "disk.img") == EMPTY) is bool(example.head_only)


AT_THE_END = (
    *(example for example in MADE if example.at_end),
    *(
        example
        for example in (*SUPERBLOCKS, *PARTITION_TABLES)
        if any(place % SMALL >= SMALL - TAIL for place in example.pieces(SMALL))
    ),
)
NOT_SEEN = {"promise_fasttrack_raid_member-3087"}
"""BIOS RAID of 20 years ago, whose superblock has a dozen places before the end, most of which are read only at the end itself."""


@pytest.mark.parametrize("example", AT_THE_END, ids=label)
def test_a_superblock_at_the_end_is_found_after_the_device_has_grown(
    example: Made | HandMade, loop: Loop, tmp_path: Path
) -> None:
    """Of a disk that had a whole number of GiB, and of which nothing else is left."""
    device_with(example, loop, tmp_path)
    with (tmp_path / "disk.img").open("rb") as small, (tmp_path / "grown.img").open("wb") as grown:
        small.seek(-TAIL, os.SEEK_END)
        os.pwrite(grown.fileno(), small.read(), GIB - TAIL)
    device = loop(10 * 1024 + 100, "grown.img", block_size=512)
    found = next(blankness._nonzero_places(device), None)
    assert bool(found) is (label(example) not in NOT_SEEN)


@of_tools
def test_what_was_erased_is_blank(example: Made, loop: Loop, tmp_path: Path) -> None:
    device = device_with(example, loop, tmp_path)
    proof = Disposable(device)
    unfinished.mark(proof, "v1", "a1")
    blankness.erase(proof)
    unfinished.remove(device, "v1")
    assert blankness.is_blank(device)
    assert filesystems.probe(device) is None
    assert blkid(device) == {}
