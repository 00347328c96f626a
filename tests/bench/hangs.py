"""A node with 200 volumes while the share of ten of them hangs: what the others notice, and what it costs. Takes five minutes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from csi_cinderlib.csi.v1 import csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host.processes import Process, is_over
from tests.bench.client import LOOP_FILES, resident, running
from tests.bench.rows import Row
from tests.support import fuse_share, repeating
from tests.support.fuse_share import Share
from tests.support.node_site import Site, repeated, waiting

HUNG, FINE = [f"hung-{number}" for number in range(10)], [f"fine-{number}" for number in range(190)]
HANG_SECONDS = 120.0
"""With as long without, half of it before and half after, since the machine may have other work at times."""
ASKED_A_SECOND = 10.0
"""Statistics of the volumes on the share, in both phases, so that the hang is all the difference."""
DEADLINE = 5.0
"""After which those who ask for them give up."""
MEASURED_A_SECOND, PUBLISHED_A_SECOND = 20.0, 10.0
"""Of the other volumes. Each call begins when it is due, whether those before it have ended or not."""
CALLERS = 128
STARTS = 5


def hangs(directory: Path) -> Iterator[Row]:
    if os.geteuid() != 0 or not fuse_share.DEVICE.exists():
        print("hangs: skipped: needs root and /dev/fuse", file=sys.stderr)
        return
    with ExitStack() as undo:
        site = Site(directory.resolve())
        config = f"{LOOP_FILES}local_paths: [{site.base}]\n"
        undo.callback(site.clear)
        share = undo.enter_context(fuse_share.shared(site.base))
        undo.callback(site.detach, besides=share.path)
        node = Node(undo, site, config)
        undo.callback(share.die)
        _set_up(node, share)
        yield from _phases(node, share)
        yield _restarts(node, share)
        yield _recovery(node, share)


class Node:
    """The node's plugin, and the kubelet's calls to it."""

    def __init__(self, undo: ExitStack, site: Site, config: str) -> None:
        self.site = site
        self._undo = undo
        self._config = config
        self.start()

    def start(self) -> None:
        running_one = running(self.site.base / "node", "--mode", "node", config=self._config, ready=False)
        self.driver: DriverProcess = self._undo.enter_context(running_one)
        _, self.seconds_until_ready = self.driver.wait_until_ready()
        self.stub: Any = csi_pb2_grpc.NodeStub(self.driver.channel)

    def start_again(self) -> float:
        """Seconds from exec to ready, after SIGKILL. A killed process may wait for a share, and does not go away meanwhile."""
        self.driver.channel.close()
        os.kill(self.driver.pid, signal.SIGKILL)
        repeating.until(lambda: is_over(Process(self.driver.pid)))
        self.start()
        return self.seconds_until_ready

    def threads(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.driver.pid}/task").iterdir())

    def each(self, step: Callable[[Any, Any], object], volumes: list[Any]) -> None:
        """Do so with all volumes, eight at a time, as the kubelet does: what is refused is repeated."""
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(repeated, step, self.stub, volume) for volume in volumes]:
                done.result()


def _set_up(node: Node, share: Share) -> None:
    for name in HUNG:
        node.site.file(share.files / name)
    for name in FINE:
        node.site.file(node.site.base / name)
    node.each(node.site.stage, [share.path / name for name in HUNG] + [node.site.base / name for name in FINE])
    node.each(node.site.publish, HUNG + FINE)


@dataclass
class Phase:
    """What calls took, in seconds from when each was due."""

    stats: list[float] = field(default_factory=list)
    publications: list[float] = field(default_factory=list)
    abnormal_after: dict[str, float] = field(default_factory=dict)
    threads: int = 0
    waiting: int = 0
    memory: float = 0.0


def _phases(node: Node, share: Share) -> Iterator[Row]:
    _phase(node, seconds=5.0)
    alone = _phase(node, seconds=HANG_SECONDS / 2)
    share.hang()
    beside = _phase(node, seconds=HANG_SECONDS, meanwhile=share.hang)
    recovered = _answer(node, share)
    after = _phase(node, seconds=HANG_SECONDS / 2)
    assert not alone.abnormal_after
    assert not after.abnormal_after
    assert beside.abnormal_after.keys() == set(HUNG), beside.abnormal_after
    yield from _times("NodeGetVolumeStats", beside.stats, alone.stats + after.stats)
    yield from _times("unpublish and publish", beside.publications, alone.publications + after.publications)
    yield Row("share hangs to all its volumes abnormal", "s", max(beside.abnormal_after.values()), 10, 6.5)
    yield Row("node's threads that wait for the share", "", beside.waiting, 3, 1)
    threads, memory = alone.threads, alone.memory
    yield _against("node's threads, during the hang", "", beside.threads, threads, threads + 16, threads + 10)
    yield _against("node's memory, during the hang", "MB", beside.memory, memory, memory + 10, memory + 4)
    yield Row("share answers to all its volumes normal", "s", recovered, 10, 1)


def _times(what: str, beside: list[float], alone: list[float]) -> Iterator[Row]:
    for name, part in (("p50", 50), ("p99", 99)):
        value, floor = _percentile(beside, part) * 1e3, _percentile(alone, part) * 1e3
        yield _against(f"{what} beside a share that hangs, {name}", "ms", value, floor, 2 * floor, 1.2 * floor)


def _against(what: str, unit: str, value: float, floor: float, budget: float, aim: float) -> Row:
    return Row(what, unit, value, budget, aim, floor, "no hang")


def _percentile(taken: list[float], part: int) -> float:
    return sorted(taken)[len(taken) * part // 100]


def _phase(node: Node, *, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Phase:
    phase, began = Phase(), time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        rhythms = [
            _Rhythm(pool, ASKED_A_SECOND, HUNG, lambda name, _: _ask(node, name, phase, began)),
            _Rhythm(pool, MEASURED_A_SECOND, FINE, lambda name, due: _measure(node, name, phase.stats, due)),
            _Rhythm(pool, PUBLISHED_A_SECOND, FINE, lambda name, due: _publish(node, name, phase.publications, due)),
        ]
        for rhythm in rhythms:
            rhythm.start(began, began + seconds)
        while time.monotonic() < began + seconds:
            meanwhile()
            phase.threads = max(phase.threads, node.threads())
            phase.waiting = max(phase.waiting, waiting(node.driver.pid))
            time.sleep(1)
        for rhythm in rhythms:
            rhythm.finish()
    phase.memory = resident(node.driver)
    return phase


class _Rhythm:
    """Calls for one volume after another, so many a second."""

    def __init__(
        self, pool: ThreadPoolExecutor, rate: float, volumes: list[str], call: Callable[[str, float], None]
    ) -> None:
        self._pool, self._rate, self._volumes, self._call = pool, rate, volumes, call
        self._calls: list[Future[None]] = []

    def start(self, began: float, ends: float) -> None:
        self._thread = threading.Thread(target=self._run, args=(began, ends))
        self._thread.start()

    def _run(self, began: float, ends: float) -> None:
        due = began
        for volume in cycle(self._volumes):
            if due > ends:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            self._calls.append(self._pool.submit(self._call, volume, due))
            due += 1 / self._rate

    def finish(self) -> None:
        self._thread.join()
        for call in self._calls:
            call.result()


def _ask(node: Node, name: str, phase: Phase, began: float) -> None:
    try:
        is_abnormal = node.site.condition(node.stub, name, timeout=DEADLINE).abnormal
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error
        return
    if is_abnormal:
        phase.abnormal_after.setdefault(name, time.monotonic() - began)


def _measure(node: Node, name: str, taken: list[float], due: float) -> None:
    condition = node.site.condition(node.stub, name)
    assert not condition.abnormal, condition.message
    taken.append(time.monotonic() - due)


def _publish(node: Node, name: str, taken: list[float], due: float) -> None:
    for step in (node.site.unpublish, node.site.publish):
        repeating.repeated(lambda step=step: step(node.stub, name))  # type: ignore[misc]  # bound now, for this loop
    taken.append(time.monotonic() - due)


def _answer(node: Node, share: Share) -> float:
    """Seconds until all is well."""
    began = time.monotonic()
    share.answer()
    repeating.until(lambda: not any(node.site.is_abnormal(node.stub, name) for name in HUNG))
    return time.monotonic() - began


def _restarts(node: Node, share: Share) -> Row:
    alone, beside = zip(*(_restart_twice(node, share) for _ in range(STARTS)), strict=True)
    seconds, floor = median(beside), median(alone)
    return _against("exec to ready after SIGKILL, share hangs", "s", seconds, floor, 2 * floor, 1.2 * floor)


def _restart_twice(node: Node, share: Share) -> tuple[float, float]:
    """Without and with the hang, one soon after the other. The share still hangs in the end."""
    _answer(node, share)
    alone = node.start_again()
    share.hang()
    with suppress(grpc.RpcError):
        node.site.condition(node.stub, HUNG[0], timeout=1.0)
    share.wait_until_asked()
    beside = node.start_again()
    for step in (node.site.unpublish, node.site.publish):
        node.each(step, FINE[:10])
    return alone, beside


def _recovery(node: Node, share: Share) -> Row:
    """Pods end while the share hangs; it is unstaged when the share answers."""
    node.each(node.site.unpublish, HUNG)
    began = time.monotonic()
    _answer(node, share)
    node.each(node.site.unstage, HUNG)
    return Row("share answers to all its volumes unstaged", "s", time.monotonic() - began, 10, 3)
