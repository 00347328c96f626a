"""Adds records to a store, in which other records may exist already. Nothing is overwritten.

An interrupted run can be repeated. A completed one leaves a mark with the checksum of its records: from then on the records are in use,
and the same source must not bring back what has been deleted or changed since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.errors import DriverError, NotFound, PreconditionFailed, Problem
from csi_cinderlib.model import times
from csi_cinderlib.model.records import OWN_KEYS, KeyValue, Record
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence import codec, transfer
from csi_cinderlib.persistence.api import KINDS, Store
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.iteration import pages
from csi_cinderlib.persistence.transfer import Content

MARK = f"{OWN_KEYS}adopted."
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        records: all records of the source.
        content: their counts and checksum.
        new: records that the store lacks.
        problems: records that the store has with other content, or cannot read or store.
        done: when the same records were adopted, or "".
    """

    records: tuple[Record, ...]
    content: Content
    new: tuple[Record, ...]
    problems: tuple[Problem, ...] = ()
    done: str = ""

    @property
    def checksum(self) -> str:
        return f"{self.content.total:064x}"


def plan(store: Store | None, records: Iterable[Record]) -> Plan:
    """Compare the records with a store; None is an empty one. Changes nothing."""
    wanted: dict[Key, Record] = {}
    problems = []
    for record in records:
        if problem := _unstorable(record):
            problems.append(problem)
        else:
            wanted[_key(record)] = record
    whole, content = tuple(wanted.values()), Content.of(wanted.values())
    if store is None:
        return Plan(whole, content, whole, tuple(problems))
    if done := _done(store, content):
        return Plan(whole, content, (), (), done)
    new = dict(wanted)
    for key, digest in _stored(store, wanted):
        if digest != transfer.digest(new.pop(key)):
            problems.append(Problem(" ".join(key), "the store has another record with this id; nothing is overwritten"))
    return Plan(whole, content, tuple(new.values()), tuple(problems))


def carry_out(store: Store, planned: Plan, source: str, progress: Progress) -> None:
    """Add the new records, read everything back, and leave the mark.

    Args:
        source: the source for people, without a password.

    Raises:
        AlreadyExists: another process has added a record with the same id.
        PreconditionFailed: the store differs from the source afterwards.
    """
    transfer.add_all(store, _reached(progress.over("records adopted", planned.new)))
    expected = {_key(record): transfer.digest(record) for record in planned.records}
    found = dict(progress.over("records verified", _stored(store, expected)))
    if found != expected:
        differing = sorted(key for key in expected if found.get(key) != expected[key])
        raise PreconditionFailed(
            f"{len(differing)} records differ from the source, the first is {' '.join(differing[0])}; "
            "check that no other process writes to the store"
        )
    mark = {"source": source, "at": times.stamp(times.utc_now()), "records": dict(planned.content.counts)}
    faultpoints.reach("adopt.verified")
    store.add(KeyValue(id=MARK + planned.checksum, value=json.dumps(mark)))


def _reached(records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        faultpoints.reach("adopt.record")
        yield record


def _done(store: Store, content: Content) -> str:
    try:
        mark = store.get(KeyValue, f"{MARK}{content.total:064x}")
    except NotFound:
        return ""
    return str(json.loads(mark.value)["at"])


def _stored(store: Store, wanted: Iterable[Key]) -> Iterator[tuple[Key, bytes]]:
    """The digests of those records that the store has; b"" for an unreadable one."""
    known = frozenset(wanted)
    kind: Any  # mypy cannot take a union of types for the type variable
    for kind in KINDS:
        if all(name != kind_name(kind) for name, _ in known):
            continue
        for page in pages(store, kind):
            yield from ((_key(record), transfer.digest(record)) for record in page.records if _key(record) in known)
            yield from (((kind_name(kind), id), b"") for id in page.corrupt if (kind_name(kind), id) in known)


def _key(record: Record) -> Key:
    return kind_name(type(record)), record.id


def _unstorable(record: Record) -> Problem | None:
    """A value that no store can keep, such as an id that is too long."""
    try:
        codec.keys(record)
        transfer.digest(record)
    except DriverError as error:
        return Problem(" ".join(_key(record)), str(error))
    return None
