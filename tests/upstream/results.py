"""What a run of Cinder's tests leaves behind: one JSON line for each event, written by workers and read by the comparison."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO


class Mode(enum.StrEnum):
    STOCK = "stock"
    PRODUCT = "product"


class State(enum.StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test ended.

    Attributes:
        test: its id, as unittest names it.
        text: the traceback, or the reason for which it was skipped.
        refused: what it tried to do outside its process: the programs, and the addresses.
    """

    test: str
    state: State
    seconds: float = 0
    text: str = ""
    refused: tuple[str, ...] = ()

    @property
    def last_line(self) -> str:
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What Cinder ran on, as a worker found it after its last test.

    Attributes:
        patched: eventlet has replaced the standard library's threads.
        threads: back end that oslo.service chose.
        pool: module of the class from which Cinder's SSH pool derives.
        manager: module of the type of what drivers have as `cinder.volume.manager`.
    """

    patched: bool
    threads: str
    pool: str
    manager: str


@dataclass(slots=True)
class Run:
    """Everything that the workers of one mode wrote.

    Attributes:
        surroundings: of each worker that reached its end.
        broken: for each worker that did not: its file, and the test that was running.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    surroundings: list[Surroundings] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def count(self, state: State) -> int:
        return sum(outcome.state is state for outcome in self.outcomes.values())


class Writer:
    """Writes a worker's file; each line is on disk before the next test starts."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def running(self, test: str) -> None:
        self._line({"running": test})

    def outcome(self, outcome: Outcome) -> None:
        self._line({"outcome": asdict(outcome)})

    def end(self, surroundings: Surroundings) -> None:
        self._line({"end": asdict(surroundings)})

    def _line(self, event: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()


def read(paths: Iterable[Path]) -> Run:
    """Read the files of one mode's workers; a file that lacks its last line is of a worker that broke off."""
    run = Run()
    for path in paths:
        running, ended = "no test", False
        for event in _events(path):
            if "running" in event:
                running = event["running"]
            elif "outcome" in event:
                outcome = _outcome(event["outcome"])
                run.outcomes[outcome.test] = outcome
            else:
                ended = True
                run.surroundings.append(Surroundings(**event["end"]))
        if not ended:
            run.broken.append(f"{path.name} ended while {running} was running")
    return run


def _events(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):  # the last line of a killed worker may be cut
            yield json.loads(line)


def _outcome(values: Mapping[str, Any]) -> Outcome:
    return Outcome(**{**values, "state": State(values["state"]), "refused": tuple(values["refused"])})
