"""The records for a driver call, and the stores of all others.

Drivers query Cinder's database only by id, and a process may have several back ends on several stores. Each driver call
therefore runs in a `Work`, a context variable, with the store and the records of the call, so that most queries need no store
access.

A `Work` is valid for one call. Other code of a driver is `routed`: the threads that it starts and the items that it submits to
thread pools (`patches.py`) use the store of their back end. Other threads are served only if the store is unambiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

from csi_cinderlib.cinder.looping import LoopingCalls
from csi_cinderlib.concurrency import LateLock
from csi_cinderlib.errors import DriverError, NotFound
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.observe.context_values import Setting
from csi_cinderlib.persistence.api import R, Store
from csi_cinderlib.persistence.iteration import all_of, walk
from csi_cinderlib.persistence.optimistic import change


@dataclass(slots=True)
class Work:
    """A call into a driver.

    Attributes:
        hidden: ids of volumes and snapshots that the driver must not find, because it is giving them up.
    """

    backend: str
    store: Store
    volumes: dict[str, Volume] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    attached: dict[str, tuple[Attachment, ...]] = field(default_factory=dict)
    knows_all_attachments: bool = False
    hidden: frozenset[str] = frozenset()

    def volume(self, id: str) -> Volume:
        if id in self.hidden:
            raise NotFound("volume", id)
        if (known := self.volumes.get(id)) is None:
            known = self.volumes[id] = self.store.get(Volume, id)
        return known

    def snapshot(self, id: str) -> Snapshot:
        if (known := self.snapshots.get(id)) is None:
            known = self.snapshots[id] = self.store.get(Snapshot, id)
        return known

    def attachments(self, volume_id: str) -> tuple[Attachment, ...]:
        """Raises CorruptRecord if an attachment cannot be read."""
        if (known := self.attached.get(volume_id)) is None:
            if self.knows_all_attachments:
                return ()
            known = self.attached[volume_id] = all_of(self.store, Attachment, {"volume_id": volume_id})
        return known

    def learn_all_attachments(self) -> Work:
        """Read all attachments of the back end, to avoid a query per volume in a walk over all volumes."""
        for attachment in walk(self.store, Attachment, {"backend": self.backend}):
            self.attached[attachment.volume_id] = (*self.attached.get(attachment.volume_id, ()), attachment)
        self.knows_all_attachments = True
        return self

    def change_volume(self, id: str, update: Callable[[Volume], Volume]) -> Volume:
        self.volumes[id] = changed = change(self.store, self.volume(id), update)
        return changed

    def change_snapshot(self, id: str, update: Callable[[Snapshot], Snapshot]) -> Snapshot:
        self.snapshots[id] = changed = change(self.store, self.snapshot(id), update)
        return changed

    def forget_volume(self, id: str) -> None:
        """Discard the volume and its attachments; the next access reads them again."""
        self.volumes.pop(id, None)
        self.forget_attachments(id)

    def forget_attachments(self, volume_id: str) -> None:
        self.attached.pop(volume_id, None)
        self.knows_all_attachments = False


@dataclass(frozen=True, slots=True)
class Route:
    """The store of a back end's records. `host` is Cinder's `host@backend`; `loops` are its driver's looping calls."""

    backend: str
    host: str
    store: Store
    loops: LoopingCalls = field(default_factory=LoopingCalls, compare=False, repr=False)

    def work(self) -> Work:
        return Work(self.backend, self.store)


class UnknownBackend(DriverError):
    """A thread without a back end made a query that could concern several stores."""

    def __init__(self, subject: str) -> None:
        super().__init__(
            f"cannot determine the back end for {subject}: the calling thread belongs to no back end, and this process has "
            "back ends on several metadata stores"
        )


_current: ContextVar[Work | None] = ContextVar("csi_cinderlib_work", default=None)
_route: ContextVar[Route | None] = ContextVar("csi_cinderlib_route", default=None)


