"""The proof that a back end has no volumes and gets no more. Its object is let go, and it is shown as drained, by this proof only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from csi_cinderlib.lifecycle import leftovers, restoring
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import R, Store, Where
from csi_cinderlib.persistence.iteration import pages, walk_with_unreadable

KNOWN_SECONDS, EMPTY_SECONDS = 60.0, 600.0
"""How long the result of a walk over all records is used, with and without remains. Of a decision, an empty one is always new."""
_PRESENT = tuple(status for status in Status if status is not Status.DELETED)
_FEW = 10
Owned = TypeVar("Owned", Volume, Snapshot, GroupSnapshot)
RESTORED = "compare the arrays with the records, then run `csi-cinderlib orphans forget restored`"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Volumes and snapshots that are known without the records: a record can be lost.

    Attributes:
        volumes, snapshots: their ids.
        unknown: why these cannot be listed; "" if they are.
    """

    volumes: frozenset[str] = frozenset()
    snapshots: frozenset[str] = frozenset()
    unknown: str = ""


NOTHING_ELSEWHERE = Elsewhere()


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left on a back end, or may be.

    Attributes:
        unreadable: records that cannot be read, and may belong to any back end.
        hidden: records of the back end that no query finds: on custom resources, labels that people changed hide them.
        leftovers: objects that may be left on the array without a record.
        unrecorded: PersistentVolumes and VolumeSnapshotContents without a record, which may belong to any back end.
        unknown: why these are not known, or "".
        is_restored: the records are those of an older copy, and the arrays were not compared with them since.
        is_open: volumes may still arrive: the back end accepts them, or a creation is on its way.
    """

    volumes: int = 0
    snapshots: int = 0
    unreadable: int = 0
    hidden: int = 0
    leftovers: int = 0
    unrecorded: int = 0
    unknown: str = ""
    is_restored: bool = False
    is_open: bool = False

    def __bool__(self) -> bool:
        return self != Remains()

    def __str__(self) -> str:
        parts = [
            _number(self.volumes, "volume"),
            _number(self.snapshots, "snapshot"),
            _number(self.unreadable, "unreadable record"),
            _number(self.hidden, "record") + " whose labels were changed" * bool(self.hidden),
            _number(self.leftovers, "leftover"),
            _number(
                self.unrecorded,
                "PersistentVolume or VolumeSnapshotContent",
                "PersistentVolumes or VolumeSnapshotContents",
            )
            + " without a record" * bool(self.unrecorded),
            f"possibly volumes without a record ({self.unknown})" if self.unknown else "",
            f"possibly volumes that the restored metadata lacks ({RESTORED})" if self.is_restored else "",
            "a creation in progress" if self.is_open else "",
        ]
        return " and ".join(filter(None, parts)) or "no volumes"


def _number(count: int, word: str, several: str = "") -> str:
    return f"{count} {word if count == 1 else several or f'{word}s'}" if count else ""


class Emptiness:
    """All methods can raise StoreUnavailable.

    Args:
        elsewhere: what is known without the records.
    """

    def __init__(
        self,
        store: Store,
        registry: Backends,
        elsewhere: Callable[[], Elsewhere] = lambda: NOTHING_ELSEWHERE,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._registry = registry
        self._elsewhere = elsewhere
        self._now = monotonic
        self._known: dict[str, tuple[int, float, Remains]] = {}

    def prove(self, backend: str) -> Remains:
        """What is left of a back end that was drained before. It is empty only if all records were read now, and none can follow."""
        return self._left(backend, lasting_if_empty=0.0)

    def look(self, backend: str) -> Remains:
        """As `prove`, for the status: also an empty one may be some minutes old, but a back end with volumes is never empty."""
        return self._left(backend, lasting_if_empty=EMPTY_SECONDS)

    def _left(self, backend: str, *, lasting_if_empty: float) -> Remains:
        intake = self._registry.intake(backend)
        openings = intake.openings
        if not intake.is_settled:
            return Remains(is_open=True)
        known_openings, counted_at, remains = self._known.get(backend, (-1, 0.0, Remains()))
        has_any = self._has_any(backend)
        lasting = KNOWN_SECONDS if remains else lasting_if_empty
        is_known = known_openings == openings and self._now() - counted_at < lasting
        if not is_known or has_any != bool(remains.volumes or remains.snapshots):
            remains = self.count(backend)
            self._known[backend] = (openings, self._now(), remains)
        return remains

    def count(self, backend: str) -> Remains:
        """Count the records of a back end, including unfinished ones, and read all others: one that cannot be read may belong to it."""
        volumes, lost = _count(self._store, Volume, {"backend": backend, "status": _PRESENT})
        snapshots, lost_too = _count(self._store, Snapshot, {"backend": backend})
        groups, more = _count(self._store, GroupSnapshot, {"backend": backend})
        unreadable = lost + lost_too + more
        left = sum(leftovers.may_concern(key, found, backend) for key, found in leftovers.walk(self._store))
        remains = Remains(volumes, snapshots or groups, unreadable, leftovers=left)
        return remains or self._unfound(backend)

    def _unfound(self, backend: str) -> Remains:
        """What no query for the back end finds, and what may belong to any back end."""
        elsewhere = self._elsewhere()  # before the records: a later object has a record
        volumes = _survey(self._store, Volume, backend, elsewhere.volumes)
        snapshots = _survey(self._store, Snapshot, backend, elsewhere.snapshots)
        groups = _survey(self._store, GroupSnapshot, backend, frozenset())
        is_restored = restoring.since(self._store) is not None
        return Remains(
            unreadable=volumes.unreadable + snapshots.unreadable + groups.unreadable,
            hidden=volumes.own + snapshots.own + groups.own,
            unrecorded=volumes.missing + snapshots.missing,
            unknown=elsewhere.unknown,
            is_restored=is_restored,
        )

    def _has_any(self, backend: str) -> bool:
        """Whether the first readable record exists, without a walk over all others."""
        return (
            _has_any(self._store, Volume, {"backend": backend, "status": _PRESENT})
            or _has_any(self._store, Snapshot, {"backend": backend})
            or _has_any(self._store, GroupSnapshot, {"backend": backend})
        )


def _has_any(store: Store, kind: type[R], where: Where) -> bool:
    after = ""
    while True:
        page = store.page(kind, after=after, limit=_FEW, where=where)
        if page.records or not page.next:
            return bool(page.records)
        after = page.next


@dataclass(frozen=True, slots=True)
class _Survey:
    """All records of a kind.

    Attributes:
        own: how many belong to the back end.
        unreadable: how many cannot be read.
        missing: how many of the known ids have no record.
    """

    own: int
    unreadable: int
    missing: int


def _survey(store: Store, kind: type[Owned], backend: str, ids: frozenset[str]) -> _Survey:
    own, unreadable, missing = 0, 0, set(ids)
    for page in pages(store, kind):
        present = [record for record in page.records if getattr(record, "status", "") is not Status.DELETED]
        own += sum(record.backend == backend for record in present)
        unreadable += len(page.corrupt)
        missing.difference_update((record.id for record in page.records), page.corrupt)
    return _Survey(own, unreadable, len(missing))


def _count(store: Store, kind: type[R], where: Where) -> tuple[int, int]:
    found = unreadable = 0
    for record in walk_with_unreadable(store, kind, where):
        unreadable += isinstance(record, str)
        found += not isinstance(record, str)
    return found, unreadable
