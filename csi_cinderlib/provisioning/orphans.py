"""Records stuck in an intent: a controller died, and the container orchestrator never asked again.

The claim may be gone by the time the controller is back, so nobody calls CreateVolume or DeleteVolume any more, and what lies
on the array would be paid for for ever. What was being deleted or extended is finished. What was being made is undone once it
is older than a grace: nobody ever got an answer for it, and if somebody still asks, it is made anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
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
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.ledger import GRACE, noun
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import labels, nodes, times
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Node, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import pages, walk, walk_all
from csi_cinderlib.provisioning import locking, remedies

Stuck = Volume | Snapshot | GroupSnapshot | Attachment

_STUCK = tuple(str(status) for status in Status if status not in (Status.AVAILABLE, Status.DELETED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One line of the list.

    Attributes:
        kind: "volume", "snapshot", "group snapshot" or "attachment".
        claim: `namespace/name` of the claim or the VolumeSnapshot that it is for.
        node: where an attachment is.
        volume_id: the volume of an attachment or a snapshot.
        created_at: since when it is there.
        due: whether `settle` deals with it now.
        reason: what is wrong with it, as a clause.
        fix: what `Orphans.fix` does about it, as an imperative; "" when the driver must not touch it.
        instead: then what an operator does.
    """

    kind: str
    id: str
    name: str = ""
    claim: str = ""
    backend: str = ""
    node: str = ""
    volume_id: str = ""
    status: str = ""
    owner: str = ""
    created_at: str = ""
    due: bool = False
    reason: str
    fix: str = ""
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an orphan; `error` is "" when it is gone or whole."""

    orphan: Orphan
    error: str = ""


class Orphans:
    """Lists them, and settles those that are due. Safe beside calls that are being served, and beside other controllers.

    Args:
        nodes: where nodes register, if not in `store`.
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
        """All of them, also those that are not due: stuck, unreadable, or attached to a node that is gone.

        Args:
            nodes_too: whether it can be seen which nodes are registered.
        """
        stuck = (self._describe(record) for record in self._stuck())
        gone = self._nodes_gone() if nodes_too else ()
        return (*stuck, *self._unreadable(), *gone, *self._leftovers())

    def fix(self, id: str) -> Settled:
        """Finish or undo one now, whether it is due or not. What this installation did not certainly create is not touched.

        Raises:
            NotFound: nothing unfinished has that id.
            PreconditionFailed: the driver must not touch it; says what to do instead.
            OperationPending: a call is at work on it.
        """
        record = next((found for found in self._with_id(id) if str(found.status) in _STUCK), None)
        orphan = self._describe(record) if record is not None else self._other(id)
        if record is None or not orphan.fix:
            raise PreconditionFailed(f"{orphan.kind} {id!r} is left alone: {orphan.reason}. {orphan.instead}")
        settled = self._settle(record)
        if settled is None:
            raise OperationPending(f"a call is at work on {orphan.kind} {id!r}, or has just ended: look again")
        return settled

    def _other(self, id: str) -> Orphan:
        """What is listed under that id and has no unfinished record. Raises NotFound."""
        for orphan in self.find():
            if orphan.id == id:
                return orphan
        raise NotFound("orphan", id, "is not in the list of `csi-cinderlib get orphans`")

    def forget(self, id: str) -> tuple[str, ...]:
        """Forget, after an operator has looked at the array, what may be left there of the object with that id; what it was.

        Raises:
            NotFound: nothing is noted under that id, and no record in ERROR has it.
            PreconditionFailed: the record is in use or under way.
        """
        forgotten = [
            f"{found.kind} {found.name} on back end {found.backend!r}" for found in leftovers.forget(self._store, id)
        ]
        record: Any  # mypy cannot take a union for the store's type variable
        for record in self._with_id(id):
            if record.status is Status.ERROR:
                self._remove(record)
                forgotten.append(f"the record of {noun(record)} {id!r} on back end {record.backend!r}")
            elif not forgotten:
                raise PreconditionFailed(f"{noun(record)} {id!r} is {record.status}: only what failed can be forgotten")
        if not forgotten:
            raise NotFound("leftover", id)
        return tuple(forgotten)

    def leave_alone(self) -> tuple[str, ...]:
        """Never touch on a back end what is half done here: for a store into which an older copy was restored.

        Since the copy was taken it may have been finished and be in use, or be gone and its id be another object's. What was marked.
        """
        marked = []
        for record in self._stuck():
            if isinstance(record, Attachment) or record.status is Status.EXTENDING or record.name_taken:
                continue
            changed: Any = replace(record, status=Status.ERROR, owner="", name_taken=leftovers.RESTORED)
            self._store.replace(changed)
            marked.append(f"{noun(record)} {record.id!r} on back end {record.backend!r}, which was {record.status}")
        return tuple(marked)

    def _remove(self, record: Any) -> None:
        """With what goes with it."""
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
                    reason="its note cannot be read",
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

    def _warning(self, found: leftovers.Leftover) -> str:
        """Two objects of one name may be on the array by now."""
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
        return f"; KEEP the one in use, {f'which the array calls {known}' if known else 'which has the same name'}"

    def settle(self) -> tuple[Settled, ...]:
        """Finish or undo what is due, each on its own: one that fails stays for the next time."""
        self._forget_deleted_volumes()
        now = self._clock()
        return tuple(
            settled
            for record in self._stuck()
            if due(record, now, self._grace) and (settled := self._settle(record)) is not None
        )

    def _forget_deleted_volumes(self) -> None:
        """Remove records that were kept for snapshots which are gone: a kill came between the two removals."""
        deleted = list(walk_all(self._store, Volume, {"status": str(Status.DELETED)}))
        if not deleted:
            return
        needed = {snapshot.volume_id for snapshot in walk_all(self._store, Snapshot)}
        for record in deleted:
            if record.id not in needed:
                with suppress(InUse, NotFound, StaleRecord):  # a snapshot that cannot be read keeps its volume, too
                    self._store.remove(record)

    def _settle(self, found: Stuck) -> Settled | None:
        """None when somebody is at work on it, or has dealt with it meanwhile."""
        try:
            with self._locks.hold(*_keys(found)):
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
        """Attachments first and snapshots next, since volumes cannot go before them."""
        where = {"status": _STUCK}
        snapshots = (record for record in walk(self._store, Snapshot, where) if not record.group_snapshot_id)
        return itertools.chain(
            walk(self._store, Attachment, where),
            snapshots,
            walk(self._store, GroupSnapshot, where),
            walk(self._store, Volume, where),
        )

    def _describe(self, record: Stuck) -> Orphan:
        is_due = due(record, self._clock(), self._grace)
        if not isinstance(record, Attachment) and record.name_taken:
            name = f"{noun(record)}-{record.id}"
            if isinstance(record, GroupSnapshot):
                name = ", ".join([*(f"snapshot-{id}" for id in record.snapshot_ids), f"group {record.group_id}"])
            reason = f"look for {name} on the back end: {leftovers.why(record.name_taken)}"
            return _orphan(record, reason, instead=remedies.look(record.id))
        idle = "and was not finished" if is_due else "and may still be in progress"
        reason = record.message or f"it is {record.status} {idle}"
        if isinstance(record, Snapshot) and record.group_snapshot_id:
            return _orphan(record, reason, instead=remedies.of_group(record.group_snapshot_id))
        return _orphan(record, reason, due=is_due, fix=remedies.fix(record))

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
        """Only listed: whether the node is really off is for the orchestrator to say, which then unpublishes."""
        known: dict[str, bool] = {}
        for record in walk(self._store, Attachment):
            if record.node_id not in known:
                known[record.node_id] = self._knows(record.node_id)
            if record.status is Status.AVAILABLE and not known[record.node_id]:
                reason = f"node {record.node_id!r} is not registered"
                yield _orphan(record, reason, instead=remedies.NODE_GONE)

    def _knows(self, node_id: str) -> bool:
        try:
            return nodes.decode(node_id) is not None or bool(self._nodes.get(Node, node_id))
        except (NotFound, InvalidRequest):
            return False


