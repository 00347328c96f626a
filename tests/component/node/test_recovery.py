"""The steps of docs/how-to/recover-a-volume.md."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, devices
from tests.component.node.bed import BLOCK, Node

pytestmark = pytest.mark.root
_CONTENT = b"written before the damage\n" * 1000


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
