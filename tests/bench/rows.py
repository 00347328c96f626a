"""What is measured, each with its budget (docs/explanation/performance.md tells why these)."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.ids import SHARED
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.plugins import open_store
from tests.bench import calibration
from tests.bench.client import BLOCK, EXT4, NODE, NOTHING, Client, cpu_seconds, creators, resident, running

BACK_ENDS = 5
LIVES = 320


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        budget: the figure that must be reached; at most that, or at least that where `more_is_better`. None where none is set.
        aim: the figure that we want.
        calibration: the measured floor, in the same unit, or 0.
    """

    what: str
    unit: str
    value: float
    budget: float | None
    aim: float | None
    calibration: float = 0.0
    calibrated_by: str = ""
    more_is_better: bool = False


def starts(directory: Path) -> Iterator[Row]:
    """From exec to the first answer, and to ready."""
    floor = calibration.python_with_grpc()
    answered, ready = zip(*(_start(directory / f"start-{number}") for number in range(7)), strict=True)
    yield Row("exec to answering Probe", "s", sorted(answered)[3], 0.3, 0.12, floor, "python -c 'import grpc'")
    yield Row("exec to ready, one back end", "s", sorted(ready)[3], 1.2, 0.5, floor, "python -c 'import grpc'")


def _start(directory: Path) -> tuple[float, float]:
    directory.mkdir()
    driver = DriverProcess(directory)
    try:
        return driver.wait_until_ready()
    finally:
        driver.stop()


def memory(directory: Path) -> Iterator[Row]:
    """Memory by mode: of all processes of the program."""
    with (
        running(directory / "controller", "--mode", "controller") as controller,
        running(directory / "node", "--mode", "node", config=NODE % (directory / "controller/volumes")) as node,
    ):
        time.sleep(1)
        yield Row("memory, controller", "MB", resident(controller), 150, 120)
        yield Row("memory, node, idle", "MB", resident(node), 45, 36)
        client = Client(controller, node)
        node_id = client.node_id()
        client.life("memory", EXT4, node_id)
        yield Row("memory, node, after an attach", "MB", resident(node), 60, None)
        for number in range(100):
            client.life(f"memory-{number}", BLOCK, node_id)
        yield Row("memory, controller, after 100 lives", "MB", resident(controller), 150, 120)
        yield Row("memory, node, after 100 lives", "MB", resident(node), 60, None)
    yield from _memory_of_back_ends(directory)


def _memory_of_back_ends(directory: Path) -> Iterator[Row]:
    """With drivers that are small themselves: what a process for each costs."""
    one, several = (_resident_with(directory / f"back-ends-{count}", count) for count in (1, BACK_ENDS))
    yield Row("memory, controller, one small back end", "MB", one, 150, 120)
    yield Row("the same for each further back end", "MB", (several - one) / (BACK_ENDS - 1), 15, None, one, "the first")


def _resident_with(directory: Path, back_ends: int) -> float:
    driver = "{driver: tests.support.fakes.nothing.NothingDriver}"
    config = f"backends: {{{', '.join(f'array{number}: {driver}' for number in range(back_ends))}}}\nlog: {{level: warning}}\n"
    with running(directory, "--mode", "controller", config=config) as controller:
        for number in range(back_ends):
            Client(controller).create(f"volume-{number}", backend=f"array{number}")
        return resident(controller)


def creation(directory: Path) -> Iterator[Row]:
    """CreateVolume with a driver that does nothing, durable."""
    disk, call = calibration.sync(directory), calibration.empty_call(directory)
    with running(directory / "create", "--mode", "controller", config=NOTHING) as driver:
        client, numbers = Client(driver), itertools.count()
        for _ in range(50):
            client.create(f"warm-{next(numbers)}")
        own = calibration.median(lambda: client.create(f"one-{next(numbers)}"), 400)
        yield Row(
            "own cost of CreateVolume, one client, p50",
            "ms",
            own * 1e3,
            2.0,
            1.2,
            (2 * disk + call) * 1e3,
            "2 fdatasync + empty call",
        )
        rate = _rate(driver, callers=64, seconds=6.0)
        yield Row(
            "CreateVolume per second, 64 callers",
            "/s",
            rate,
            1000,
            1500,
            1 / call,
            "empty calls, one client",
            more_is_better=True,
        )


