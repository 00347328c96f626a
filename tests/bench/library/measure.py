"""The library against cinderlib 5.2.0: groups `library-STORE` of `make bench`.

Both run the same program (`program.py`) with the same driver, which does nothing, in processes of their own, and take turns.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import calibration
from tests.bench.library import original
from tests.bench.rows import Row
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Unavailable

OURS, THEIRS = "csi_cinderlib.cinderlib", "cinderlib"
ROOT = Path(__file__).parents[3]
RECORDED = Path(__file__).with_name("recorded.json")
"""By store and row: the seconds (MiB) of cinderlib, and those of `calibration.python_work` in the same run."""
TURNS, EACH, MANY, LISTS = 9, 20, 1_000, 5
STARTS, ATTACHMENTS = 3, 5
LOADED = 10_000
"""Volumes for the measurement of memory."""
NOISE = 1.1
"""What a row may take of cinderlib's time: the noise of two equal programs."""
IN_MEMORY_MS: Mapping[str, float] = {
    "get by id": 0.01,
    "read five attributes": 0.01,
    "create and read": 0.35,
    "save": 0.2,
    "extend": 0.35,
    "create a snapshot": 0.45,
    "delete a snapshot": 0.6,
    "clone": 0.75,
    "connect": 0.8,
    "disconnect": 0.75,
    "delete": 0.45,
}
"""Budgets of the rows in which cinderlib only calls the driver and changes a dictionary. The library also stores the intent and the
result as in a database, with a comparison of revisions, and gives the driver an object of its own. The driver itself takes 0.01 to 0.02 ms a call."""
ON_A_SERVER: Mapping[str, float] = {"delete a snapshot": 1.5, "delete": 1.2}
"""Budgets of rows with PostgreSQL, relative to cinderlib. A deletion is two commits instead of one."""

_SMALL = 1e-4
"""Seconds below which a figure is shown in microseconds."""

Sample = Mapping[str, list[float]]
"""By row: wall and processor seconds."""


class Program:
    """A running `program.py`."""

    def __init__(self, python: Path | str, library: str, directory: Path, config: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True)
        self._errors = directory / "errors"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [python, Path(__file__).with_name("program.py"), library, directory, json.dumps(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "CINDERLIB_LIBRARY_STATE_DIR": str(directory)},
            )

    def ask(self, command: str, *arguments: object) -> Sample:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"the measured program has ended: {self._errors.read_text()[-2000:]}")
        sample: Sample = json.loads(line)
        return sample

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Turns:
    """The programs of both libraries on the same kind of store; cinderlib's may be missing."""

    def __init__(
        self, directory: Path, configs: Mapping[str, Callable[[Path], Mapping[str, Any]]], *, only_computes: bool
    ) -> None:
        self._directory = directory
        self._only_computes = only_computes
        self._configs = configs
        self._pythons: dict[str, Path | str] = {OURS: sys.executable}
        if python := original.find():
            self._pythons[THEIRS] = python
        self._count = 0
        self.samples: dict[str, dict[str, list[float]]] = {OURS: defaultdict(list), THEIRS: defaultdict(list)}

    @contextmanager
    def running(self) -> Iterator[Mapping[str, Program]]:
        """New programs, with new stores."""
        self._count += 1
        with ExitStack() as stopped:
            programs = {}
            for library, python in self._pythons.items():
                directory = self._directory / f"{library}-{self._count}"
                config = self._configs[library](directory)
                programs[library] = Program(python, library, directory, config)
                stopped.callback(programs[library].stop)
            yield programs

    def take(self, programs: Mapping[str, Program], command: str, *arguments: object) -> None:
        """Each program once, the first one in turns."""
        self._count += 1
        for library in list(programs)[:: 1 if self._count % 2 else -1]:
            for row, seconds in programs[library].ask(command, *arguments).items():
                self.samples[library][row].append(seconds[self._clock(row)])

    def _clock(self, row: str) -> int:
        """Processor time where nothing waits for a disk, a server or a program: other work on the machine does not count."""
        return 1 if self._only_computes and row != "attach and detach" else 0


def measure(store: str, directory: Path) -> Iterator[Row]:
    """Every row on one kind of store. A server that cannot be had is reported on standard error."""
    try:
        with STORES[store](directory) as configs:
            turns = Turns(directory, configs, only_computes=store == "memory")
            work = calibration.python_work()
            _take_all(turns, directory, in_memory=store == "memory")
            yield from _rows(store, turns, work)
    except Unavailable as reason:
        print(f"library-{store}: skipped: {reason}", file=sys.stderr)


