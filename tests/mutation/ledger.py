"""The list of equivalent mutants, which no test can distinguish from the original, each with the reason."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("equivalents.toml")


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a mutant independently of its number.

    Attributes:
        module: dotted, without the package.
        function: `function` or `Class.method`.
        change: the removed and added lines, each with its `-` or `+`, without indentation.
    """

    module: str
    function: str
    change: tuple[str, ...]

    def __str__(self) -> str:
        lines = "\n".join(f"    {line}" for line in self.change)
        return f"{self.module}: {self.function}\n{lines}"


@dataclass(frozen=True, slots=True)
class Equivalent:
    """An entry of the list."""

    identity: Identity
    reason: str


def read(file: Path = FILE) -> tuple[Equivalent, ...]:
    """Raises ValueError for an entry without a reason and for a duplicate."""
    entries = tomllib.loads(file.read_text()).get("equivalent", [])
    listed = tuple(
        Equivalent(Identity(entry["module"], entry["function"], change_of(entry["change"])), entry["reason"].strip())
        for entry in entries
    )
    for index, entry in enumerate(listed):
        if not entry.reason:
            raise ValueError(f"{file.name}: no reason is given\n{entry.identity}")
        if entry.identity in {other.identity for other in listed[:index]}:
            raise ValueError(f"{file.name}: listed twice\n{entry.identity}")
    return listed


def change_of(diff: str) -> tuple[str, ...]:
    """The changed lines of a unified diff, or of an excerpt."""
    return tuple(
        line[0] + line[1:].strip()
        for line in diff.splitlines()
        if line[:1] in {"-", "+"} and not line.startswith(("---", "+++"))
    )


def stale(listed: Iterable[Equivalent], survived: Iterable[Identity], modules: Iterable[str]) -> tuple[Equivalent, ...]:
    """Entries that match no survivor, in modules whose mutants have all been tested."""
    known, complete = set(survived), set(modules)
    return tuple(entry for entry in listed if entry.identity.module in complete and entry.identity not in known)