def working(work: Work) -> Setting[Work | None]:
    """Let the database stand-in use this work in this thread."""
    return Setting(_current, work)


def routed(route: Route | None) -> Setting[Route | None]:
    """Let the database stand-in use this route's store in this thread, and in threads that it starts in the block.

    None stands for no particular back end.
    """
    return Setting(_route, route)


def current_route() -> Route | None:
    """The route of this thread's back end."""
    return _route.get()


class Routes:
    """All back ends of this process; each query returns those visible to the current thread."""

    def __init__(self) -> None:
        self._routes: tuple[Route, ...] = ()
        self._guard = LateLock()

    def add(self, route: Route) -> None:
        with self._guard:
            self._routes = (*self._routes, route)

    def remove(self, route: Route) -> None:
        with self._guard:
            self._routes = tuple(other for other in self._routes if other is not route)

    def clear(self) -> None:
        """Forget all back ends, in a forked child."""
        self._routes = ()

    def all(self) -> tuple[Route, ...]:
        """The back ends on the store of the current thread's back end.

        Raises:
            UnknownBackend: the thread has no back end, and there are several stores.
        """
        return _on_one_store(self._visible(), "a list of all volumes")

    def of_host(self, host: str) -> tuple[Route, ...]:
        """The back ends named by Cinder's host string: `host`, `host@backend` or `host@backend#pool`.

        Raises:
            UnknownBackend: the back ends are on several stores.
        """
        name = host.partition("#")[0]
        named = [route for route in self._visible() if name in (route.host, route.host.partition("@")[0])]
        return _on_one_store(named, f"host {host!r}")

    def _visible(self) -> Iterable[Route]:
        """Each back end once, even while a replaced back end and its successor are both registered."""
        route, work = _route.get(), _current.get()
        store = work.store if work is not None else route.store if route is not None else None
        routes = {(other.host, id(other.store)): other for other in self._routes}
        if store is None:
            return routes.values()
        if route is not None:  # including a stopped back end whose driver's threads are still running
            routes.setdefault((route.host, id(route.store)), route)
        return [other for other in routes.values() if other.store is store]

    def works(self) -> tuple[Work, ...]:
        """The work of this thread's call, or one on the store of its back end; in other threads one per store."""
        if (work := _current.get()) is not None:
            return (work,)
        if (route := _route.get()) is not None:
            return (route.work(),)
        return tuple({id(other.store): other.work() for other in self._routes}.values())

    def volume(self, id: str) -> tuple[Work, Volume]:
        """The volume, and a work on its store. Raises NotFound."""
        return self._only("volume", id, lambda work: work.volume(id))

    def snapshot(self, id: str) -> tuple[Work, Snapshot]:
        return self._only("snapshot", id, lambda work: work.snapshot(id))

    def record(self, kind: type[R], id: str) -> tuple[Work, R]:
        return self._only(kind.__name__.lower(), id, lambda work: work.store.get(kind, id))

    def _only(self, kind: str, id: str, find: Callable[[Work], R]) -> tuple[Work, R]:
        having: list[tuple[Work, R]] = []
        for work in self.works():
            with suppress(NotFound):
                having.append((work, find(work)))
        if len(having) > 1:
            raise UnknownBackend(f"{kind} {id!r}")
        if not having:
            raise NotFound(kind, id)
        return having[0]

    def current(self, subject: str) -> Work:
        """The work of this thread, or of the only store.

        Args:
            subject: the requested object, as a noun, for the message.

        Raises:
            UnknownBackend: there are several stores, and this thread belongs to no back end.
            NotFound: no back end is registered.
        """
        works = self.works()
        if len(works) > 1:
            raise UnknownBackend(subject)
        if not works:
            raise NotFound("back end", "")
        return works[0]


def _on_one_store(routes: Iterable[Route], subject: str) -> tuple[Route, ...]:
    if len({id(route.store) for route in routes}) > 1:
        raise UnknownBackend(subject)
    return tuple(routes)