def due(record: Stuck, now: datetime, grace: timedelta) -> bool:
    """Whether to deal with it now: at once what somebody asked to be rid of or to grow, after the grace what was being made."""
    if record.status in {Status.DELETING, Status.EXTENDING}:
        return True
    if record.status is Status.AVAILABLE or (not isinstance(record, Attachment) and record.name_taken):
        return False
    try:
        return now - times.parse(record.created_at) > grace
    except ValueError:
        return True


def finish(backend: Backend, record: Stuck) -> None:
    """Finish what was being deleted or extended, undo what was being made."""
    if isinstance(record, Attachment):
        backend.disconnect(record)
    elif isinstance(record, Snapshot):
        backend.delete_snapshot(record)
    elif isinstance(record, GroupSnapshot):
        backend.delete_group_snapshot(record)
    elif record.status is Status.EXTENDING:
        backend.extend_volume(record, record.target_size or record.size)
    else:
        backend.delete_volume(record)


def _orphan(record: Stuck, reason: str, *, due: bool = False, fix: str = "", instead: str = "") -> Orphan:
    attachment = record if isinstance(record, Attachment) else None
    return Orphan(
        kind=noun(record),
        id=record.id,
        name="" if isinstance(record, Attachment) else record.name,
        claim=labels.claim(record.labels) if isinstance(record, Volume | Snapshot) else "",
        backend=record.backend,
        node=nodes.shown(attachment.node_id, attachment.connector) if attachment else "",
        volume_id=record.volume_id if isinstance(record, Attachment | Snapshot) else "",
        status=str(record.status),
        owner=record.owner,
        created_at=record.created_at,
        due=due,
        reason=reason,
        fix=fix,
        instead=instead,
    )


def _keys(record: Stuck) -> tuple[str, ...]:
    if isinstance(record, Attachment):
        return (locking.attachments(record.volume_id),)
    if isinstance(record, Snapshot):
        return (locking.snapshot(record.id),)
    if isinstance(record, GroupSnapshot):
        return (locking.group_snapshot(record.id), *map(locking.snapshot, record.snapshot_ids))
    return (locking.volume(record.id), locking.attachments(record.id))
