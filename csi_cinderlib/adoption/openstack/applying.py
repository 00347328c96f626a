"""Carries a plan out: two programs never own a volume at the same time.

1. The keys of the records are stored, then the records with the status ADOPTING, with which nothing uses them.
2. They are read back, and the database is read again. If Cinder has changed a volume meanwhile, or its object has got another record, all of
   them are removed again.
3. The mark of the completed adoption is stored, then each record becomes AVAILABLE.

A killed run can be repeated, or undone by a rollback. Until the mark, no record has been usable, so a missing one was never added. After it, what
is not usable yet is compared with the source once more: it may have been given back to Cinder meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.adoption import marks
from csi_cinderlib.adoption.marks import Key
from csi_cinderlib.adoption.openstack import known as stored
from csi_cinderlib.adoption.openstack.known import Known
from csi_cinderlib.adoption.openstack.plan import Plan
from csi_cinderlib.errors import NotFound, PreconditionFailed, Problem
from csi_cinderlib.lifecycle import restoring
from csi_cinderlib.model.making import moved, replace
from csi_cinderlib.model.records import FOREIGN, InitiatorData, Record, Snapshot, Status, Volume
from csi_cinderlib.model.transitions import ADOPTION
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence import transfer
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.codec import kind_name

Recheck = Callable[[], tuple[Sequence[Record], Sequence[Problem]]]
"""Reads the source again, and returns its records, and what has changed since the plan was made."""


def obstacles(known: Known, plan: Plan, records: Iterable[Record]) -> tuple[Problem, ...]:
    """Why the records of a plan cannot be added to a store."""
    return tuple(Problem(f"{key[0]} {key[1]}", reason) for key, reason in _obstacles(known, plan, records))


def _obstacles(known: Known, plan: Plan, records: Iterable[Record]) -> Iterator[tuple[Key, str]]:
    for record in _objects(records):
        key = _key(record)
        if key in known.records:
            if not _is_of_this_run(known.records[key], record):
                yield key, f"is in the store already{_remedy(known.records[key])}"
        elif known.marks.was_adopted(key) and _volume_id(record) not in plan.again:
            yield key, "was adopted before and deleted since; make a new plan without it, or with --again"
        if owner := known.owners.of_record(record):
            yield key, f"its object on the array has another record: {owner}"


def _volume_id(record: Volume | Snapshot) -> str:
    return record.id if isinstance(record, Volume) else record.volume_id


def _is_of_this_run(current: Volume | Snapshot | None, record: Volume | Snapshot) -> bool:
    """Whether the stored record is one that an interrupted run of the same plan has added."""
    return current is not None and (current.adoption, current.status) == (record.adoption, Status.ADOPTING)


def _remedy(current: Volume | Snapshot | None) -> str:
    if current is not None and current.status in FOREIGN and current.adoption:
        return f", from an unfinished adoption; undo that with --rollback {current.adoption}"
    return "; make a new plan without it"


def carry_out(
    store: Store, plan: Plan, records: Sequence[Record], recheck: Recheck, source: str, progress: Progress
) -> tuple[Problem, ...]:
    """Add the records. Returns why they were all removed again; empty if the plan is carried out.

    Args:
        records: those of the plan, without obstacles.
        source: the source for people, without a password.

    Raises:
        AlreadyExists: another process has added a record with the same id.
        PreconditionFailed: the store differs from the source afterwards.
    """
    known = stored.read(store)
    marks.forget_completed(store, known.marks, [key for key in plan.keys if key not in known.records])
    marks.begin(store, plan.name, plan.keys)
    new = [record for record in records if _key(record) not in known.records and record.id not in known.initiators]
    _refresh(store, known, records)
    _add(store, progress.over("records adopted", new))
    known = stored.read(store)
    _verify(known, records)
    faultpoints.reach("adopt.verified")
    # Another process that adds a record for the same object sees these records, so at least one of both gives way.
    problems = (*obstacles(known, plan, records), *_changes(records, recheck))
    if problems:
        withdraw(store, plan)
        return problems
    counts = Counter(kind_name(type(record)) for record in records)
    added = {record.id: transfer.digest(record).hex() for record in new if isinstance(record, InitiatorData)}
    marks.complete(store, plan.name, source, counts, initiators=added)
    faultpoints.reach("adopt.completed")
    if (number := release(store, plan)) != len(plan.keys):
        raise PreconditionFailed(
            f"{number} of {len(plan.keys)} records became usable, because another program has changed the others; undo the "
            f"adoption with --rollback {plan.name}, and do not run two adoptions at the same time"
        )
    return ()


def _refresh(store: Store, known: Known, records: Iterable[Record]) -> None:
    """Give the records of an interrupted run the content that the source has now."""
    for record in _objects(records):
        current = known.records.get(_key(record))
        if current is not None and _is_of_this_run(current, record) and not _is_as_written(current, record):
            renewed: Any = replace(record, revision=current.revision)
            store.replace(renewed)


def _changes(records: Sequence[Record], recheck: Recheck) -> Sequence[Problem]:
    """What has changed in the source meanwhile. A plan does not depend on passwords, so that the records are compared as well."""
    again, problems = recheck()
    if not problems and [*map(transfer.digest, again)] != [*map(transfer.digest, records)]:
        return (Problem("the database", "has changed while the records were written; carry the plan out again"),)
    return problems


def unreleased(known: Known, plan: Plan) -> frozenset[str]:
    """The ids of the volumes of which a record is not usable yet."""
    return frozenset(map(_volume_id, _adopting(known, plan)))


def finish(store: Store, plan: Plan, recheck: Recheck) -> Sequence[Problem]:
    """Make usable what a killed run of a completed adoption has left. Returns why not: Cinder may have got the volumes back since."""
    known = stored.read(store)
    left = {f"volume {id}" for id in unreleased(known, plan)}
    records, changed = recheck()
    problems = [problem for problem in changed if problem.key in left]
    if not problems:
        _refresh(store, known, records)
        release(store, plan)
    return problems


def release(store: Store, plan: Plan) -> int:
    """Make the records of a completed adoption usable, and return the number of those that were. May be repeated.

    In a store that was restored from a copy, they cannot be returned: they may have been adopted before, and be attached.
    """
    found = _adopting(stored.read(store), plan)
    void = {"adoption": ""} if restoring.since(store) is not None else {}
    for record in found:
        store.replace(moved(record, Status.AVAILABLE, ADOPTION, **void))
        faultpoints.reach("adopt.released")
    return len(found)


def withdraw(store: Store, plan: Plan) -> None:
    """Remove the records of an adoption that was not completed. May be repeated."""
    for record in reversed(_adopting(stored.read(store), plan)):
        with suppress(NotFound):
            store.remove(record)
    marks.forget(store, plan.name, plan.keys)


def _adopting(known: Known, plan: Plan) -> list[Any]:
    """Volumes before their snapshots."""
    return [
        record
        for record in known.records.values()
        if record is not None and record.adoption == plan.name and record.status is Status.ADOPTING
    ]


def _verify(known: Known, records: Sequence[Record]) -> None:
    """Raises PreconditionFailed if the store differs from what was written."""
    wrong = [record for record in _objects(records) if not _is_as_written(known.records.get(_key(record)), record)]
    absent = [item for item in records if isinstance(item, InitiatorData) and item.id not in known.initiators]
    if wrong or absent:
        first = (*wrong, *absent)[0]
        raise PreconditionFailed(
            f"{len(wrong) + len(absent)} records differ from the source, the first is {' '.join(_key(first))}; "
            "check that no other process writes to the store"
        )


def _is_as_written(current: Volume | Snapshot | None, record: Volume | Snapshot) -> bool:
    return current is not None and transfer.digest(current) == transfer.digest(record)


def _objects(records: Iterable[Record]) -> Iterator[Volume | Snapshot]:
    return (record for record in records if isinstance(record, Volume | Snapshot))


def _add(store: Store, records: Iterable[Record]) -> None:
    """Add records in parallel, kind by kind, because snapshots need their volume."""

    def add(record: Any) -> None:  # mypy cannot take a union for the type variable
        store.add(record)
        faultpoints.reach("adopt.record")

    with ThreadPoolExecutor(transfer.WRITERS) as pool:
        for _, of_kind in groupby(records, type):
            for _ in pool.map(add, of_kind):
                pass


def _key(record: Record) -> Key:
    return kind_name(type(record)), record.id
