"""The sector size with which the content of a file can be used, as the tools write it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from csi_cinderlib.host import sectors

MIB = 1 << 20
LUKS = "cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000"


def head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(sectors.HEAD)


@pytest.mark.parametrize(
    ("command", "text", "size"),
    [
        ("mkfs.xfs -q -s size=512 {}", "", 512),
        ("mkfs.xfs -q -s size=4096 {}", "", 4096),
        ("mkfs.ext4 -q -b 1024 {}", "", 1024),
        ("mkfs.ext4 -q -b 4096 {}", "", 4096),
        ("sfdisk -q {}", "label: gpt\nsize=10M\n", 512),
        ("sfdisk -q {}", "label: dos\nsize=10M\n", 512),
        ("mkfs.vfat {}", "", 512),
        ("mkfs.vfat -F 32 -S 4096 {}", "", 4096),
        ("mkfs.exfat {}", "", 512),
        ("mkfs.ntfs -q -f -F -s 512 {}", "", 512),
        (f"{LUKS} --type luks1 {{}} -", "x", 512),
        (f"{LUKS} --type luks2 --sector-size 512 {{}} -", "x", 512),
        (f"{LUKS} --type luks2 --sector-size 4096 {{}} -", "x", 4096),
        ("true", "", 4096),
    ],
)
def test_the_content_of_a_file_limits_the_sector_size(command: str, text: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(400 * MIB)
    words = command.format(path).split()
    subprocess.run(words, input=text.encode(), check=True, capture_output=True)
    assert sectors.needed(head(path), 4096) == size
    assert sectors.needed(head(path), 512) == 512


def test_a_short_file_has_the_usual_sector_size() -> None:
    assert sectors.needed(b"", 4096) == 4096
