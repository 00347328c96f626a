"""Maps of files: holes and shared data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from csi_cinderlib.drivers import extents, sparse
from csi_cinderlib.drivers.extents import Lack

MIB = 1024 * 1024


Ranges = tuple[tuple[int, int], ...]


def split(found: Iterable[Lack]) -> tuple[Ranges, Ranges]:
    """The holes and the shared ranges."""
    each = list(found)
    holes, shared = ([lack for lack in each if lack.shared is kind] for kind in (False, True))
    return tuple((lack.start, lack.stop) for lack in holes), tuple((lack.start, lack.stop) for lack in shared)


@pytest.mark.parametrize(
    ("found", "holes", "shared"),
    [
        ([], ((0, 100),), ()),
        ([(0, 100, False)], (), ()),
        ([(10, 20, False), (30, 40, True)], ((0, 10), (20, 30), (40, 100)), ((30, 40),)),
        ([(0, 50, True), (50, 200, True)], (), ((0, 50), (50, 100))),
        ([(0, 100, False), (100, 200, True)], (), ()),
        ([(90, 120, False)], ((0, 90),), ()),
        ([(120, 130, True)], ((0, 100),), ()),
    ],
)
def test_a_map_is_divided(found: list[tuple[int, int, bool]], holes: object, shared: object) -> None:
    assert split(extents.divide(found, 100)) == (holes, shared)


def test_a_range_is_cut_into_steps() -> None:
    assert list(Lack(20, 30).steps(4)) == [(20, 24), (24, 28), (28, 30)]
    assert list(Lack(5, 6).steps(4)) == [(5, 6)]


@pytest.mark.root
@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_file_system_shows_what_a_file_lacks(fs_type: str, mounted: Callable[..., Path]) -> None:
    disk = mounted(fs_type, 512)
    with (disk / "file").open("w+b") as file:
        os.truncate(file.fileno(), 64 * MIB)
        os.pwrite(file.fileno(), b"x" * MIB, 8 * MIB)
        assert split(extents.lacking(file.fileno(), 80 * MIB)) == (((0, 8 * MIB), (9 * MIB, 80 * MIB)), ())
        if fs_type == "ext4":
            return
        with (disk / "copy").open("w+b") as copy:
            assert sparse.reflink(file.fileno(), copy.fileno())
            found = split(extents.lacking(file.fileno(), 64 * MIB))
            assert found == (((0, 8 * MIB), (9 * MIB, 64 * MIB)), ((8 * MIB, 9 * MIB),))


@pytest.mark.root
def test_many_extents_are_read_in_parts(mounted: Callable[..., Path]) -> None:
    disk = mounted("ext4", 512)
    count = 3 * extents._AT_ONCE
    with (disk / "file").open("w+b") as file:
        for number in range(count):
            os.pwrite(file.fileno(), b"x" * 4096, number * 8192)
        holes, _ = split(extents.lacking(file.fileno(), count * 8192))
    assert holes == tuple((number * 8192 + 4096, number * 8192 + 8192) for number in range(count))


@pytest.mark.root
def test_a_file_system_in_memory_has_no_map(mounted: Callable[..., Path]) -> None:
    with (mounted("tmpfs", 16) / "file").open("w+b") as file, pytest.raises(extents.NoMap):
        list(extents.lacking(file.fileno(), MIB))
