"""A node process starts: what it finds of the one before, or of the time before a reboot, is kept, finished or taken down."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.host import kernel, mounts
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.node.format_marks import KEPT_SECONDS
from csi_cinderlib.node.reconcile import Reconciled, reconcile
from csi_cinderlib.node.stage_record import State
from tests.component.node.bed import BLOCK, Node, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below
from tests.component.node.test_crashes import capability, reboot, run

pytestmark = pytest.mark.root


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

    @contextmanager
    def hold(self, *keys: str, shared: Iterable[str] = ()) -> Iterator[None]:
        self._deed()
        with super().hold(*keys, shared=shared):
            yield


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


def test_at_start_a_volume_that_was_being_formatted_is_taken_down(node: Node) -> None:
    assert run(node.base, "stage", "ext4", "stage.format-marked") == -signal.SIGKILL
    again = Node(node.base)
    assert again.reconcile().kept == ()
    assert_nothing_left(node.base)
    assert run(node.base, "stage", "ext4") == 0


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


def test_at_start_a_device_that_is_in_use_does_not_stop_the_other_volumes(node: Node) -> None:
    busy, idle = node.volume("busy"), node.volume("idle")
    for volume in (busy, idle):
        Path(node.stage(volume, BLOCK)).rmdir()
    record = node.records.find("busy")
    assert record
    assert record.device
    again = Node(node.base)
    with kernel.opened(record.device.path, os.O_RDONLY | os.O_EXCL):
        assert again.reconcile() == Reconciled(cleaned=("idle",), failed=("busy",))
    assert len(loops_of(node.base)) == 1
    assert again.reconcile() == Reconciled(cleaned=("busy",))
    assert_nothing_left(node.base)


def test_at_start_a_volume_that_is_kept_or_gone_does_not_stop_the_others(node: Node) -> None:
    for name in ("a-gone", "b-used", "c-unused"):
        staged = Path(node.stage(node.volume(name), BLOCK))
    staged.rmdir()
    gone = node.records.find("a-gone")
    assert gone
    locks = Meanwhile(lambda: node.records.remove("a-gone"))
    assert reconcile(node.records, node.staging, locks) == Reconciled(kept=("b-used",), cleaned=("c-unused",))
    node.records.save(gone)


@pytest.mark.parametrize("state", [State.INTENT, State.CONNECTED])
def test_at_start_an_unfinished_volume_is_cleaned_though_its_staging_path_is_there(node: Node, state: State) -> None:
    node.stage(node.volume(), BLOCK)
    record = node.records.find("vol")
    assert record
    node.records.save(replace(record, state=state))
    assert node.reconcile() == Reconciled(cleaned=("vol",))
    assert_nothing_left(node.base)


def test_at_start_a_record_that_cannot_be_read_does_not_stop_the_others(node: Node) -> None:
    Path(node.stage(node.volume(), BLOCK)).rmdir()
    (node.records.directory / "bad.json").write_text("{")
    assert node.reconcile() == Reconciled(cleaned=("vol",), corrupt=("bad",))


def test_at_start_a_busy_volume_does_not_stop_the_others(node: Node) -> None:
    for name in ("busy", "idle"):
        Path(node.stage(node.volume(name), BLOCK)).rmdir()
    with node.locks.hold("node:busy"):
        assert node.reconcile() == Reconciled(kept=("busy",), cleaned=("idle",))


def test_at_start_a_volume_whose_staging_path_shows_something_else_is_kept(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    reboot(node)
    record = node.records.find("vol")
    assert record
    node.records.save(replace(record, state=State.CONNECTED))
    mounts.mount("tmpfs", staged, "tmpfs")
    assert node.reconcile() == Reconciled(kept=("vol",))


def test_at_start_a_volume_that_only_a_target_shows_is_kept(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    mounts.unmount(staged)
    Path(staged).rmdir()
    assert node.reconcile() == Reconciled(kept=("vol",))
    assert mounted_below(node.base) == [target]


def test_at_start_a_block_volume_whose_staging_path_is_there_is_kept(node: Node) -> None:
    node.stage(node.volume(), BLOCK)
    assert node.reconcile() == Reconciled(kept=("vol",))


def test_at_start_old_marks_go(node: Node) -> None:
    for volume_id, age in (("old", KEPT_SECONDS + 60), ("new", 0.0)):
        node.records.formatted.set(volume_id, "a@1")
        seconds = time.time() - age
        os.utime(node.records.formatted.directory / volume_id, (seconds, seconds))
    node.reconcile()
    assert [node.records.formatted.holds(volume_id, "a@1") for volume_id in ("old", "new")] == [False, True]
