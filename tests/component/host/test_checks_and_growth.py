"""What decides whether a file system is checked or grown, how it is mounted, and what it tells of its use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, filesystems, kernel, mkfs, mounts
from csi_cinderlib.model.requests import Usage
from csi_cinderlib.model.size import Bytes

pytestmark = pytest.mark.root
MIB = 1024 * 1024
Loop = Callable[..., str]


class FakeTool:
    """Programs that come before the real ones in PATH."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, name: str, script: str) -> None:
        path = self._directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def fake_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTool:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return FakeTool(tmp_path / "bin")


@pytest.mark.parametrize(("script", "said"), [("exit 0", "no known file system"), ("exec mkfs.ext4 -q $3", "ext4")])
def test_mkfs_is_not_believed_until_its_file_system_is_there(
    loop: Loop, fake_tool: FakeTool, script: str, said: str
) -> None:
    device = loop(64)
    fake_tool("mkfs.xfs", script.replace("$3", device))
    with pytest.raises(HostError, match=f"mkfs.xfs succeeded, but {device} contains {said}"):
        mkfs.plan(device, "xfs").carry_out()


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_check_that_mended_everything_is_enough(fake_tool: FakeTool, code: int) -> None:
    fake_tool("e2fsck", f"exit {code}")
    filesystems.check("/dev/null", filesystems.Signature("ext3", dirty=True))


@pytest.mark.parametrize("code", [3, 4, 8, 32])
def test_a_check_that_needs_a_decision_shows_the_end_of_what_was_said(fake_tool: FakeTool, code: int) -> None:
    fake_tool("e2fsck", f"printf '%02000d' 0; echo out; echo err >&2; exit {code}")
    with pytest.raises(HostError, match=r"e2fsck reported: 0+out\nerr$") as caught:
        filesystems.check("/dev/null", filesystems.Signature("ext2", dirty=True))
    assert len(str(caught.value).partition("e2fsck reported: ")[2]) == 1000


@pytest.mark.parametrize(("name", "dirty"), [("xfs", True), ("ext4", False)])
def test_only_an_ext_with_noted_errors_is_checked(name: str, dirty: bool) -> None:
    filesystems.check("/missing", filesystems.Signature(name, dirty=dirty))


@pytest.mark.parametrize(("fs_type", "options"), [("ext4", ()), ("xfs", ("nouuid",)), ("btrfs", ()), ("ext2", ())])
def test_options_that_are_always_used(fs_type: str, options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "device").write_bytes(bytes(4096))
    assert filesystems.mount_options(fs_type, str(tmp_path / "device")) == options


@pytest.mark.parametrize(
    ("uncovered", "block_size", "growth"),
    [(16 * MIB, 4096, True), (16 * MIB - 1, 4096, False), (16 * MIB, 32 * MIB, False), (32 * MIB, 32 * MIB, True)],
)
def test_a_file_system_that_leaves_little_of_its_device_covers_it(
    loop: Loop, uncovered: int, block_size: int, growth: bool
) -> None:
    size = Bytes(64 * MIB - uncovered)
    assert filesystems.needs_growth(loop(64), filesystems.Signature("ext4", size=size, block_size=block_size)) is growth


def test_what_has_no_known_size_does_not_grow(loop: Loop) -> None:
    device = loop(64)
    assert not filesystems.needs_growth(device)
    assert not filesystems.needs_growth(device, filesystems.Signature("luks2"))


def test_what_cannot_grow_is_named(loop: Loop) -> None:
    device = loop(64)
    with Path(device).open("r+b") as file:
        file.write(b"LUKS\xba\xbe\x00\x02" + bytes(4096))
    devices.flush(device)
    with pytest.raises(HostError, match=f"cannot grow {device}: it contains luks2; supported: ext2"):
        filesystems.grow(device, "/mnt")


def test_an_ext4_that_covers_its_device_is_not_touched(loop: Loop) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    with kernel.opened(device, os.O_RDONLY | os.O_EXCL):  # no tool can write to it now
        filesystems.grow(device, "/missing")


def test_usage_is_what_the_file_system_tells(target: str) -> None:
    mounts.mount("none", target, "tmpfs", ("size=1m", "nr_inodes=100"))
    (Path(target) / "file").write_bytes(bytes(65536))
    assert filesystems.usage(target) == (
        Usage(unit="bytes", total=MIB, used=65536, available=MIB - 65536),
        Usage(unit="inodes", total=100, used=2, available=98),
    )
    assert filesystems.file_system_size(target) == MIB


def test_what_is_reserved_is_not_available(loop: Loop, target: str) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4", ("-m", "10")).carry_out()
    mounts.mount(device, target, "ext4")
    (size, _) = filesystems.usage(target)
    assert size.used + size.available < 0.95 * size.total
