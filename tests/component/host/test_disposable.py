"""Only a device that was just found to be without content may be overwritten."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import UnsafeToFormat
from csi_cinderlib.host import commands, disposable, mkfs, mounts
from csi_cinderlib.host.disposable import Disposable

Loop = Callable[..., str]
PACKAGE = Path(__file__).parents[3] / "csi_cinderlib"


def test_only_the_checks_themselves_make_a_proof() -> None:
    made = [path.name for path in PACKAGE.rglob("*.py") if re.search(r"\bDisposable\(", path.read_text())]
    assert made == ["disposable.py"]


@pytest.mark.root
def test_an_empty_device_is_disposable_and_one_with_content_is_not(loop: Loop) -> None:
    device = loop(320)
    assert disposable.of_empty(device) == Disposable(device)
    mkfs.plan(device, "xfs").carry_out()
    with pytest.raises(UnsafeToFormat, match="contains xfs"):
        disposable.of_empty(device)


@pytest.mark.root
@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_whole_file_system_is_no_remains(loop: Loop, fs_type: str) -> None:
    device = loop(320)
    mkfs.plan(device, fs_type).carry_out()
    with pytest.raises(UnsafeToFormat, match=f"contains {fs_type}"):
        disposable.of_remains(device)


@pytest.mark.root
def test_an_unfinished_and_a_damaged_file_system_are_remains(loop: Loop) -> None:
    device = loop(320)
    assert disposable.of_remains(device) == Disposable(device)
    mkfs.plan(device, "xfs").carry_out()
    with Path(device).open("r+b") as disk:
        disk.seek(126)
        disk.write(b"\1")
    assert disposable.of_remains(device) == Disposable(device)
    other = loop(320, "other.img")
    mkfs.plan(other, "ext4").carry_out()
    with Path(other).open("r+b") as disk:
        disk.seek(4096)
        disk.write(b"\xa5" * 2**20)
    assert disposable.of_remains(other) == Disposable(other)


@pytest.mark.root
def test_a_damaged_file_system_that_was_mounted_is_no_remains(loop: Loop, target: str) -> None:
    device = loop(320)
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    mounts.unmount(target)
    with Path(device).open("r+b") as disk:
        disk.seek(4096)
        disk.write(b"\xa5" * 2**20)
    with pytest.raises(UnsafeToFormat, match="contains ext4"):
        disposable.of_remains(device)


@pytest.mark.root
def test_the_header_of_another_node_is_never_remains(loop: Loop) -> None:
    device = loop(32)
    commands.run(("cryptsetup", "luksFormat", "-q", "--type=luks2", "--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--key-file=-", device), timeout=60, input=b"k")  # fmt: skip
    with pytest.raises(UnsafeToFormat, match="contains luks2"):
        disposable.of_remains(device)