def _rate(driver: DriverProcess, *, callers: int, seconds: float) -> float:
    started = time.time() + 2.0
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(creators, str(driver.socket), callers // 2, seconds, started) for _ in range(2)]
        return sum(job.result() for job in jobs) / seconds


def lives(directory: Path) -> Iterator[Row]:
    """Whole life cycles on loop files: create, publish, stage, mount, and back; in one process, and as in a cluster."""
    made, made_cpu = calibration.make_ext4(directory)
    with running(directory / "lives") as driver:
        yield from _lives(made, made_cpu, driver)
    with (
        running(directory / "lives-controller", "--mode", "controller") as controller,
        running(
            directory / "lives-node", "--mode", "node", config=NODE % (directory / "lives-controller/volumes")
        ) as node,
    ):
        yield from _lives(made, made_cpu, controller, node)


def _lives(made: float, made_cpu: float, controller: DriverProcess, node: DriverProcess | None = None) -> Iterator[Row]:
    client = Client(controller, node)
    node_id = client.node_id()
    programs = [controller, node] if node else [controller]
    apart = ", controller and node apart" if node else ""
    for capability, name, budget, aim in ((BLOCK, "block", 50, 80), (EXT4, "ext4", 60, 100)):
        client.life(f"warm-{name}", capability, node_id)
        used = sum(map(cpu_seconds, programs))
        rate = _rate_of_lives(client, capability, name, node_id)
        cpu = (sum(map(cpu_seconds, programs)) - used) / LIVES * 1e3
        what = f"life cycles per second, {name}, 8 callers{apart}"
        yield Row(what, "/s", rate, budget, aim, 1 / made, "mkfs.ext4 in a row", more_is_better=True)
        goal, wish = (16, 10) if capability is EXT4 else (None, None)
        yield Row(f"processor time per life cycle, {name}{apart}", "ms", cpu, goal, wish, made_cpu * 1e3, "mkfs.ext4")


def _rate_of_lives(client: Client, capability: csi_pb2.VolumeCapability, name: str, node_id: str) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: client.life(f"{name}-{number}", capability, node_id), range(LIVES)))
    return LIVES / (time.perf_counter() - started)


def listing(directory: Path) -> Iterator[Row]:
    """ListVolumes at a thousand, ten thousand and a hundred thousand volumes."""
    call = calibration.empty_call(directory) * 1e3
    state, made = directory / "list", 0
    state.mkdir()
    for count in (1_000, 10_000, 100_000):
        _fill(state, range(made, count))
        made = count
        with running(state, "--mode", "controller", config=NOTHING) as driver:
            client = Client(driver)
            deep = client.page(100, client.page(1000).next_token if count > 1000 else "").next_token
            seconds = calibration.median(lambda client=client, deep=deep: client.page(100, deep), 50)  # type: ignore[misc]  # bound now, for this loop
            yield Row(f"ListVolumes, page of 100 of {count:,}", "ms", seconds * 1e3, 2, 1.5, call, "empty call")
            if count == 100_000:
                yield Row(
                    "walk of 100,000 in pages of 1,000",
                    "s",
                    _walk(client, count),
                    3,
                    1.2,
                    call / 1e3 * 100,
                    "100 empty calls",
                )


def _walk(client: Client, count: int) -> float:
    started, seen, token = time.perf_counter(), 0, ""
    while True:
        page = client.page(1000, token)
        seen, token = seen + len(page.entries), page.next_token
        if not token:
            assert seen == count, seen
            return time.perf_counter() - started


def _fill(state_dir: Path, numbers: range) -> None:
    """Records as if created, by many threads so that their commits are grouped."""
    store = open_store("sql", state_dir=state_dir)

    def add(number: int) -> None:
        name = f"volume-{number}"
        store.add(Volume(id=SHARED.volume_id(name), name=name, backend="nothing", size=GiB(1), status=Status.AVAILABLE))

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(add, numbers, chunksize=100))
    store.close()


GROUPS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "starts": starts,
    "memory": memory,
    "creation": creation,
    "lives": lives,
    "listing": listing,
}
