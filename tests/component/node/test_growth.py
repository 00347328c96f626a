"""An interrupted growth of an unmounted ext4 is undone before anything else happens to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, kernel
from csi_cinderlib.node.growth import Growth
from tests.component.node.bed import BLOCK, MIB, SIZE, Node, Volume
from tests.support.disks import mounted, sync

pytestmark = pytest.mark.root
ROOT = Path(__file__).parents[3]
DATA = os.urandom(3 * MIB)
KILLED = "signal=KILL"
WRITES = (2, 7, 8, 13, 18, 25, 60, 200)
"""Of resize2fs: before and in the undo file's first entries, in the superblock, the descriptors and the resize inode."""
Break = Callable[..., None]


@pytest.fixture
def volume(node: Node) -> Volume:
    """An ext4 with data, not staged, whose device was made larger."""
    return made_larger(node, SIZE)


def made_larger(node: Node, size: int) -> Volume:
    volume = node.volume(size=size)
    path = node.stage(volume)
    (Path(path) / "data").write_bytes(DATA)
    node.unstage(volume)
    volume.resize(2 * size)
    return volume


@pytest.fixture
def breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Break:
    """Let a write of a program kill it or fail, in a process that may not grow ext4 mounted; "" ends that.

    Args of it:
        parent: the process that runs the program is killed, too.
    """
    monkeypatch.setattr(kernel, "has_capability", lambda _number: False)
    folder = tmp_path / "broken"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def wrap(program: str, write: int, fate: str, *, parent: bool = False) -> None:
        script = folder / program
        if not fate:
            script.unlink()
            return
        inject = f"inject=pwrite64:{fate}:when={write}"
        tracer = f'strace -qq -o /dev/null -e trace=pwrite64 -e {inject} /usr/sbin/{program} "$@"'
        script.write_text(f"#!/bin/sh\n{tracer}\n" + ("kill -9 $PPID\n" if parent else "exit $?\n"))
        script.chmod(0o755)

    return wrap


def assert_grown_and_whole(node: Node, volume: Volume, *, others: bool = False) -> None:
    path = node.stage(volume)
    size = os.statvfs(path)
    assert size.f_blocks * size.f_frsize > 0.8 * volume.connection.size
    assert (Path(path) / "data").read_bytes() == DATA
    node.unstage(volume)
    assert others or undo_files(node) == []
    assert check(volume) == 0


def check(volume: Volume) -> int:
    return subprocess.run(["e2fsck", "-f", "-n", volume.file], capture_output=True, check=False).returncode


def undo_files(node: Node) -> list[Path]:
    return list(node.records.growth.directory.rglob("*"))


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("fate", [KILLED, "error=EIO"])
def test_a_growth_that_fails_is_undone_at_once(
    node: Node, volume: Volume, breaks: Break, write: int, fate: str
) -> None:
    breaks("resize2fs", write, fate)
    with contextlib.suppress(HostError):  # a failed write of the undo file alone may not matter
        node.stage(volume)
    assert undo_files(node) == []
    node.unstage(volume)
    assert check(volume) == 0
    breaks("resize2fs", 0, "")
    assert_grown_and_whole(node, volume)


def stage_elsewhere(node: Node) -> int:
    """In a process of its own, which may not grow ext4 mounted. Its exit code."""
    argv = ("setpriv", "--bounding-set=-sys_resource", sys.executable, "-m", "tests.component.node.bed")
    done = subprocess.run([*argv, str(node.base), "stage", json.dumps({"kind": "ext4"})], cwd=ROOT, check=False)
    return done.returncode


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("leaves", [False, True], ids=["and stages again", "and the volume leaves"])
def test_a_growth_is_undone_after_the_process_died(
    node: Node, volume: Volume, breaks: Break, write: int, leaves: bool
) -> None:
    breaks("resize2fs", write, KILLED, parent=True)
    assert stage_elsewhere(node) == -signal.SIGKILL
    breaks("resize2fs", 0, "")
    restarted = Node(node.base)
    if leaves:
        restarted.unstage(volume)
        assert undo_files(node) == []
        assert preen(volume) in (0, 1)
    assert_grown_and_whole(restarted, volume)


def preen(volume: Volume) -> int:
    return subprocess.run(["e2fsck", "-f", "-p", volume.file], capture_output=True, check=False).returncode


def test_a_growth_is_undone_before_the_volume_is_used_as_a_raw_device(
    node: Node, volume: Volume, breaks: Break
) -> None:
    breaks("resize2fs", 60, KILLED, parent=True)
    stage_elsewhere(node)
    breaks("resize2fs", 0, "")
    restarted = Node(node.base)
    restarted.stage(volume, BLOCK)
    assert undo_files(node) == []
    record = restarted.records.find("vol")
    assert record
    assert record.device
    Path(record.device.path).write_bytes(DATA)
    restarted.unstage(volume)
    with volume.file.open("rb") as file:
        assert file.read(len(DATA)) == DATA


