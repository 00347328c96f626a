"""The steps of docs/how-to/recover-a-volume.md, with the commands that the page names."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, UnsafeToFormat
from csi_cinderlib.host import commands, devices
from csi_cinderlib.model.connection import Formatting
from tests.component.node.bed import BLOCK, MIB, Node, Volume, mount_capability

pytestmark = pytest.mark.root
_CONTENT = b"written before the damage\n" * 1000
_PAGE = (Path(__file__).parents[3] / "docs/how-to/recover-a-volume.md").read_text()


def _run(command: str, device: str, *, answer: bytes = b"") -> str:
    """Run a command of the page on a device; what it said."""
    assert f"`{command}`" in _PAGE
    argv = command.removesuffix(" \\| head").replace("/dev/volume", device).split()
    output = commands.run(argv, timeout=60, ok=range(256), input=answer)
    return output.stdout + output.stderr


def _attached_raw(node: Node, volume: Volume) -> str:
    node.stage(volume, BLOCK)
    device = devices.find_attached(str(volume.file))
    assert device
    return device


_LOST_HEADS = [
    ("ext4", 4096, "e2fsck -n -b 32768 /dev/volume", "Pass 5", "e2fsck -b 32768 /dev/volume"),
    ("xfs", 4096, "xfs_repair -n /dev/volume", "verified secondary superblock", "xfs_repair /dev/volume"),
    (
        "btrfs",
        MIB,
        "btrfs rescue super-recover -v /dev/volume",
        r"\[All good supers\]:\s+device name",
        "btrfs rescue super-recover /dev/volume",
    ),
]


@pytest.mark.parametrize(("fs_type", "lost", "look", "shown", "repair"), _LOST_HEADS)
def test_a_file_system_that_lost_its_head_is_found_by_the_commands_of_the_page_and_repaired(
    node: Node, fs_type: str, lost: int, look: str, shown: str, repair: str
) -> None:
    volume, capability = node.volume(size=1024 * MIB), mount_capability(fs_type)
    (Path(node.stage(volume, capability)) / "file").write_bytes(_CONTENT)
    node.unstage(volume)
    with volume.file.open("r+b") as file:
        file.write(bytes(lost))
    with pytest.raises(UnsafeToFormat, match=r"docs/how-to/recover-a-volume\.md#a-refusal-to-format"):
        node.stage(volume, capability)

    raw = replace(volume, attachment="second")
    device = _attached_raw(node, raw)
    before = volume.file.read_bytes()
    assert re.search(shown, _run(look, device, answer=b"N\n"))
    for command in ("wipefs /dev/volume", "od -A x -t x1z /dev/volume \\| head", "sgdisk --verify /dev/volume"):
        assert _run(command, device) or command.startswith("wipefs")
    devices.flush(device)
    assert volume.file.read_bytes() == before
    if fs_type == "ext4":
        assert f"`{repair}`" in _PAGE
        commands.run(["e2fsck", "-y", *repair.replace("/dev/volume", device).split()[1:]], timeout=60, ok=(0, 1))
    else:
        _run(repair, device, answer=b"y\n")
    node.unstage(raw)

    staged = node.stage(replace(volume, attachment="third", formatting=Formatting.FORBIDDEN), capability)
    assert (Path(staged) / "file").read_bytes() == _CONTENT
    node.unstage(volume)


def test_a_file_system_with_errors_is_repaired_as_a_raw_device_and_staged_again(node: Node) -> None:
    volume = node.volume()
    path = node.stage(volume)
    (Path(path) / "file").write_bytes(_CONTENT)
    node.unstage(volume)
    _damage(volume.file)

    again = replace(volume, attachment="second")
    with pytest.raises(HostError, match=r"docs/how-to/recover-a-volume\.md#a-file-system-with-errors"):
        node.stage(again)
    assert devices.find_attached(str(volume.file)) is None

    raw = replace(volume, attachment="third")
    node.stage(raw, BLOCK)
    device = devices.find_attached(str(volume.file))
    assert device
    commands.run(["e2fsck", "-f", "-y", device], timeout=60, ok=(0, 1))
    node.unstage(raw)

    path = node.stage(replace(volume, attachment="fourth"))
    found = [file.read_bytes() for file in Path(path).rglob("*") if file.is_file()]
    assert _CONTENT in found
    node.unstage(volume)


def _damage(file: Path) -> None:
    """The kernel noted errors, and the root directory's inode is cleared: nothing for `e2fsck -p` to decide."""
    tool = shutil.which("debugfs", path=commands.SEARCH_PATH)
    assert tool
    commands.run([tool, "-w", "-R", "clri <2>", str(file)], timeout=60)
    commands.run([tool, "-w", "-R", "ssv state 2", str(file)], timeout=60)
