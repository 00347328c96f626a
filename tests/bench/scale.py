"""Many volumes at once: a start with many attached, publishing beside many creations, commands on a large store."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from csi_cinderlib.node.format_marks import FormatMarks
from tests.bench.client import NOTHING, Client, running
from tests.bench.rows import Row
from tests.support import exports
from tests.support.peak import peak

ATTACHED, CALL_SECONDS = 200, 0.1
WALKERS = 4
"""Exports at one time (`cinder.exports.WORKERS`; this process has no Cinder)."""
CREATIONS, PUBLICATIONS = 200, 5
VOLUMES = 10_000
PROGRAM = (sys.executable, "-m", "csi_cinderlib")


def scale(directory: Path) -> Iterator[Row]:
    yield from _start(directory)
    for limit in (0, 10):
        yield _publishing(directory / f"publishing-{limit}", limit)
    yield from _commands(directory)
    yield _marks(directory / "marks")


def _config(*, limit: int = 0, seconds: float = 0.0, journal: Path | None = None) -> str:
    options = f"nothing_delay: {seconds}" + (f", nothing_journal: {journal}" if journal else "")
    return NOTHING.replace("nothing: {", f"nothing: {{max_concurrent_calls: {limit}, ").replace(
        "options: {", f"options: {{{options}, "
    )


def _start(directory: Path) -> Iterator[Row]:
    """A start on an array that takes its time, with many volumes attached and with none."""
    slow = _config(seconds=CALL_SECONDS)
    floor, _ = _ready(directory / "none", slow, directory / "none.journal")
    with running(directory / "many", config=_config()) as driver:
        client = Client(driver)
        node_id = client.node_id()
        with ThreadPoolExecutor(16) as pool:
            volumes = list(pool.map(client.create, [f"attached-{number}" for number in range(ATTACHED)]))
            list(pool.map(lambda volume: client.publish(volume, node_id), volumes))
    journal = directory / "many.journal"
    ready, exported = _ready(directory / "many", _config(seconds=CALL_SECONDS, journal=journal), journal, ATTACHED)
    what = f"{ATTACHED} attached, calls of {CALL_SECONDS} s"
    yield Row(f"exec to ready, {what}", "s", ready, 2.0, 1.2, floor, "none attached")
    ideal = ATTACHED * CALL_SECONDS / WALKERS
    yield Row(
        "all of them exported again, from ready", "s", exported, 2 * ideal, 1.2 * ideal, ideal, f"{WALKERS} at a time"
    )


def _ready(directory: Path, config: str, journal: Path, exported: int = 0) -> tuple[float, float]:
    """Seconds from exec until it is ready, and from then until so many volumes are exported again."""
    with running(directory, config=config) as driver:
        ready = time.monotonic()
        while exported and journal.read_text().count("ensure_export") < exported:
            time.sleep(0.05)
        return ready - driver.started, time.monotonic() - ready


def _publishing(directory: Path, limit: int) -> Row:
    """The slowest of a few publications beside many creations, against as many with nothing else to do."""
    with running(directory, config=_config(limit=limit, seconds=0.5)) as driver:
        client = Client(driver)
        node_id = client.node_id()
        with ThreadPoolExecutor(CREATIONS + PUBLICATIONS) as pool:
            volumes = list(pool.map(client.create, [f"volume-{number}" for number in range(2 * PUBLICATIONS)]))
            alone = _slowest(pool, client, volumes[:PUBLICATIONS], node_id)
            creations = [pool.submit(client.create_patiently, f"slow-{number}") for number in range(CREATIONS)]
            time.sleep(0.25)
            beside = _slowest(pool, client, volumes[PUBLICATIONS:], node_id)
            for creation in creations:
                creation.result()
    at_once = f"{limit} at a time" if limit else "no limit"
    what = f"publish beside {CREATIONS} creations, {at_once}"
    return Row(what, "s", beside, 1.2 * alone, 1.1 * alone, alone, "nothing else to do")


def _slowest(pool: ThreadPoolExecutor, client: Client, volumes: Sequence[str], node_id: str) -> float:
    def publish(volume: str) -> float:
        started = time.monotonic()
        client.publish(volume, node_id)
        return time.monotonic() - started

    return max(pool.map(publish, volumes))


def _commands(directory: Path) -> Iterator[Row]:
    exports.write(directory / "few.export", 10)
    exports.write(directory / "many.export", VOLUMES)
    for command, arguments in (
        ("import", ("{}.export",)),
        ("get volumes", ()),
        ("export", ("{}.again",)),
    ):
        few, many = (
            peak(
                *PROGRAM,
                *command.split(),
                "--state-dir",
                str(directory / f"store-{size}"),
                *(str(directory / word.format(size)) for word in arguments),
            )
            for size in ("few", "many")
        )
        yield Row(f"peak memory of {command}, {VOLUMES:,} volumes", "MB", many, 150, 80, few, "10 volumes")


def _marks(directory: Path) -> Row:
    marks = FormatMarks(directory)
    for number in range(VOLUMES):
        (directory / f"volume-{number}").touch()
    started = time.perf_counter()
    for path in directory.iterdir():
        path.stat()
    floor = time.perf_counter() - started
    started = time.perf_counter()
    marks.prune(time.time(), in_use=())
    seconds = time.perf_counter() - started
    return Row(f"daily look at {VOLUMES:,} format marks", "s", seconds, 1.0, 0.3, floor, "stat of each")
