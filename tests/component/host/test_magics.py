"""The table of magic numbers, compared with what util-linux knows."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from csi_cinderlib.host.magics import MAGICS

SIZE = 64 * 1024 * 1024 + 3 * 512
KIB = 1024

NAMES_IN_UTIL_LINUX = {
    "bluestore": "ceph_bluestore",
    "cramfs": "cramfs",
    "ddf-raid": "ddf_raid_member",
    "drbd": "drbd",
    "erofs": "erofs",
    "exfat": "exfat",
    "f2fs": "f2fs",
    "iso9660": "iso9660",
    "isw-raid": "isw_raid_member",
    "luks2": "crypto_LUKS",
    "lvm1": "LVM1_member",
    "ocfs2": "ocfs2",
    "oracleasm": "oracleasm",
    "reiser4": "reiser4",
    "romfs": "romfs",
    "snapshot-cow": "DM_snapshot_cow",
    "squashfs": "squashfs3",
    "suspend": "swsuspend",
    "swap": "swap",
    "vdo": "vdo",
    "vmfs": "VMFS",
    "vmfs-lvm": "VMFS_volume_member",
}

# wipefs wants more of these than their magic number: a checksum, a version, a second structure.
MORE_THAN_A_MAGIC = {
    *(("gpt", place, "4546492050415254") for place in (512, 4096, -512, -4096)),
    ("ntfs", 3, "4e54465320202020"),
    ("bitlocker", 3, "2d4656452d46532d"),
    ("vfat", 0x52, "4641543332202020"),
    ("vfat", 0x36, "4641543136202020"),
    ("vfat", 0x36, "4641543132202020"),
    ("iso9660", 0x8001, "4344303031"),
    ("udf", 0x8001, "4245413031"),
    *(("udf", 32 * KIB + sector * 2 * KIB + 1, word) for sector in range(16) for word in ("4e53523032", "4e53523033")),
    ("bcache", 0x1018, "c68573f64e1a45ca8265f57f48ba6d81"),
    ("bcachefs", 0x1018, "c68573f666ce90a9d96a60cf803df7ef"),
    ("nilfs2", 0x406, "3434"),
    ("jfs", 0x8000, "4a465331"),
    ("reiserfs", 0x10034, "526549734572"),
    ("reiserfs", 0x2034, "526549734572"),
    ("gfs2", 0x10000, "01161970"),
    ("hfsplus", 0x400, "482b"),
    ("hfsplus", 0x400, "4858"),
    ("hfs", 0x400, "4244"),
    ("apfs", 0x20, "4e585342"),
    ("stratis", 0x204, "215374726130746973" + "86ff025e417268"),
    ("verity", 0, "7665726974790000"),
    ("integrity", 0, "696e746567727400"),
    ("qcow2", 0, "514649fb"),
    ("md", 0, "fc4e2ba9"),
    ("md", 0x1000, "fc4e2ba9"),
    *(("lvm2", sector * 512, "4c4142454c4f4e45") for sector in range(4)),
    ("ocfs2", 0x4000, "4f4346535632"),
    *(("swap", page * KIB - 10, "53574150535041434532") for page in (4, 8, 16, 32, 64)),
}

JUDGED = [entry for entry in MAGICS if (entry[0], entry[1], entry[2].hex()) not in MORE_THAN_A_MAGIC]


@pytest.mark.parametrize(("name", "offset", "magic"), JUDGED)
def test_util_linux_finds_the_same_at_the_same_place(tmp_path: Path, name: str, offset: int, magic: bytes) -> None:
    place = offset if offset >= 0 else SIZE + offset
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(SIZE)
        os.pwrite(file.fileno(), magic, place)
    argv = ["wipefs", "--no-act", "--parsable", "--noheadings", "--output", "OFFSET,TYPE", str(image)]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert said == [f"{place:#x},{NAMES_IN_UTIL_LINUX[name]}"]


def test_nothing_is_missing_from_the_table() -> None:
    assert {(name, offset, magic.hex()) for name, offset, magic in MAGICS} >= MORE_THAN_A_MAGIC
    several = {"squashfs": 2, "drbd": 3, "ocfs2": 3, "swap": 5, "suspend": 20, "luks2": 8}
    assert Counter(name for name, _, _ in JUDGED) == Counter({**dict.fromkeys(NAMES_IN_UTIL_LINUX, 1), **several})
