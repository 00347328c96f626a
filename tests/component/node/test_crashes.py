"""The node process is killed at every named step; after a restart the retry gives the same result and nothing is left over."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.host import devices, mounts
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Formatting
from tests.component.node.bed import BLOCK, ENCRYPTION, MIB, Node, Volume, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below

pytestmark = pytest.mark.root

STAGE = (
    "stage.intent",
    "stage.connected",
    "stage.device-recorded",
    "stage.device-marked",
    "stage.format-marked",
    "stage.mkfs-done",
    "stage.formatted",
    "stage.mounted",
)
ANYWHERE = (
    "node-publish.target-made",
    "node-publish.bound",
    "node-unpublish.unmounted",
    "unstage.unmounted",
    "unstage.closed",
    "unstage.disconnected",
)
LIFE = ("stage", "publish", "unpublish", "unstage")


def run(base: Path, step: str, kind: str, fault: str = "", *, read_only: bool = False) -> int:
    """One step in a process of its own; its exit code."""
    env = {**os.environ, "CINDERLIB_FAULT_POINT": fault, "PYTHONPATH": str(Path.cwd())}
    spec = json.dumps({"kind": kind, "read_only": read_only})
    argv = [sys.executable, "-m", "tests.component.node.bed", str(base), step, spec]
    return subprocess.run(argv, env=env, check=False, cwd=Path(__file__).parents[3]).returncode


def reboot(node: Node) -> None:
    """What a reboot does to mounts and loop devices; files stay."""
    for path in reversed(mounted_below(node.base)):
        mounts.unmount(path)
    for loop in reversed(loops_of(node.base)):
        devices.detach_file(loop, expected=devices.identity(loop))


def elsewhere(volume: Volume) -> Volume:
    """The volume as the controller publishes it to another node then."""
    return replace(volume, attachment="of-the-other@1", formatting=Formatting.UNKNOWN)


def capability(kind: str) -> Capability:
    return BLOCK if kind == "block" else mount_capability(kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("fault", [*STAGE, *ANYWHERE])
def test_a_kill_at_any_step_of_a_mounted_volume_changes_nothing_in_the_end(node: Node, kind: str, fault: str) -> None:
    killed = 0
    for step in LIFE:
        code = run(node.base, step, kind, fault)
        killed += code == -signal.SIGKILL
        assert code == 0 or run(node.base, step, kind) == 0
        if step == "publish":
            (Path(node.target()) / "data").write_text("kept")
    assert killed == 1
    assert not Path(node.target()).exists()
    assert_nothing_left(node.base)
    node.stage(node.volume(), capability(kind))
    assert (Path(node.staging_path(node.volume())) / "data").read_text() == "kept"


@pytest.mark.parametrize("fault", ["stage.intent", "stage.connected", *ANYWHERE])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_kill_at_any_step_of_a_block_volume_changes_nothing_in_the_end(
    node: Node, fault: str, read_only: bool
) -> None:
    killed = 0
    for step in LIFE:
        code = run(node.base, step, "block", fault, read_only=read_only)
        killed += code == -signal.SIGKILL
        assert code == 0 or run(node.base, step, "block", read_only=read_only) == 0
    assert killed == 1
    assert not Path(node.target()).exists()
    assert_nothing_left(node.base)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("fault", STAGE)
def test_a_killed_stage_can_be_unstaged_instead_and_another_node_can_have_the_volume(
    node: Node, fault: str, kind: str
) -> None:
    assert run(node.base, "stage", kind, fault) == -signal.SIGKILL
    assert run(node.base, "unstage", kind) == 0
    assert_nothing_left(node.base)
    Node(node.base / "other").stage(elsewhere(node.volume()), capability(kind))


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("fault", ["stage.intent", "stage.connected", "stage.mounted"])
@pytest.mark.parametrize("then", [("stage", "unstage"), ("unstage",)])
def test_a_kill_while_a_file_system_is_staged_again_changes_nothing_in_the_end(
    node: Node, kind: str, fault: str, then: tuple[str, ...]
) -> None:
    assert run(node.base, "stage", kind) == 0
    (Path(node.staging_path(node.volume())) / "data").write_text("kept")
    assert run(node.base, "unstage", kind) == 0
    assert run(node.base, "stage", kind, fault) == -signal.SIGKILL
    for step in then:
        assert run(node.base, step, kind) == 0
    assert_nothing_left(node.base)
    node.stage(node.volume(), capability(kind))
    assert (Path(node.staging_path(node.volume())) / "data").read_text() == "kept"


BEGINNINGS = {
    "ext4": ((0, bytes(2048)),),  # all but the superblock, which mke2fs writes last
    "xfs": ((126, b"\1"),),  # sb_inprogress
    "btrfs": ((65536 + 64, b"!BHRfS_M"),),
}


def interrupt_mkfs(node: Node, kind: str) -> None:
    """Leave what a mkfs leaves that is killed a moment before its end."""
    assert run(node.base, "stage", kind, "stage.mkfs-done") == -signal.SIGKILL
    with node.volume().file.open("r+b") as file:
        for offset, data in BEGINNINGS[kind]:
            file.seek(offset)
            file.write(data)
        os.fsync(file.fileno())


@pytest.mark.parametrize("kind", BEGINNINGS)
@pytest.mark.parametrize("rebooted", [False, True])
def test_what_an_interrupted_mkfs_left_is_removed_by_whichever_node_has_the_volume_next(
    node: Node, kind: str, rebooted: bool
) -> None:
    interrupt_mkfs(node, kind)
    if rebooted:
        reboot(node)
    assert run(node.base, "unstage", kind) == 0
    assert_nothing_left(node.base)
    other = Node(node.base / "other")
    staged = Path(other.stage(elsewhere(node.volume()), capability(kind)))
    (staged / "f").write_text("of the other node")
    other.unstage(elsewhere(node.volume()))
    (Path(other.stage(elsewhere(node.volume()), capability(kind))) / "f").read_text()


@pytest.mark.parametrize("now", ["gone", "another"])
def test_an_unstage_after_an_interrupted_mkfs_ends_also_where_the_volume_cannot_be_had_any_more(
    node: Node, now: str
) -> None:
    interrupt_mkfs(node, "ext4")
    reboot(node)
    file = node.volume().file
    file.rename(node.base / "moved")
    if now == "another":
        file.write_bytes(b"data of another volume" * MIB)
    assert run(node.base, "unstage", "ext4") == 0
    assert_nothing_left(node.base)
    assert now == "gone" or file.read_bytes() == b"data of another volume" * MIB


def test_a_late_unstage_of_an_interrupted_mkfs_keeps_what_another_node_wrote_since(node: Node) -> None:
    """Nothing fences a file on a shared directory."""
    interrupt_mkfs(node, "ext4")
    copy = replace(elsewhere(node.volume()), file=node.base / "copy")
    copy.file.touch()
    copy.resize(node.volume().file.stat().st_size)
    other = Node(node.base / "other")
    staged = Path(other.stage(copy))
    (staged / "f").write_text("kept")
    other.unstage(copy)
    node.volume().file.write_bytes(copy.file.read_bytes())
    assert run(node.base, "unstage", "ext4") == 0
    staged = Path(other.stage(elsewhere(node.volume())))
    assert (staged / "f").read_text() == "kept"


@pytest.mark.parametrize("fault", ["node-publish.target-made", "node-publish.bound"])
def test_a_killed_publish_can_be_unpublished_instead(node: Node, fault: str) -> None:
    assert run(node.base, "stage", "ext4") == 0
    assert run(node.base, "publish", "ext4", fault) == -signal.SIGKILL
    assert run(node.base, "unpublish", "ext4") == 0
    assert not Path(node.target()).exists()
    assert run(node.base, "unstage", "ext4") == 0
    assert_nothing_left(node.base)


@pytest.mark.parametrize("other", ["xfs", "block"])
def test_a_killed_stage_can_be_repeated_with_another_capability_before_the_file_system_is_done(
    node: Node, other: str
) -> None:
    assert run(node.base, "stage", "ext4", "stage.format-marked") == -signal.SIGKILL
    assert run(node.base, "stage", other) == 0
    assert run(node.base, "unstage", other) == 0
    assert_nothing_left(node.base)


@pytest.mark.parametrize("damage", [b"", b"\0" * MIB])
def test_an_interrupted_mkfs_runs_again(node: Node, damage: bytes) -> None:
    """Whether it left a superblock or none: nobody can have mounted it."""
    assert run(node.base, "stage", "ext4", "stage.mkfs-done") == -signal.SIGKILL
    with node.volume().file.open("r+b") as file:
        file.write(damage)
        if not damage:  # a superblock over ruins, as of an mkfs that wrote half of its blocks
            file.seek(4096)
            file.write(b"\xa5" * MIB)
    assert run(node.base, "stage", "ext4") == 0
    (Path(node.staging_path(node.volume())) / "f").write_text("usable")


def test_every_fault_point_of_the_node_is_reached_by_some_call_here() -> None:
    package = Path(__file__).parents[3] / "csi_cinderlib"
    sources = [*(package / "node").glob("*.py"), package / "host/luks_header.py"]
    found = {name for path in sources for name in re.findall(r'reach\("([^"]+)"\)', path.read_text())}
    assert found == {*STAGE, *ANYWHERE, *ENCRYPTION}


@pytest.mark.parametrize("kind", ["ext4", "block"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_of_what_was_published_the_loss_of_power_may_keep_any_part(node: Node, kind: str, kept: float) -> None:
    volume = node.volume()
    node.stage(volume, capability(kind))
    node.publish(volume, capability(kind))
    reboot(node)
    (changes,) = (node.base / "state" / "stage-changes").iterdir()
    os.truncate(changes, int(changes.stat().st_size * kept))
    after = Node(node.base)
    assert after.reconcile().kept == ("vol",)
    after.stage(volume, capability(kind))
    target = after.publish(volume, capability(kind))
    after.unpublish(volume)
    assert not Path(target).exists()
    after.unstage(volume)
    assert_nothing_left(node.base)