def _take_all(turns: Turns, directory: Path, *, in_memory: bool) -> None:
    for _ in range(STARTS):
        with turns.running() as programs:
            turns.take(programs, "start")
    with turns.running() as programs:
        for program in programs.values():
            program.ask("calls", EACH)  # imports what the first call needs
        for _ in range(TURNS):
            turns.take(programs, "calls", EACH)
        if os.geteuid() == 0:
            with _loop_device(directory / "disk") as device:
                turns.take(programs, "attachments", device, ATTACHMENTS)
        for program in programs.values():
            program.ask("fill", MANY)
        for _ in range(LISTS):
            turns.take(programs, "lists")
    if in_memory:  # in a database, cinderlib needs minutes to create so many
        with turns.running() as programs:
            for program in programs.values():
                program.ask("fill", LOADED)
            turns.take(programs, "memory")


@contextmanager
def _loop_device(file: Path) -> Iterator[str]:
    with file.open("wb") as disk:
        disk.truncate(2**21)
    found = subprocess.run(["losetup", "--find", "--show", file], check=True, capture_output=True, text=True)
    device = found.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def _rows(store: str, turns: Turns, work: float) -> Iterator[Row]:
    ours = {row: statistics.median(values) for row, values in turns.samples[OURS].items()}
    theirs = {row: statistics.median(values) for row, values in turns.samples[THEIRS].items()}
    if theirs:
        named = "cinderlib 5.2.0"
        _record(store, theirs, work)
    else:
        named = "cinderlib 5.2.0, recorded"
        theirs = _recorded(store, work)
    for row, value in ours.items():
        floor = theirs.get(row, 0.0)
        own = _budget(store, row, floor)
        unit, factor = ("MB", 1.0) if row == "memory" else ("ms", 1e3) if value > _SMALL else ("µs", 1e6)
        measured, budget, other = value * factor, own * factor, floor * factor
        yield Row(f"library, {store}: {row}", unit, measured, budget, other, other, named)


def _budget(store: str, row: str, floor: float) -> float:
    if store == "memory" and row in IN_MEMORY_MS:
        return IN_MEMORY_MS[row] / 1e3
    return (ON_A_SERVER.get(row, NOISE) if store == "postgresql" else NOISE) * floor


def _recorded(store: str, work: float) -> dict[str, float]:
    """The recorded figures of cinderlib, for the speed of this machine. Memory does not depend on it."""
    known = json.loads(RECORDED.read_text()).get(store)
    if known is None:
        return {}
    return {
        row: value * (1.0 if row == "memory" else work / known["python work"])
        for row, value in known.items()
        if row != "python work"
    }


def _record(store: str, theirs: Mapping[str, float], work: float) -> None:
    """With CINDERLIB_BENCH_RECORD, keep cinderlib's figures for machines without Python 3.10."""
    if not os.environ.get("CINDERLIB_BENCH_RECORD"):
        return
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    known[store] = {"python work": work, **theirs}
    rounded = {name: {row: float(f"{value:.3g}") for row, value in rows.items()} for name, rows in known.items()}
    RECORDED.write_text(json.dumps(rounded, indent=2, sort_keys=True) + "\n")


@contextmanager
def _memory(_directory: Path) -> Iterator[Mapping[str, Callable[[Path], Mapping[str, Any]]]]:
    yield dict.fromkeys((OURS, THEIRS), lambda _directory: {"storage": "memory"})


@contextmanager
def _sqlite(_directory: Path) -> Iterator[Mapping[str, Callable[[Path], Mapping[str, Any]]]]:
    def config(directory: Path) -> Mapping[str, Any]:
        return {"storage": "db", "connection": f"sqlite:///{directory}/metadata.db"}

    yield dict.fromkeys((OURS, THEIRS), config)


@contextmanager
def _postgresql(_directory: Path) -> Iterator[Mapping[str, Callable[[Path], Mapping[str, Any]]]]:
    """A new database on the same server for each program."""
    server, numbers = PostgreSQL(), itertools.count()

    def create(_directory: Path) -> Mapping[str, Any]:
        name = f"bench{next(numbers)}"
        server.query(f"CREATE DATABASE {name} OWNER csi", database="postgres")
        return {"storage": "db", "connection": f"{server.url.rpartition('/')[0]}/{name}"}

    try:
        server.initialize()
        yield dict.fromkeys((OURS, THEIRS), create)
    finally:
        server.discard()


STORES = {"memory": _memory, "sqlite": _sqlite, "postgresql": _postgresql}


def groups() -> Mapping[str, Callable[[Path], Iterator[Row]]]:
    return {f"library-{store}": partial(measure, store) for store in STORES}
