"""The records at hand while a driver is called, and where to find all others.

A driver asks Cinder's database by id alone, and one process may hold several back ends on several stores. So each call into a
driver runs within a `Work`, found through a context variable, that knows the store and already holds the records concerned:
most questions of a driver cost no store access. A thread that a driver started by itself has no `Work`; the stores of
all back ends are asked in turn then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from csi_cinderlib.errors import CorruptRecord, NotFound, StaleRecord
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.persistence.api import Page, R, Store

_ATTEMPTS = 10
_PAGE = 1000


def walk(store: Store, kind: type[R], where: Mapping[str, str]) -> Iterator[R]:
    """All records of that kind; unreadable ones are left out, so that one of them does not stop a whole back end."""
    for page in _pages(store, kind, where):
        yield from page.records


def all_of(store: Store, kind: type[R], where: Mapping[str, str]) -> tuple[R, ...]:
    """What belongs to one volume or group.

    Raises:
        CorruptRecord: one cannot be read. Whoever decides on all of them must not decide on a part.
    """
    found: list[R] = []
    for page in _pages(store, kind, where):
        if page.corrupt:
            (name, id), *_ = where.items()
            raise CorruptRecord(kind.__name__.lower(), page.corrupt[0], f"and its {name} is {id!r}")
        found += page.records
    return tuple(found)


def _pages(store: Store, kind: type[R], where: Mapping[str, str]) -> Iterator[Page[R]]:
    after = ""
    while True:
        page = store.page(kind, after=after, limit=_PAGE, where=where)
        yield page
        if not page.next:
            return
        after = page.next


def change(store: Store, record: R, change: Callable[[R], R]) -> R:
    """Store `change(record)`. Whoever changed the record meanwhile keeps what he did: `change` is applied on top of it."""
    for _ in range(_ATTEMPTS):
        changed = change(record)
        if changed == record:
            return record
        try:
            return store.replace(changed)
        except StaleRecord:
            record = store.get(type(record), record.id)
    raise StaleRecord(type(record).__name__.lower(), record.id)


@dataclass(slots=True)
class Work:
    """One call into a driver."""

    backend: str
    store: Store
    volumes: dict[str, Volume] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    attached: dict[str, tuple[Attachment, ...]] = field(default_factory=dict)
    knows_all_attachments: bool = False

    def volume(self, id: str) -> Volume:
        if (known := self.volumes.get(id)) is None:
            known = self.volumes[id] = self.store.get(Volume, id)
        return known

    def snapshot(self, id: str) -> Snapshot:
        if (known := self.snapshots.get(id)) is None:
            known = self.snapshots[id] = self.store.get(Snapshot, id)
        return known

    def attachments(self, volume_id: str) -> tuple[Attachment, ...]:
        """Raises CorruptRecord when one cannot be read."""
        if (known := self.attached.get(volume_id)) is None:
            if self.knows_all_attachments:
                return ()
            known = self.attached[volume_id] = all_of(self.store, Attachment, {"volume_id": volume_id})
        return known

    def learn_all_attachments(self) -> Work:
        """Read the back end's attachments at once: for a walk over all its volumes one question each is too many."""
        for one in walk(self.store, Attachment, {"backend": self.backend}):
            self.attached[one.volume_id] = (*self.attached.get(one.volume_id, ()), one)
        self.knows_all_attachments = True
        return self

    def change_volume(self, id: str, update: Callable[[Volume], Volume]) -> Volume:
        self.volumes[id] = changed = change(self.store, self.volume(id), update)
        return changed

    def change_snapshot(self, id: str, update: Callable[[Snapshot], Snapshot]) -> Snapshot:
        self.snapshots[id] = changed = change(self.store, self.snapshot(id), update)
        return changed

    def forget_attachments(self, volume_id: str) -> None:
        self.attached.pop(volume_id, None)
        self.knows_all_attachments = False


_current: ContextVar[Work | None] = ContextVar("csi_cinderlib_work", default=None)


@contextmanager
def working(work: Work) -> Iterator[Work]:
    """Let the database stand-in serve from this work, in this thread."""
    token = _current.set(work)
    try:
        yield work
    finally:
        _current.reset(token)


@dataclass(frozen=True, slots=True)
class Route:
    """Where the records of one back end live. `host` is Cinder's `host@backend`."""

    backend: str
    host: str
    store: Store


class Routes:
    """All back ends of this process."""

    def __init__(self) -> None:
        self._routes: tuple[Route, ...] = ()
        self._guard = threading.Lock()

    def add(self, route: Route) -> None:
        with self._guard:
            self._routes = (*(one for one in self._routes if one.host != route.host), route)

    def remove(self, route: Route) -> None:
        with self._guard:
            self._routes = tuple(one for one in self._routes if one is not route)

    def all(self) -> tuple[Route, ...]:
        return self._routes

    def of_host(self, host: str) -> tuple[Route, ...]:
        """Back ends that Cinder's host string names: `host`, `host@backend` or `host@backend#pool`."""
        name = host.partition("#")[0]
        return tuple(one for one in self._routes if name in (one.host, one.host.partition("@")[0]))

    def works(self) -> Iterator[Work]:
        """The current work first, then one for each other store."""
        current = _current.get()
        seen = set()
        if current is not None:
            seen.add(id(current.store))
            yield current
        for route in self._routes:
            if id(route.store) not in seen:
                seen.add(id(route.store))
                yield Work(route.backend, route.store)

    def volume(self, id: str) -> tuple[Work, Volume]:
        """The volume, and a work on the store that has it. Raises NotFound."""
        return self._first("volume", id, lambda work: work.volume(id))

    def snapshot(self, id: str) -> tuple[Work, Snapshot]:
        return self._first("snapshot", id, lambda work: work.snapshot(id))

    def record(self, kind: type[R], id: str) -> tuple[Work, R]:
        return self._first(kind.__name__.lower(), id, lambda work: work.store.get(kind, id))

    def _first(self, kind: str, id: str, find: Callable[[Work], R]) -> tuple[Work, R]:
        for work in self.works():
            try:
                return work, find(work)
            except NotFound:
                continue
        raise NotFound(kind, id)

    def current(self) -> Work:
        """The work of this thread, or of the only store.

        Raises:
            NotFound: no back end is registered.
        """
        for work in self.works():
            return work
        raise NotFound("back end", "")
