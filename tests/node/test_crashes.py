"""The node process is killed at every named step; after a restart the retry gives the same result and nothing is left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.node.reconcile import Reconciled, reconcile
from csi_cinderlib.node.stage_record import State
from tests.node.bed import BLOCK, MIB, Node, mount_capability
from tests.node.conftest import assert_nothing_left, loops_of, mounted_below

pytestmark = pytest.mark.root

STAGE = (
    "stage.intent",
    "stage.connected",
    "stage.format-intent",
    "stage.mkfs-done",
    "stage.formatted",
    "stage.mounted",
)
ANYWHERE = (
    "node-publish.target-made",
    "node-publish.bound",
    "node-unpublish.unmounted",
    "unstage.unmounted",
    "unstage.disconnected",
)
LIFE = ("stage", "publish", "unpublish", "unstage")


def run(base: Path, step: str, kind: str, fault: str = "", *, read_only: bool = False) -> int:
    """One step in a process of its own; its exit code."""
    env = {**os.environ, "CINDERLIB_FAULT_POINT": fault, "PYTHONPATH": str(Path.cwd())}
    spec = json.dumps({"kind": kind, "read_only": read_only})
    argv = [sys.executable, "-m", "tests.node.bed", str(base), step, spec]
    return subprocess.run(argv, env=env, check=False, cwd=Path(__file__).parents[2]).returncode


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


@pytest.mark.parametrize("fault", STAGE)
def test_a_killed_stage_can_be_unstaged_instead(node: Node, fault: str) -> None:
    assert run(node.base, "stage", "ext4", fault) == -signal.SIGKILL
    assert run(node.base, "unstage", "ext4") == 0
    assert_nothing_left(node.base)


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
    assert run(node.base, "stage", "ext4", "stage.mkfs-done") == -signal.SIGKILL
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


@pytest.mark.parametrize("fault", ["stage.intent", "stage.connected"])
def test_an_intent_of_before_a_crash_is_cleaned_at_start(node: Node, fault: str) -> None:
    assert run(node.base, "stage", "ext4", fault) == -signal.SIGKILL
    again = Node(node.base)
    assert again.reconcile().cleaned == ("vol",)
    assert_nothing_left(node.base)


class Meanwhile(KeyedLocks):
    """Somebody else is served after the records were read and before a volume is locked."""

    def __init__(self, deed: Callable[[], object]) -> None:
        super().__init__()
        self._deed = deed

    def hold(self, *keys: str, shared: Iterable[str] = ()) -> AbstractContextManager[None]:
        self._deed()
        return super().hold(*keys, shared=shared)


def test_at_start_a_volume_that_is_staged_meanwhile_is_kept(node: Node) -> None:
    """As a block device, which no mount betrays before it is published."""
    assert run(node.base, "stage", "block", "stage.connected") == -signal.SIGKILL
    reboot(node)
    again = Node(node.base)
    done = reconcile(again.records, again.staging, Meanwhile(lambda: again.stage(again.volume(), BLOCK)))
    assert done == Reconciled(kept=("vol",))
    assert len(loops_of(node.base)) == 1
    again.publish(again.volume(), BLOCK)


def test_at_start_a_volume_that_is_unstaged_meanwhile_is_no_business_any_more(node: Node) -> None:
    assert run(node.base, "stage", "ext4", "stage.connected") == -signal.SIGKILL
    again = Node(node.base)
    assert reconcile(again.records, again.staging, Meanwhile(lambda: again.unstage(again.volume()))) == Reconciled()
    assert_nothing_left(node.base)


def test_at_start_a_volume_in_use_is_kept(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.publish(volume)
    before = mounted_below(node.base)
    assert Node(node.base).reconcile().kept == ("vol",)
    assert mounted_below(node.base) == before


def test_at_start_a_volume_that_is_being_formatted_waits_for_its_retry(node: Node) -> None:
    assert run(node.base, "stage", "ext4", "stage.format-intent") == -signal.SIGKILL
    again = Node(node.base)
    assert again.reconcile().kept == ("vol",)
    assert again.records.find("vol").state is State.FORMATTING  # type: ignore[union-attr] # kept, as just said
    assert run(node.base, "stage", "ext4") == 0


def reboot(node: Node) -> None:
    """What a reboot does to mounts and loop devices; files stay."""
    for path in reversed(mounted_below(node.base)):
        mounts.unmount(path)
    for loop in reversed(loops_of(node.base)):
        devices.detach_file(loop)


@pytest.mark.parametrize("kind", ["ext4", "block"])
def test_after_a_reboot_all_is_staged_and_published_again(node: Node, kind: str) -> None:
    volume = node.volume()
    node.stage(volume, capability(kind))
    node.publish(volume, capability(kind))
    reboot(node)
    again = Node(node.base)
    assert again.reconcile().kept == ("vol",)
    other = again.target("pod2")
    again.stage(volume, capability(kind))
    again.publish(volume, capability(kind), other)
    again.unpublish(volume, other)
    again.unpublish(volume)
    again.unstage(volume)
    assert_nothing_left(node.base)


def test_after_a_reboot_another_capability_is_no_conflict(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    reboot(node)
    multi = mount_capability("ext4", mode=AccessMode.SINGLE_NODE_MULTI_WRITER)
    Node(node.base).stage(volume, multi, str(node.base / "new-layout"))
    assert mounted_below(node.base) == [str(node.base / "new-layout")]


@pytest.mark.parametrize("kind", ["ext4", "block"])
def test_after_a_reboot_unstage_and_unpublish_are_fine(node: Node, kind: str) -> None:
    volume = node.volume()
    node.stage(volume, capability(kind))
    node.publish(volume, capability(kind))
    reboot(node)
    again = Node(node.base)
    again.unpublish(volume)
    again.unstage(volume)
    assert_nothing_left(node.base)


def test_a_record_whose_staging_path_is_gone_is_cleaned_at_start(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    mounts.unmount(staged)
    Path(staged).rmdir()
    assert Node(node.base).reconcile().cleaned == ("vol",)
    assert_nothing_left(node.base)
