"""The processes that the program, or a test, starts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

DRIVER = "csi:"
"""The names of drivers' processes begin so; the name of the back end follows."""


def is_running(pid: int) -> bool:
    """Also one that is to be killed, until it gets a CPU; not one that has ended and whose parent does not know it yet."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def descendants(pid: int) -> dict[int, str]:
    """The processes below that one, and their names."""
    parents: dict[int, tuple[int, str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = path.read_text().partition(" (")
        except OSError:
            continue  # it has ended
        name, _, fields = rest.rpartition(") ")
        parents[int(number)] = int(fields.split()[1]), name
    found: dict[int, str] = {}
    generation = {pid}
    while generation:
        children = {child: name for child, (parent, name) in parents.items() if parent in generation}
        found |= children
        generation = set(children)
    return found


def children(pid: int) -> list[int]:
    """The processes that it has started itself and not waited for."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended, and the process has its children
            found += map(int, file.read_text().split())
    return found


def drivers(pid: int) -> dict[str, int]:
    """The drivers' processes of a controller, by the names of their back ends."""
    return {name.removeprefix(DRIVER): child for child, name in descendants(pid).items() if name.startswith(DRIVER)}
