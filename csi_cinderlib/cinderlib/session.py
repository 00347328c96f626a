"""What a process has opened for a set-up. A forked child opens its own."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csi_cinderlib.cinderlib import waiting
from csi_cinderlib.cinderlib.exception import InvalidPersistence
from csi_cinderlib.cinderlib.forks import abandon
from csi_cinderlib.cinderlib.persistence import open_store
from csi_cinderlib.cinderlib.persistence.adapter import PluginStore
from csi_cinderlib.cinderlib.presence import Presence, Process
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.memory import MemoryStore

_PARENT_SECONDS = 5.0
"""How long a child waits for its parent, which may be about to end, to release an SQLite file: a daemon's parent ends after the fork."""


@dataclass(frozen=True)
class Place:
    """How to open a store: the arguments of `open_store`."""

    config: Mapping[str, Any] | None
    state_dir: Path
    is_named: bool

    def open(self, *, patience: float = waiting.PATIENCE_SECONDS) -> Store:
        """Open the store; wait for at most `patience` seconds for another process that uses an SQLite file."""
        if isinstance(self.config, Mapping):
            _make_directory(self.config)
        return waiting.until_free(
            lambda: open_store(self.config, self.state_dir, is_named=self.is_named), seconds=patience
        )

    @property
    def is_instance(self) -> bool:
        """Whether the program has passed an open store, which only it can open again."""
        storage = (self.config or {}).get("storage")
        return storage is not None and not isinstance(storage, str | type)


def _make_directory(config: Mapping[str, Any]) -> None:
    """Create the directory of an SQLite file if it is missing, and its parent is not: more would hide a wrong path.

    If that fails, opening the file names the problem.
    """
    dialect, _, place = str(config.get("connection") or config.get("url") or "").partition("://")
    path = Path(place[1:].partition("?")[0])
    if dialect.partition("+")[0] == "sqlite" and path.name and path.parent.parent.is_dir():
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, exist_ok=True)


class Session:
    """The open store of a set-up and the presence of this process in it.

    Attributes:
        owner: the name of this process in records with an operation in progress.
    """

    def __init__(self, place: Place, host_name: str, *, store: Store | None = None, owner: str = "") -> None:
        self.place = place
        self.owner = owner or str(Process.this(host_name))
        self.store = place.open() if store is None else store
        self.presence = Presence(self.store, self.owner)
        self.presence.start()
        self._stop_at_end = weakref.finalize(self, self.presence.stop)

    def close(self) -> None:
        self.presence.stop()
        self.store.close()

    def still(self) -> contextlib.AbstractContextManager[object]:
        """Held during a fork, so that the child gets a consistent copy of records in memory."""
        return self.store.still() if isinstance(self.store, MemoryStore | PluginStore) else contextlib.nullcontext()

    def for_child(self, host_name: str) -> Callable[[], Session]:
        """Leave this session to the parent. Returns a function that opens that of the child. Called in a forked child.

        Records in memory are copied with the process. Connections and locks belong to the parent, and nothing may be closed that
        it uses.
        """
        self._stop_at_end.detach()
        abandon(self)
        place = self.place
        if not self.store.traits.durable:
            store = self.store
            return lambda: Session(place, host_name, store=store)
        if place.is_instance:
            return _refuse
        return lambda: Session(place, host_name, store=place.open(patience=_PARENT_SECONDS))


def _refuse() -> Session:
    raise InvalidPersistence(
        "an open store, which a forked process cannot share with its parent; call set_persistence() in the child, or pass the "
        "store's class or name to setup()"
    )
