"""The table of magic numbers: each has its place from libblkid, which wipefs asks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from csi_cinderlib.host.magics import MAGICS
from tests.component.host.formats import MADE, Made
from tests.component.host.handmade import PARTITION_TABLES, SUPERBLOCKS, HandMade

EXAMPLES: tuple[Made | HandMade, ...] = (*MADE, *SUPERBLOCKS, *PARTITION_TABLES)
SIZE = 64 * 1024 * 1024 + 3 * 512

WANTS_MORE = frozenset(
    "gpt sgi sun mac ultrix bsd unixware solaris atari dasd bitlocker verity integrity corestorage lvm2 md bcache stratis "
    "drbdmanage isw-raid highpoint-raid adaptec-raid swap ntfs vfat iso9660 udf bcachefs nilfs2 jfs reiserfs gfs2 ocfs hfsplus "
    "hfs apfs minix hpfs exfs befs scoutfs qcow2".split()
)
"""Of these, libblkid wants more than a magic number at some place: a checksum, a version, a second structure, a sector's size."""


def found_by_wipefs(image: Path) -> list[str]:
    argv = ["wipefs", "--no-act", "--parsable", "--noheadings", "--output", "OFFSET,TYPE", str(image)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("name", sorted({name for name, _, _, _ in MAGICS}))
def test_util_linux_finds_the_same_at_the_same_place(tmp_path: Path, name: str) -> None:
    names = {example.known_as for example in EXAMPLES if example.name == name}
    image = tmp_path / "image"
    for offset, magic in ((offset, magic) for other, _, offset, magic in MAGICS if other == name):
        place = offset if offset >= 0 else SIZE + offset
        with image.open("wb") as file:
            file.truncate(SIZE)
            os.pwrite(file.fileno(), magic, place)
        said = found_by_wipefs(image)
        assert len(said) == 1 or (not said and name in WANTS_MORE), (offset, magic)
        assert set(said) <= {f"{place:#x},{known_as}" for known_as in names}


def test_every_name_of_the_table_has_an_example() -> None:
    examples = {example.name for example in EXAMPLES}
    assert {name for name, _, _, _ in MAGICS} - examples == {"dasd", "exfs", "qcow2"}
