"""Adds records to a store, in which other records may exist already. Nothing is overwritten.

An interrupted run can be repeated. After a completed one the records are in use, and no run must bring back what has been deleted or
changed since. See `marks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.adoption import marks
from csi_cinderlib.adoption.marks import Key, Marks
from csi_cinderlib.errors import NotFound, PreconditionFailed, Problem
from csi_cinderlib.lifecycle.owners import Owners, refusals
from csi_cinderlib.model.records import Record, Snapshot, Volume
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence import transfer
from csi_cinderlib.persistence.api import KINDS, Store
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.iteration import pages
from csi_cinderlib.persistence.transfer import Content

Closed = Mapping[str, str]
"""Reasons by the name of the back end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        records: all records of the source.
        content: their counts and checksum.
        new: records that the store lacks.
        problems: records that the store has with other content, or cannot read.
        done: when the same records were adopted, or "".
        removed: records that an earlier run has added and the store lacks, with their dependents. They are left out.
        stale: records that an interrupted run has added, and that the source no longer has.
    """

    records: tuple[Record, ...]
    content: Content
    new: tuple[Record, ...]
    problems: tuple[Problem, ...] = ()
    done: str = ""
    removed: tuple[Record, ...] = ()
    stale: tuple[Key, ...] = ()

    @property
    def stored(self) -> Counter[str]:
        """The counts of the records that the store has afterwards."""
        return self.content.counts - Counter(kind_name(type(record)) for record in self.removed)

    @property
    def checksum(self) -> str:
        return f"{self.content.total:064x}"


def plan(store: Store | None, records: Iterable[Record], closed: Closed = MappingProxyType({})) -> Plan:
    """Compare the records with a store; None is an empty one. Changes nothing.

    Args:
        closed: back ends that accept no new volumes, with the reason.
    """
    wanted: dict[Key, Record] = {_key(record): record for record in records}
    problems = []
    whole, content = tuple(wanted.values()), Content.of(wanted.values())
    if store is None:
        return Plan(whole, content, whole, (*_owned(Owners(), whole), *_closed(whole, closed)))
    planned, known = Plan(whole, content, ()), marks.read(store)
    if done := known.completed.get(planned.checksum):
        return replace(planned, done=done)
    new = dict(wanted)
    for key, digest in _stored(store, wanted):
        if digest != transfer.digest(new.pop(key)):
            problems.append(Problem(" ".join(key), "the store has another record with this id; nothing is overwritten"))
    removed = _removed(new, known)
    # Also what an interrupted run has added: another record for its object may have come before.
    problems += _owned(Owners.read(store), [record for key, record in wanted.items() if key not in removed])
    added = tuple(record for key, record in new.items() if key not in removed)
    problems += _closed(added, closed)
    return replace(
        planned,
        new=added,
        problems=tuple(problems),
        removed=tuple(removed.values()),
        stale=_stale(store, known, wanted),
    )


def _closed(new: Iterable[Record], closed: Closed) -> Iterator[Problem]:
    """New volumes and snapshots on a back end that accepts none."""
    for record in new:
        if isinstance(record, Volume | Snapshot) and record.backend in closed:
            reason = closed[record.backend]
            yield Problem(
                " ".join(_key(record)),
                f"back end {record.backend!r} accepts no new volumes: {reason}; open it, and repeat the command",
            )


def _owned(owners: Owners, records: Iterable[Record]) -> Iterator[Problem]:
    """Records for objects on a back end that have another record already, for example because they were imported."""
    for record in records:
        if isinstance(record, Volume | Snapshot):
            if owner := owners.of_record(record):
                yield Problem(" ".join(_key(record)), f"its object on the back end has another record: {owner}")
            owners.add(record)


def _removed(missing: Mapping[Key, Record], known: Marks) -> dict[Key, Record]:
    """The missing records that were adopted before. With a volume, those that need it are left out."""
    volumes = {id for kind, id in missing if kind == kind_name(Volume) and known.was_adopted((kind, id))}
    return {
        key: record
        for key, record in missing.items()
        if known.was_adopted(key) or getattr(record, "volume_id", "") in volumes
    }


def _stale(store: Store, known: Marks, wanted: Collection[Key]) -> tuple[Key, ...]:
    if known.are_completed:
        return ()
    return tuple(key for key, _ in _digests(store) if key not in wanted and known.was_interrupted(key))


def carry_out(
    store: Store,
    planned: Plan,
    source: str,
    progress: Progress,
    closed: Callable[[], Closed] = lambda: MappingProxyType({}),
) -> None:
    """Add the new records, read everything back, and leave the mark.

    Args:
        source: the source for people, without a password.
        closed: as that of `plan`, read when the records are there: a back end that closes later counts them.

    Raises:
        AlreadyExists: another process has added a record with the same id.
        PreconditionFailed: the store differs from the source afterwards.
    """
    marks.begin(store, planned.checksum, map(_key, planned.records))
    transfer.add_all(store, _reached(progress.over("records adopted", planned.new)))
    _give_way(store, planned.new, closed())
    removed = frozenset(map(_key, planned.removed))
    expected = {_key(record): transfer.digest(record) for record in planned.records if _key(record) not in removed}
    found = dict(progress.over("records verified", _stored(store, expected)))
    if found != expected:
        differing = sorted(key for key in expected if found.get(key) != expected[key])
        raise PreconditionFailed(
            f"{len(differing)} records differ from the source, the first is {' '.join(differing[0])}; "
            "check that no other process writes to the store"
        )
    faultpoints.reach("adopt.verified")
    marks.complete(store, planned.checksum, source, planned.content.counts)


def _give_way(store: Store, new: Iterable[Record], closed: Closed) -> None:
    """Remove new records whose object has got another record meanwhile, for example by an import, or whose back end was closed.

    Raises PreconditionFailed.
    """
    objects = [record for record in new if isinstance(record, Volume | Snapshot)]
    refused = {problem.key.partition(" ")[2]: problem.problem for problem in _closed(objects, closed)}
    refused |= refusals(store, objects)
    kind: Any  # mypy cannot take a union of types for the type variable
    record: Any
    for kind in (Snapshot, Volume):
        for record in objects:
            if type(record) is kind and (record.id in refused or getattr(record, "volume_id", "") in refused):
                with suppress(NotFound):
                    store.remove(store.get(kind, record.id))
    if refused:
        id, owner = next(iter(refused.items()))
        raise PreconditionFailed(
            f"{len(refused)} records were removed again, because their objects have got another record meanwhile, or their back end "
            f"was closed. The first is {id}: {owner}. Undo that, or leave them out, and repeat the command"
        )


def _reached(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        faultpoints.reach("adopt.record")
        yield record


def _stored(store: Store, wanted: Collection[Key]) -> Iterator[tuple[Key, bytes]]:
    """The digests of those records that the store has; b"" for an unreadable one."""
    return ((key, digest) for key, digest in _digests(store) if key in wanted)


def _digests(store: Store) -> Iterator[tuple[Key, bytes]]:
    kind: Any  # mypy cannot take a union of types for the type variable
    for kind in KINDS:
        for page in pages(store, kind):
            yield from ((_key(record), transfer.digest(record)) for record in page.records)
            yield from (((kind_name(kind), id), b"") for id in page.corrupt)


def _key(record: Record) -> Key:
    return kind_name(type(record)), record.id
