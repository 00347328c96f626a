"""Orphans: unfinished records after a controller died and the container orchestrator did not retry.

The claim may be deleted before the controller is back. Then no call of CreateVolume or DeleteVolume follows, and the object would
occupy the array for ever. Unfinished deletions and extensions are finished. An unfinished creation is undone after a grace period: no
caller got an answer for it, and a later retry creates the object again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import (
    CorruptRecord,
    DriverError,
    InUse,
    InvalidRequest,
    NotFound,
    OperationPending,
    PreconditionFailed,
    StaleRecord,
)
from csi_cinderlib.lifecycle import given_up, leftovers, modifications, restoring
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.ledger import GRACE, noun
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import nodes, times
from csi_cinderlib.model.making import moved
from csi_cinderlib.model.records import FOREIGN, Attachment, Group, GroupSnapshot, Node, Snapshot, Status, Volume
from csi_cinderlib.model.transitions import RESTORED
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import pages, walk, walk_all
from csi_cinderlib.provisioning import locking, remedies, restored
from csi_cinderlib.provisioning.orphan_entries import Orphan as Orphan  # noqa: PLC0414  # for callers of `find`
from csi_cinderlib.provisioning.orphan_entries import Settled, Stuck, entry, is_modifying, modifying

_MAYBE_RETURNED = (
    "it may have been returned to OpenStack Cinder after the restored copy was made; see `csi-cinderlib get orphans`"
)
_STUCK = tuple(str(status) for status in Status if status not in (Status.AVAILABLE, Status.DELETED))


class Orphans:
    """Lists orphans and settles those that are due. Can run in parallel with calls and with other controllers.

    Args:
        nodes: registry of the nodes, if it is not `store`.
    """

    def __init__(
        self,
        store: Store,
        backends: Backends,
        locks: KeyedLocks,
        *,
        nodes: Store | None = None,
        grace: timedelta = GRACE,
        clock: Callable[[], datetime] = times.utc_now,
    ) -> None:
        self._store = store
        self._nodes = nodes or store
        self._backends = backends
        self._locks = locks
        self._grace = grace
        self._clock = clock

    def find(self, *, nodes_too: bool = True) -> tuple[Orphan, ...]:
        """All orphans, due or not: unfinished, unreadable, or attached to a node that is gone.

        Args:
            nodes_too: whether the registered nodes can be read.
        """
        stuck = (self._describe(record) for record in self._stuck())
        gone = self._nodes_gone() if nodes_too else ()
        modified = (modifying(record) for record in walk(self._store, Volume) if is_modifying(record))
        return (*stuck, *modified, *self._unreadable(), *gone, *self._leftovers(), *self._restored())

    def fix(self, id: str) -> Settled:
        """Finish or undo an orphan now, due or not. An object is not touched unless this installation certainly created it.

        Raises:
            NotFound: no orphan has that id.
            PreconditionFailed: the driver must not touch it; the message says what to do instead.
            OperationPending: another call works on it.
        """
        with_id = self._with_id(id)
        record = next((found for found in with_id if str(found.status) in _STUCK or is_modifying(found)), None)
        orphan = self._describe(record) if record is not None else self._other(id)
        if record is None or not orphan.fix:
            raise PreconditionFailed(f"cannot fix {orphan.kind} {id!r}: {orphan.reason}. {orphan.instead}")
        settled = self._settle(record)
        if settled is None:
            raise OperationPending(f"{orphan.kind} {id!r}: another call is in progress or has just ended; try again")
        return settled

    def _other(self, id: str) -> Orphan:
        """The entry with that id that has no unfinished record. Raises NotFound."""
        for orphan in self.find():
            if orphan.id == id:
                return orphan
        raise NotFound("orphan", id, "is not in the list of `csi-cinderlib get orphans`")

    def forget(self, id: str) -> tuple[str, ...]:
        """Forget leftovers of the object with that id after an operator has checked the array; returns what was forgotten.

        The id `restored` is the mark of a restored store, which goes after an operator has compared all arrays with the records.

        Raises:
            NotFound: no leftover, and no record in ERROR or whose import could not be undone, has that id.
            PreconditionFailed: the record is in use or an operation is in progress.
        """
        if id == restoring.ID and restoring.confirm(self._store):
            return ("the restore of older metadata",)
        forgotten = [
            f"{found.kind} {found.name} on back end {found.backend!r}" for found in leftovers.forget(self._store, id)
        ]
        record: Any  # mypy cannot take a union for the store's type variable
        for record in self._with_id(id):
            if record.status is Status.ERROR or (record.status is Status.UNMANAGING and record.message):
                self._remove(record)
                forgotten.append(f"the record of {noun(record)} {id!r} on back end {record.backend!r}")
            elif not forgotten:
                raise PreconditionFailed(
                    f"cannot forget {noun(record)} {id!r}: its status is {record.status}; it must be {Status.ERROR}"
                )
        if not forgotten:
            raise NotFound("leftover", id)
        return tuple(forgotten)

    def forget_modification(self, id: str) -> str:
        """Forget the unfinished modification of a volume, after an operator has checked the array; returns what was forgotten.

        Raises:
            NotFound: there is no such volume.
            PreconditionFailed: it has no unfinished modification.
            OperationPending: another call works on it.
        """
        with self._locks.hold(locking.volume(id), locking.attachments(id)):
            record = modifications.forget(self._store, self._store.get(Volume, id))
        return f"the modification of volume {id!r} on back end {record.backend!r}; it has its former properties"

    def leave_alone(self) -> tuple[str, ...]:
        """Mark unfinished records so that the driver never touches their objects; returns the marked ones. Call it before `void_marks`.

        For a store that was restored from an older copy. Meanwhile an object may have been finished and be in use, or it may be gone
        and its id belong to another object. An adoption or its rollback may have ended as well, so the owner of the object is not known.
        The same is true of what could be returned to an OpenStack Cinder when the copy was made.
        """
        marked = []
        for record in (*self._stuck(), *self._returnable()):
            if isinstance(record, Attachment) or record.name_taken or record.status is Status.EXTENDING:
                continue
            message = _MAYBE_RETURNED if record.status is Status.AVAILABLE else record.message
            changed: Any = moved(
                record, Status.ERROR, RESTORED, owner="", message=message, name_taken=leftovers.RESTORED
            )
            self._store.replace(changed)
            marked.append(f"{noun(record)} {record.id!r} on back end {record.backend!r}, which was {record.status}")
        return tuple(marked)

    def void_marks(self) -> restored.Voided:
        """See `restored.void_marks`."""
        return restored.void_marks(self._store)

    def void_types(self) -> int:
        """See `restored.void_types`."""
        return restored.void_types(self._store)

    def _remove(self, record: Any) -> None:
        """Remove the record with its dependent records."""
        given_up.note(self._store, record)
        if isinstance(record, GroupSnapshot):
            for member in walk_all(self._store, Snapshot, {"group_snapshot_id": record.id}):
                self._store.remove(member)
            with suppress(NotFound):
                self._store.remove(self._store.get(Group, record.group_id))
        self._store.remove(record)

    def _with_id(self, id: str) -> Iterator[Stuck]:
        with suppress(NotFound):
            yield self._store.get(Volume, id)
        with suppress(NotFound):
            yield self._store.get(Snapshot, id)
        with suppress(NotFound):
            yield self._store.get(GroupSnapshot, id)
        with suppress(NotFound):
            yield self._store.get(Attachment, id)

    def _leftovers(self) -> Iterator[Orphan]:
        for key, found in leftovers.walk(self._store):
            if found is None:
                yield Orphan(
                    kind="leftover",
                    id=key.removeprefix(leftovers.PREFIX),
                    reason="the note about it cannot be read",
                    instead=remedies.RESTORE,
                )
                continue
            yield Orphan(
                kind=found.kind,
                id=found.id,
                name=found.name,
                backend=found.backend,
                status="leftover",
                created_at=found.since,
                reason=f"look for {found.name} on the back end: {found.reason}{self._warning(found)}",
                instead=remedies.look(found.id),
            )

    def _restored(self) -> Iterator[Orphan]:
        if (since := restoring.since(self._store)) is not None:
            yield Orphan(
                kind="store",
                id=restoring.ID,
                created_at=since,
                reason="older metadata was restored and may lack volumes and snapshots; no back end counts as empty until "
                "`csi-cinderlib orphans forget restored`",
                instead=remedies.COMPARE,
            )

    def _warning(self, found: leftovers.Leftover) -> str:
        """The array may have two objects of the same name."""
        record: Volume | Snapshot
        try:
            if found.kind == "volume":
                record = self._store.get(Volume, found.id)
            else:
                record = self._store.get(Snapshot, found.id)
        except NotFound:
            return ""
        except CorruptRecord:
            return "; KEEP the one in use, whose record cannot be read"
        known = record.provider.id or record.provider.location
        return f"; KEEP the one in use, {f'known to the array as {known}' if known else 'which has the same name'}"

    def settle(self) -> tuple[Settled, ...]:
        """Finish or undo all due orphans, independently of each other. A failed one is retried the next time."""
        self._forget_deleted_volumes()
        now = self._clock()
        return tuple(
            settled
            for record in self._stuck()
            if due(record, now, self._grace) and (settled := self._settle(record)) is not None
        )

    def _forget_deleted_volumes(self) -> None:
        """Remove records that were kept for snapshots that are gone, after a kill between the two removals."""
        deleted = list(walk_all(self._store, Volume, {"status": str(Status.DELETED)}))
        if not deleted:
            return
        needed = {snapshot.volume_id for snapshot in walk_all(self._store, Snapshot)}
        for record in deleted:
            if record.id not in needed:
                with suppress(InUse, NotFound, StaleRecord):  # an unreadable snapshot also keeps its volume
                    self._store.remove(record)

    def _settle(self, found: Stuck) -> Settled | None:
        """None if another call works on it or has finished it in the meantime."""
        try:
            with self._locks.hold(*_keys(found), *_of_import(found)):
                record = self._reread(found)
                if record.revision != found.revision:
                    return None
                finish(self._backends.get(record.backend), record)
        except (OperationPending, NotFound):
            return None
        except DriverError as error:
            return Settled(self._describe(found), str(error))
        return Settled(self._describe(found))

    def _reread(self, found: Stuck) -> Stuck:
        if isinstance(found, Attachment):
            return self._store.get(Attachment, found.id)
        if isinstance(found, Snapshot):
            return self._store.get(Snapshot, found.id)
        if isinstance(found, GroupSnapshot):
            return self._store.get(GroupSnapshot, found.id)
        return self._store.get(Volume, found.id)

    def _stuck(self) -> Iterator[Stuck]:
        """Attachments and snapshots first, because they must be removed before their volumes."""
        where = {"status": _STUCK}
        snapshots = (record for record in walk(self._store, Snapshot, where) if not record.group_snapshot_id)
        return itertools.chain(
            walk(self._store, Attachment, where),
            snapshots,
            walk(self._store, GroupSnapshot, where),
            walk(self._store, Volume, where),
        )

    def _returnable(self) -> Iterator[Volume | Snapshot]:
        """Usable adopted objects that nothing had used."""
        kinds: Any = (Volume, Snapshot)
        for kind in kinds:
            yield from (found for found in walk(self._store, kind, {"status": str(Status.AVAILABLE)}) if found.adoption)

    def _describe(self, record: Stuck) -> Orphan:
        if is_modifying(record):
            return modifying(record)
        is_due = due(record, self._clock(), self._grace)
        if not isinstance(record, Attachment) and record.name_taken:
            name = f"{noun(record)}-{record.id}"
            if isinstance(record, GroupSnapshot):
                name = ", ".join([*(f"snapshot-{id}" for id in record.snapshot_ids), f"group {record.group_id}"])
            reason = f"look for {name} on the back end: {leftovers.why(record.name_taken)}"
            return entry(record, reason, instead=remedies.look(record.id))
        if record.status in FOREIGN:
            return entry(record, f"it is {record.status}", instead=remedies.ADOPTION)
        progress = "not finished" if is_due else "may still be in progress"
        reason = record.message or f"status {record.status}; {progress}"
        if isinstance(record, Snapshot) and record.group_snapshot_id:
            return entry(record, reason, instead=remedies.of_group(record.group_snapshot_id))
        return entry(record, reason, due=is_due, fix=remedies.fix(record))

    def _unreadable(self) -> Iterator[Orphan]:
        for kind, all_pages in (
            ("volume", pages(self._store, Volume)),
            ("snapshot", pages(self._store, Snapshot)),
            ("group snapshot", pages(self._store, GroupSnapshot)),
            ("attachment", pages(self._store, Attachment)),
        ):
            for page in all_pages:
                for id in page.corrupt:
                    yield Orphan(kind=kind, id=id, reason="its record cannot be read", instead=remedies.RESTORE)

    def _nodes_gone(self) -> Iterator[Orphan]:
        """Only listed: the orchestrator decides whether the node is really off, and then unpublishes the volume."""
        known: dict[str, bool] = {}
        for record in walk(self._store, Attachment):
            if record.node_id not in known:
                known[record.node_id] = self._knows(record.node_id)
            if record.status is Status.AVAILABLE and not known[record.node_id]:
                reason = f"node {record.node_id!r} is not registered"
                yield entry(record, reason, instead=remedies.NODE_GONE)

    def _knows(self, node_id: str) -> bool:
        try:
            return nodes.decode(node_id) is not None or bool(self._nodes.get(Node, node_id))
        except (NotFound, InvalidRequest):
            return False


def due(record: Stuck, now: datetime, grace: timedelta) -> bool:
    """Whether to handle it now: deletions and extensions at once, creations after the grace period.

    An interrupted import or adoption waits for the operator, who repeats or undoes it.
    """
    if record.status in {Status.DELETING, Status.EXTENDING, Status.UNMANAGING}:
        return True
    if record.status in {Status.AVAILABLE, Status.IMPORTING, *FOREIGN} or (
        not isinstance(record, Attachment) and record.name_taken
    ):
        return False
    try:
        return now - times.parse(record.created_at) > grace
    except ValueError:
        return True


def finish(backend: Backend, record: Stuck) -> None:
    """Finish a deletion, a modification or an extension, undo a creation or an import."""
    if isinstance(record, Attachment):
        backend.disconnect(record)
    elif record.status in {Status.IMPORTING, Status.UNMANAGING}:
        imported: Any = record  # mypy cannot take a union for the type variable
        with backend.importing() as imports:
            imports.undo(imported)
    elif isinstance(record, Snapshot):
        backend.delete_snapshot(record)
    elif isinstance(record, GroupSnapshot):
        backend.delete_group_snapshot(record)
    elif is_modifying(record):
        backend.settle_modification(record)
    elif record.status is Status.EXTENDING:
        backend.extend_volume(record, record.target_size or record.size)
    else:
        backend.delete_volume(record)


def _of_import(record: Stuck) -> tuple[str, ...]:
    return (locking.imports(record.backend),) if record.status in (Status.IMPORTING, Status.UNMANAGING) else ()


def _keys(record: Stuck) -> tuple[str, ...]:
    if isinstance(record, Attachment):
        return (locking.attachments(record.volume_id),)
    if isinstance(record, Snapshot):
        return (locking.snapshot(record.id),)
    if isinstance(record, GroupSnapshot):
        return (locking.group_snapshot(record.id), *map(locking.snapshot, record.snapshot_ids))
    return (locking.volume(record.id), locking.attachments(record.id))
