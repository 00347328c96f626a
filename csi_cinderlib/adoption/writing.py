"""Adds records to a store, in which other records may exist already. Nothing is overwritten.

An interrupted run can be repeated. After a completed one the records are in use, and no run must bring back what has been deleted or
changed since. See `marks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.adoption import marks
from csi_cinderlib.adoption.marks import Key, Marks
from csi_cinderlib.errors import PreconditionFailed, Problem
from csi_cinderlib.model.records import Record, Volume
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence import transfer
from csi_cinderlib.persistence.api import KINDS, Store
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.iteration import pages
from csi_cinderlib.persistence.transfer import Content


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


def plan(store: Store | None, records: Iterable[Record]) -> Plan:
    """Compare the records with a store; None is an empty one. Changes nothing."""
    wanted: dict[Key, Record] = {_key(record): record for record in records}
    problems = []
    whole, content = tuple(wanted.values()), Content.of(wanted.values())
    if store is None:
        return Plan(whole, content, whole)
    planned, known = Plan(whole, content, ()), marks.read(store)
    if done := known.completed.get(planned.checksum):
        return replace(planned, done=done)
    new = dict(wanted)
    for key, digest in _stored(store, wanted):
        if digest != transfer.digest(new.pop(key)):
            problems.append(Problem(" ".join(key), "the store has another record with this id; nothing is overwritten"))
    removed = _removed(new, known)
    return replace(
        planned,
        new=tuple(record for key, record in new.items() if key not in removed),
        problems=tuple(problems),
        removed=tuple(removed.values()),
        stale=_stale(store, known, wanted),
    )


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


def carry_out(store: Store, planned: Plan, source: str, progress: Progress) -> None:
    """Add the new records, read everything back, and leave the mark.

    Args:
        source: the source for people, without a password.

    Raises:
        AlreadyExists: another process has added a record with the same id.
        PreconditionFailed: the store differs from the source afterwards.
    """
    marks.begin(store, planned.checksum, map(_key, planned.records))
    transfer.add_all(store, _reached(progress.over("records adopted", planned.new)))
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
