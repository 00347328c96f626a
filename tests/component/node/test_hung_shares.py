"""A share that hangs, or is dead, costs its own volumes only, and a few threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import NoAnswer, NotFound, OperationPending
from csi_cinderlib.host import filesystems, kernel, loopctl, mounts
from csi_cinderlib.host.patience import Patience
from csi_cinderlib.model.capability import Capability
from tests.component.node.bed import BLOCK, MIB, Node, Volume, mount_capability
from tests.component.node.conftest import mounted_below
from tests.support.fuse_share import Share, shared

pytestmark = pytest.mark.root
SMALL = 32 * MIB
TIMEOUT = 60
LOOK_SECONDS = 5.0
"""For a look while something hangs. Before and after, a look has the time that a busy machine needs."""


@pytest.fixture
def share(node: Node, tmp_path: Path) -> Iterator[Share]:
    """Ends before the node is taken down, whose loop devices would hang."""
    node.patience = Patience(look_seconds=TIMEOUT)
    node.__post_init__()
    eventually(lambda: not jobs())  # of an earlier test
    with shared(tmp_path) as share:
        yield share
        share.die()
        for item in reversed(mounts.table()):
            if item.target.startswith(str(tmp_path)) and item.target != str(share.path):
                mounts.unmount(item.target, lazy=True)
        for number, shown in loopctl.attached().items():
            if shown.startswith(str(share.path)):
                with suppress(OSError), kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:  # it may go by itself
                    loopctl.clear(fd)
        eventually(lambda: not any(shown.startswith(str(share.path)) for shown in loopctl.attached().values()))


def on_share(node: Node, share: Share, name: str) -> Volume:
    with (share.files / name).open("wb") as file:
        file.truncate(SMALL)
    return Volume(id=name, file=share.path / name, size=SMALL)


def hang(node: Node, share: Share) -> None:
    share.hang()
    node.patience._look_seconds = LOOK_SECONDS


def answer(node: Node, share: Share) -> None:
    share.answer()
    node.patience._look_seconds = TIMEOUT


def jobs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("at ")]


def eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_volumes_on_a_share_live(node: Node, share: Share) -> None:
    volume = on_share(node, share, "a")
    staged = node.stage(volume)
    target = node.publish(volume)
    (Path(target) / "file").write_text("text")
    assert not node.stats(volume, target).condition.abnormal
    node.unpublish(volume)
    node.unstage(volume)
    assert mounted_below(node.base) == [str(share.path)]
    assert node.stage(volume) == staged
    assert (Path(staged) / "file").read_text() == "text"


def test_volumes_on_a_share_that_hangs_are_abnormal_and_cost_one_thread(node: Node, share: Share) -> None:
    volumes = [on_share(node, share, name) for name in ("a", "b", "c")]
    for volume in volumes:
        node.stage(volume)
    before = node.stats(volumes[0], node.staging_path(volumes[0]))
    hang(node, share)
    for _ in range(3):
        for volume in volumes:
            stats = node.stats(volume, node.staging_path(volume))
            assert stats.condition.abnormal
            assert stats.condition.message.startswith(f"{share.path} has not responded for ")
            assert stats.usage, "the kubelet takes no notice of a condition without"
            eventually(lambda: len(jobs()) == 1)  # others were answered, and may be about to end
    assert node.stats(volumes[0], node.staging_path(volumes[0])).usage == before.usage
    with pytest.raises(NoAnswer):
        node.stats(volumes[0], "/elsewhere")
    answer(node, share)
    eventually(lambda: not jobs())
    assert not node.stats(volumes[0], node.staging_path(volumes[0])).condition.abnormal
    with pytest.raises(NotFound):
        node.stats(volumes[0], "/elsewhere")


def test_while_many_wait_for_a_share_others_are_told_what_was_measured_last(node: Node, share: Share) -> None:
    node.patience = Patience(lookers=1, look_seconds=TIMEOUT, crowded_seconds=0.1)
    node.__post_init__()
    measured, new = on_share(node, share, "a"), on_share(node, share, "b")
    path = node.stage(measured)
    node.stage(new)
    before = node.stats(measured, path)
    share.hang()
    with ThreadPoolExecutor(4) as callers:
        calls = [callers.submit(node.stats, measured, path) for _ in range(4)]
        eventually(lambda: sum(call.done() for call in calls) == 3)
        assert [call.result() for call in calls if call.done()] == [before] * 3
        for volume, where in ((new, node.staging_path(new)), (measured, "/elsewhere")):
            with pytest.raises(OperationPending, match=f"^{share.path} has not responded for .* and many calls wait"):
                node.stats(volume, where)
        share.answer()
        assert not any(call.result(TIMEOUT).condition.abnormal for call in calls)
    assert not node.stats(new, node.staging_path(new)).condition.abnormal


def test_nothing_is_begun_on_a_share_that_hangs_and_the_other_volumes_do_not_notice(node: Node, share: Share) -> None:
    staged, new, other = on_share(node, share, "staged"), on_share(node, share, "new"), node.volume("other", SMALL)
    for volume in (staged, other):
        node.stage(volume)
    hang(node, share)
    path = node.staging_path(staged)
    for call in (
        lambda: node.stage(staged),
        lambda: node.stage(new),
        lambda: node.publish(staged),
        lambda: node.expand(staged, path),
        lambda: node.unstage(staged),
    ):
        with pytest.raises(NoAnswer, match=f"^{share.path} has not responded"):
            call()
        eventually(lambda: len(jobs()) == 1)
    assert node.records.find("new") is None
    target = node.publish(other)
    assert not node.stats(other, target).condition.abnormal
    node.unpublish(other)
    node.unstage(other)
    answer(node, share)
    eventually(lambda: not jobs())
    node.unstage(staged)
    assert mounted_below(node.base) == [str(share.path)]


def test_a_pod_may_end_while_the_share_of_its_volume_hangs(node: Node, share: Share) -> None:
    volume, block = on_share(node, share, "a"), on_share(node, share, "b")
    node.stage(volume)
    node.stage(block, BLOCK)
    targets = [node.publish(volume), node.publish(block, BLOCK, node.target("pod2"))]
    hang(node, share)
    node.unpublish(volume, targets[0])
    node.unpublish(block, targets[1])
    assert not set(targets) & set(mounted_below(node.base))
    share.answer()


def test_a_call_that_meets_the_hang_on_its_way_is_not_done_twice(node: Node, share: Share) -> None:
    """The share answers when the call begins, and hangs when what was written is to reach it."""
    volume = on_share(node, share, "a")
    staged = node.stage(volume)
    (Path(staged) / "file").write_bytes(bytes(MIB))
    hangs = threading.Event()
    with pytest.raises(OperationPending, match=r"has been running .* and continues"):
        node.calls.carry_out("a", lambda: _work_while_it_hangs(share, node, volume, hangs), wait=LOOK_SECONDS)
    assert hangs.wait(TIMEOUT)
    with pytest.raises(OperationPending, match="another call is in progress for node:a"):
        node.calls.release("a", lambda _: node.locks.hold("node:a").__enter__())
    answer(node, share)
    eventually(lambda: not jobs())
    node.unstage(volume)
    assert node.records.find("a") is None


def _work_while_it_hangs(share: Share, node: Node, volume: Volume, hangs: threading.Event) -> None:
    with node.locks.hold(f"node:{volume.id}"):
        hang(node, share)
        hangs.set()
        filesystems.write_out(node.staging_path(volume))


def test_a_share_that_hangs_at_start_keeps_no_other_volume_from_its_recovery(node: Node, share: Share) -> None:
    hung, left = on_share(node, share, "a"), node.volume("left", SMALL)
    for volume in (hung, left):
        staged = node.stage(volume)
        mounts.unmount(staged)
        Path(staged).rmdir()
    share.hang()
    after = Node(node.base, patience=Patience(look_seconds=LOOK_SECONDS))
    assert after.reconcile().cleaned == ("left",)
    assert [record.volume_id for record in after.records.all().records] == ["a"]
    answer(after, share)
    eventually(lambda: not jobs())
    assert after.reconcile().cleaned == ("a",)


def test_a_share_that_is_dead_is_an_error_of_its_volumes_only(node: Node, share: Share) -> None:
    dead, left = on_share(node, share, "a"), node.volume("left", SMALL)
    for volume in (dead, left):
        staged = node.stage(volume)
        mounts.unmount(staged)
    Path(staged).rmdir()
    record = node.records.find("a")
    assert record
    node.records.save(replace(record, staging_path=str(share.path / "staging")))
    share.die()
    done = Node(node.base, patience=node.patience).reconcile()
    assert (done.cleaned, done.failed) == (("left",), ("a",))


@pytest.mark.parametrize("capability", [mount_capability(), BLOCK], ids=["mounted", "block"])
def test_a_volume_on_a_share_that_is_dead_can_go(node: Node, share: Share, capability: Capability) -> None:
    """The share's server ended, and no question about the volume's file is answered but by an error."""
    volume, other = on_share(node, share, "a"), on_share(node, share, "b")
    for item in (volume, other):
        node.stage(item, capability)
    target = node.publish(volume, capability)
    share.die()
    assert node.stats(volume, target).condition.abnormal
    node.unpublish(volume)
    node.unstage(volume)
    assert node.records.find("a") is None
    assert [Path(shown).name for shown in loops_of_share(share)] == ["b"]
    node.unstage(other)
    assert not loops_of_share(share)


def loops_of_share(share: Share) -> list[str]:
    return [shown for shown in loopctl.attached().values() if shown.startswith(str(share.path))]


def test_a_device_that_hangs_is_unstaged_since_that_may_end_its_hanging(node: Node, share: Share) -> None:
    """As a map without paths that queues: it fails what waits once it is given up."""
    volume = node.volume("a", SMALL)
    staged = node.stage(volume)
    record = node.records.find("a")
    assert record
    assert record.device
    node.records.save(replace(record, device=replace(record.device, file="")))
    record = node.records.find("a")
    assert record
    hangs = threading.Event()
    node.patience._look_seconds = LOOK_SECONDS
    try:
        with pytest.raises(NoAnswer):
            node.calls.look(record, "hangs", hangs.wait)
        assert node.stats(volume, staged).condition.abnormal
        node.unstage(volume)
    finally:
        hangs.set()
    assert node.records.find("a") is None
