"""Undoes an adoption: removes the records of a plan, as long as nothing has used the volumes. Nothing on the array is touched.

The name of the plan is enough: each record that can be returned has it (`adoption`). That ends before a node gets access to the volume,
and before the volume or one of its snapshots changes on the array. Each step can be repeated after a kill:

1. Each record becomes RETURNING: nothing attaches, copies or deletes it from then on. Its dependents were stored before, and are found.
2. Volumes with an attachment, a new snapshot or a copy are put back. The others become RETURNED, which nothing undoes. A record of an
   adoption that was not completed becomes RETURNED at once, because nothing has used it.
3. The marks of these are removed, so that the volumes can be adopted again, then the records. A record that is missing while it has a mark was
   deleted otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.adoption import marks
from csi_cinderlib.adoption.openstack import adopted
from csi_cinderlib.adoption.openstack.adopted import Adopted, Content, key_of
from csi_cinderlib.errors import DriverError, NotFound, PreconditionFailed, Problem, StaleRecord
from csi_cinderlib.lifecycle.lookup import find
from csi_cinderlib.model.making import moved
from csi_cinderlib.model.records import InitiatorData, Snapshot, Status, Volume
from csi_cinderlib.model.transitions import ADOPTION
from csi_cinderlib.persistence import transfer
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.optimistic import change

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a rollback would do.

    Attributes:
        volumes: volumes whose records are removed.
        problems: why the others stay, by volume.
        missing: how many records of the plan were deleted since.
        is_known: whether the store knows the plan.
    """

    volumes: tuple[Adopted, ...]
    problems: tuple[Problem, ...]
    missing: int = 0
    is_known: bool = True


def look(store: Store, name: str) -> Outlook:
    """Examine a store without a change. Raises CorruptRecord: a record may be a copy of a volume of the plan."""
    content = adopted.read(store, name)
    problems = {id: problem for id, item in content.volumes.items() if (problem := content.problem(name, item))}
    decided = [item for item in content.volumes.values() if item.is_decided]
    possible = [item for id, item in content.volumes.items() if id not in problems and not item.is_decided]
    possible, copied = content.without_copied(possible, decided)
    return Outlook(
        (*decided, *possible),
        _problems(problems | copied),
        content.missing,
        bool(content.volumes) or name in content.marks.keys or name in content.marks.completed,
    )


def carry_out(store: Store, name: str, outlook: Outlook) -> tuple[tuple[Adopted, ...], tuple[Problem, ...]]:
    """Remove the records. Returns the removed volumes, and why others could not be removed in the end."""
    problems: dict[str, str] = {}
    for item in outlook.volumes:
        try:
            _fence(store, item)
        except DriverError as error:
            problems[item.volume.id] = str(error)
        faultpoints.reach("rollback.fenced")
    wanted = [item.volume.id for item in outlook.volumes if item.volume.id not in problems]
    decided, refused = _decide(store, name, wanted)
    put_back(store, name)
    faultpoints.reach("rollback.begun")
    marks.forget_keys(store, name, [key for item in decided for key in item.keys])
    faultpoints.reach("rollback.forgotten")
    for item in decided:
        for record in reversed(item.records):
            _remove(store, record)
            faultpoints.reach("rollback.record")
    _remove_initiators(store, marks.initiators(store, name))
    _forget_rest(store, name)
    return tuple(decided), _problems(problems | refused)


def put_back(store: Store, name: str) -> None:
    """Make volumes usable again whose return was begun and not decided. May be repeated."""
    content = adopted.read(store, name)
    for item in content.volumes.values():
        if not item.is_decided and item.volume.adoption in ("", name):  # an attachment that has begun before removes it
            for record in item.records:
                with suppress(NotFound):
                    change(store, record, _usable)


def is_unfinished(store: Store, name: str) -> bool:
    """Whether a rollback of the plan was interrupted."""
    known, kinds = marks.read(store), (Volume, Snapshot)
    kind: Any  # mypy cannot take a union of types for the type variable
    for kind in kinds:
        for status in (Status.RETURNING, Status.RETURNED):
            for record in walk(store, kind, {"status": str(status)}):
                if record.adoption == name or (not record.adoption and known.has(name, key_of(record))):
                    return True
    return name in known.completed and name not in known.keys


def _problems(found: Mapping[str, str]) -> tuple[Problem, ...]:
    return tuple(Problem(f"volume {id}", reason) for id, reason in found.items())


def _usable(record: Any) -> Any:
    return moved(record, Status.AVAILABLE, ADOPTION) if record.status is Status.RETURNING else record


def _fence(store: Store, item: Adopted) -> None:
    """Let nothing use the volume and its snapshots from now on. Raises DriverError: a record was changed since the look."""
    for record in item.records:
        if record.status is Status.AVAILABLE:
            store.replace(moved(record, Status.RETURNING, ADOPTION))


def _decide(store: Store, name: str, wanted: Iterable[str]) -> tuple[list[Adopted], dict[str, str]]:
    """Read everything again, and mark those that nothing needs as RETURNED. Returns them, and why the others stay."""
    content = adopted.read(store, name)
    items = [content.volumes[id] for id in wanted if id in content.volumes]
    problems = {item.volume.id: problem for item in items if (problem := _why_not(content, name, item))}
    before = [item for item in content.volumes.values() if item.is_decided]
    possible = [item for item in items if item.volume.id not in problems and not item.is_decided]
    possible, copied = content.without_copied(possible, before)
    decided = []
    for item in (*before, *possible):
        try:
            decided.append(Adopted(*_returned(store, item)))
        except DriverError as error:
            copied[item.volume.id] = str(error)
    return decided, problems | copied


def _why_not(content: Content, name: str, item: Adopted) -> str:
    if problem := content.problem(name, item):
        return problem
    usable = next((record for record in item.records if record.status is Status.AVAILABLE), None)
    return f"{' '.join(key_of(usable))} is available again, by another run of this command" if usable else ""


def _returned(store: Store, item: Adopted) -> tuple[Any, tuple[Any, ...]]:
    """Mark the records, the volume first: it decides for its snapshots. Raises DriverError: another run has changed one."""
    done = [
        record if record.status is Status.RETURNED else store.replace(moved(record, Status.RETURNED, ADOPTION))
        for record in item.records
    ]
    return done[0], tuple(done[1:])


def _remove(store: Store, record: Any) -> None:
    """Remove a RETURNED record, which no other program uses, whatever has been noted on it meanwhile."""
    with suppress(NotFound):
        for _ in range(_ATTEMPTS):
            if record.status is not Status.RETURNED:
                raise PreconditionFailed(f"{' '.join(key_of(record))} is {record.status}; repeat the rollback")
            try:
                return store.remove(record)
            except StaleRecord:
                record = store.get(type(record), record.id)
        raise StaleRecord(*key_of(record))


def _forget_rest(store: Store, name: str) -> None:
    """Remove the marks without which nothing of the plan is known any more."""
    left = adopted.read(store, name)
    if name not in left.marks.completed and not left.volumes:  # an interrupted adoption has not added all records
        marks.forget_all(store, name)
    marks.forget_empty(store, name)


def _remove_initiators(store: Store, added: Mapping[str, str]) -> None:
    """Remove the data for initiators that the adoption has added, unless a volume is left that may need it, or a driver has changed it.

    Which back end uses a namespace is a setting that may have changed, so any volume counts. What stays does no harm.
    """
    left = store.page(Volume, limit=1)
    if not (left.records or left.corrupt):
        for id, wanted in added.items():
            record = find(store, InitiatorData, id)
            if record is not None and transfer.digest(record).hex() == wanted:
                store.remove(record)
