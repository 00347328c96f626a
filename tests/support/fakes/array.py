"""A storage array in a file: its objects survive the process, and several processes or installations may share it.

The file is the array's audit log, one JSON object per line: every object that was ever created, changed or deleted, and by
which installation. The present state is computed from the log, so the two cannot disagree. Without a file the array lives in
memory.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

VOLUME, SNAPSHOT = "volume", "snapshot"
_FIRST_ID = 100


class NameTaken(Exception):
    """An array with unique names already has an object of that name."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the audit log.

    Attributes:
        action: "create", "delete", "extend", "map" or "unmap".
        id: the object's id, which the array assigned.
        by: the installation that asked for it.
        parent: the volume of a snapshot.
    """

    action: str
    kind: str
    id: str
    by: str
    name: str = ""
    size: int = 0
    parent: str = ""
    host: str = ""
    pid: int = field(default_factory=os.getpid)


@dataclass
class Lun:
    """A volume or snapshot that the array has now."""

    kind: str
    id: str
    name: str
    size: int
    parent: str
    by: str
    hosts: set[str] = field(default_factory=set)


class Array:
    """The array as one installation uses it. Thread-safe and process-safe; every method sees what others did before.

    Args:
        by: the installation's name in the audit log.
    """

    def __init__(self, path: Path | None, *, by: str = "test") -> None:
        self._path = path
        self._by = by
        self._guard = threading.Lock()
        self._read = 0
        self._events: list[Event] = []
        self._luns: dict[str, Lun] = {}

    # --- what a driver asks for

    def create(self, kind: str, name: str, size: int, *, parent: str = "", unique: bool = False) -> str:
        """The new object's id.

        Raises:
            NameTaken: `unique`, and there is an object of that kind and name.
        """
        with self._turn() as log:
            if unique and any(lun.kind == kind and lun.name == name for lun in self._luns.values()):
                raise NameTaken(name)
            created = sum(event.action == "create" for event in self._events)
            id = str(_FIRST_ID + created)
            self._write(log, "create", kind, id, name=name, size=size, parent=parent)
            return id

    def delete(self, id: str) -> None:
        self._act("delete", id)

    def extend(self, id: str, size: int) -> None:
        self._act("extend", id, size=size)

    def map(self, id: str, host: str) -> None:
        self._act("map", id, host=host)

    def unmap(self, id: str, host: str) -> None:
        self._act("unmap", id, host=host)

    def get(self, id: str) -> Lun | None:
        with self._turn():
            return self._luns.get(id)

    def luns(self, kind: str = VOLUME, *, name: str = "", parent: str = "") -> list[Lun]:
        """What the array has now, in order of creation."""
        with self._turn():
            return [
                lun
                for lun in self._luns.values()
                if lun.kind == kind and name in ("", lun.name) and parent in ("", lun.parent)
            ]

    # --- what a test asks for

    def events(self, action: str = "", *, kind: str = "", name: str = "") -> list[Event]:
        """The audit log."""
        with self._turn():
            return [
                event
                for event in self._events
                if action in ("", event.action) and kind in ("", event.kind) and name in ("", event.name)
            ]

    def foreign_deletions(self) -> list[Event]:
        """Deletions of objects that another installation had created."""
        creators = {event.id: event.by for event in self.events("create")}
        return [event for event in self.events("delete") if creators[event.id] != event.by]

    # --- within

    def _act(self, action: str, id: str, *, size: int = 0, host: str = "") -> None:
        with self._turn() as log:
            lun = self._luns[id]
            self._write(log, action, lun.kind, id, name=lun.name, size=size, host=host)

    @contextmanager
    def _turn(self) -> Iterator[IO[str] | None]:
        with self._guard:
            if self._path is None:
                yield None
                return
            with self._path.open("a+") as log:
                fcntl.flock(log, fcntl.LOCK_EX)
                log.seek(self._read)
                for line in log.readlines():
                    self._apply(Event(**json.loads(line)))
                self._read = log.tell()
                yield log

    def _write(self, log: IO[str] | None, action: str, kind: str, id: str, **values: object) -> None:
        event = Event(action=action, kind=kind, id=id, by=self._by, **values)  # type: ignore[arg-type]  # values by name
        if log is not None:
            log.write(json.dumps(asdict(event)) + "\n")
            log.flush()
            self._read = log.tell()
        self._apply(event)

    def _apply(self, event: Event) -> None:
        self._events.append(event)
        if event.action == "create":
            self._luns[event.id] = Lun(event.kind, event.id, event.name, event.size, event.parent, event.by)
        elif event.action == "delete":
            del self._luns[event.id]
        elif event.action == "extend":
            self._luns[event.id].size = event.size
        elif event.action == "map":
            self._luns[event.id].hosts.add(event.host)
        else:
            self._luns[event.id].hosts.discard(event.host)