def test_a_volume_does_not_leave_while_its_growth_cannot_be_undone(node: Node, volume: Volume, breaks: Break) -> None:
    breaks("resize2fs", 60, KILLED, parent=True)
    stage_elsewhere(node)
    breaks("resize2fs", 0, "")
    restarted = Node(node.base)
    record = restarted.records.find("vol")
    assert record
    assert record.device
    devices.set_read_only(record.device.path, True)
    with pytest.raises(HostError, match=r"cannot undo the interrupted growth of its file system: .* is read-only"):
        restarted.unstage(volume)
    assert undo_files(node) != []
    devices.set_read_only(record.device.path, False)
    assert_grown_and_whole(restarted, volume)


def test_a_growth_that_can_never_be_undone_is_logged(
    node: Node, volume: Volume, breaks: Break, caplog: pytest.LogCaptureFixture
) -> None:
    breaks("resize2fs", 60, KILLED, parent=True)
    stage_elsewhere(node)
    node.records.remove(volume.id)
    assert "interrupted file system growth not undone" in caplog.text
    assert undo_files(node) == []
    node.initiator.disconnect(volume.connection)


@pytest.mark.parametrize("write", [1, 3, 5])
def test_an_undoing_that_is_interrupted_is_done_again(node: Node, volume: Volume, breaks: Break, write: int) -> None:
    breaks("resize2fs", 60, KILLED, parent=True)
    stage_elsewhere(node)
    breaks("resize2fs", 0, "")
    breaks("e2undo", write, KILLED)
    restarted = Node(node.base)
    with pytest.raises(HostError, match="e2undo"):
        restarted.stage(volume)
    with pytest.raises(HostError, match="e2undo"):
        restarted.unstage(volume)
    assert undo_files(node) != []
    breaks("e2undo", 0, "")
    assert_grown_and_whole(restarted, volume)


@pytest.mark.parametrize("free", [12288, 24576, 36864])
def test_a_growth_on_a_full_pool_is_undone_once_there_is_room(
    node: Node, breaks: Break, tmp_path: Path, free: int
) -> None:
    """With a snapshot in the pool the undoing needs room there, too, which shows only when the blocks are written out."""
    volume = made_larger(node, 1024 * MIB)
    with mounted(tmp_path / "pool", 400, "xfs") as pool:
        file = pool.path / volume.file.name
        subprocess.run(["cp", "--sparse=always", volume.file, file], check=True)
        subprocess.run(["cp", "--reflink=always", file, pool.path / "snapshot"], check=True)
        sync(pool.path)
        volume.file.unlink()
        volume.file = file
        pool.fill_but(free)
        try:
            for _ in range(3):
                with pytest.raises(HostError):
                    node.stage(volume)
        finally:
            pool.clear()
            node.unstage(volume)
        assert_grown_and_whole(node, volume)


@pytest.mark.parametrize("free", [64 * 1024, 128 * 1024, 256 * 1024, 512 * 1024])
def test_no_growth_begins_that_the_state_directory_has_no_room_for(
    node: Node, volume: Volume, breaks: Break, tmp_path: Path, free: int
) -> None:
    with mounted(node.records.growth.directory, 16) as state:
        state.fill_but(free)
        with pytest.raises(HostError, match="fallocate: fallocate failed: No space left on device"):
            node.stage(volume)
        assert not list(state.path.glob("vol/*"))
        node.unstage(volume)
        state.clear()
        assert check(volume) == 0
        assert_grown_and_whole(node, volume, others=True)


def test_an_undo_file_of_another_attachment_or_an_earlier_run_of_the_kernel_is_never_applied(
    node: Node, volume: Volume, breaks: Break
) -> None:
    breaks("resize2fs", 60, KILLED, parent=True)
    stage_elsewhere(node)
    growth = node.records.growth
    (file,) = growth.directory.glob("*/*")
    (elsewhere := growth.directory / "vol" / "copy").write_bytes(file.read_bytes())
    later = Growth(growth.directory, "another boot")
    before = volume.file.stat().st_mtime_ns
    later.undo(volume.id, volume.attachment, "/dev/null")
    assert undo_files(node) == []
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"")
    growth.undo(volume.id, "another attachment", "/dev/null")
    assert undo_files(node) == []
    assert volume.file.stat().st_mtime_ns == before


def test_nothing_is_undone_under_a_resize2fs_that_still_runs(node: Node, volume: Volume, breaks: Break) -> None:
    breaks("resize2fs", 60, KILLED, parent=True)
    stage_elsewhere(node)
    breaks("resize2fs", 0, "")
    record = node.records.find("vol")
    assert record
    assert record.device
    with kernel.opened(record.device.path, os.O_RDWR | os.O_EXCL), pytest.raises(HostError, match="busy"):
        node.records.growth.undo(volume.id, volume.attachment, record.device.path)
    assert undo_files(node) != []
    assert_grown_and_whole(Node(node.base), volume)
