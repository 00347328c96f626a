"""What operations write into the store: intents, results, refusals, and what may be left on a back end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from csi_cinderlib import faultpoints
from csi_cinderlib.backend.verbs import Outcome
from csi_cinderlib.errors import (
    AlreadyExists,
    BackendUnavailable,
    DriverError,
    InUse,
    NameTaken,
    NotFound,
    OperationPending,
    StaleRecord,
)
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.lookup import find
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Record, Snapshot, Status, Volume
from csi_cinderlib.pages import ORPHAN_PAGE
from csi_cinderlib.persistence.api import R, Store
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.persistence.optimistic import change

GRACE = timedelta(minutes=10)
"""How old an unfinished creation is when the controller undoes it. The provisioner retries within five minutes at most."""
S = TypeVar("S", Volume, Snapshot, Attachment, GroupSnapshot)
"""A record with a status and a message."""

_log = logging.getLogger(__name__)
_ATTEMPTS = 10
UNFINISHED = (Status.CREATING, Status.ERROR)
OUT_OF_REACH = "its creation did not end, and its driver may only find it by an id that was never answered"


class Ledger:
    """The records of one back end, as this process works on them.

    Args:
        name: the back end's.
        owner: the name of this process in records under way.
        is_alive: whether another owner of a record (a process) still works on it; what dead ones left unfinished is taken over.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        *,
        owner: str,
        clock: Callable[[], datetime],
        is_alive: Callable[[str], bool],
    ) -> None:
        self.name = name
        self.store = store
        self.owner = owner
        self._clock = clock
        self._is_alive = is_alive

    def now(self) -> str:
        return times.stamp(self._clock())

    def check_free(self, record: Volume | Snapshot | Attachment | GroupSnapshot) -> None:
        """Raises OperationPending when another living process is at work on the record."""
        if record.owner in ("", self.owner) or not self._is_alive(record.owner):
            return
        raise OperationPending(f"{record.owner!r} is at work on {noun(record)} {record.id!r} ({record.status})")

    def is_alive(self, owner: str) -> bool:
        """Whether the owner is a living process; "" is none."""
        return bool(owner) and self._is_alive(owner)

    def intend(self, record: S, status: Status, **values: Any) -> S:
        """Write down what is about to be done, before it is.

        Raises:
            StaleRecord: somebody else changed the record first.
        """
        self.check_free(record)
        changed = replace(record, status=status, owner=self.owner, message="", **values)
        return record if changed == record else self.store.replace(changed)

    def intend_deletion(self, record: S) -> S:
        """Write down that it is about to be deleted. Raises what `intend` raises."""
        if not isinstance(record, Volume | Snapshot):
            return self.intend(record, Status.DELETING)
        unfinished = record.unfinished or record.status in UNFINISHED
        return self.intend(record, Status.DELETING, unfinished=unfinished)

    def check_own(self, record: S, status: Status) -> None:
        """Raises StaleRecord when another process took the record over while the driver worked."""
        if record.status is not status or record.owner != self.owner:
            raise StaleRecord(noun(record), record.id)

    def current(self, record: R) -> R:
        """The record as it is stored; as it is given, where there is none."""
        return find(self.store, type(record), record.id) or record

    def is_taken_over(self, record: S) -> bool:
        """Whether another process carries on with what was begun here, so that nothing of it may be undone here."""
        current = find(self.store, type(record), record.id)
        return current is not None and self.is_of_another(current)

    def is_of_another(self, current: S) -> bool:
        """Whether another process works on it.

        One that deletes it, or has, does not: what the driver made after that process had asked for the deletion would stay.
        """
        return current.status is not Status.DELETING and current.owner != self.owner

    def remove(self, record: R) -> bool:
        """Remove a record however often it changed meanwhile; whether it was there. Raises StaleRecord for one that was taken over."""
        with contextlib.suppress(NotFound):
            for _ in range(_ATTEMPTS):
                try:
                    self.store.remove(record)
                except StaleRecord:
                    record = self.store.get(type(record), record.id)
                    status, owner = getattr(record, "status", ""), getattr(record, "owner", "")
                    if owner not in ("", self.owner) and status is not Status.DELETING:
                        raise
                else:
                    return True
            raise StaleRecord(noun(record), record.id)
        return False

    def remove_snapshot(self, record: Snapshot) -> bool:
        """Remove the record of a snapshot, and that of its volume if it was kept for this snapshot only; whether it was there."""
        was_there = self.remove(record)
        faultpoints.reach("delete-snapshot.record-removed")
        self.forget_deleted_volume(record.volume_id)
        return was_there

    def forget_deleted_volume(self, volume_id: str) -> None:
        """Remove the record of a DELETED volume that has no snapshots any more. What fails here is repeated by the clean-up."""
        try:
            volume = self.store.get(Volume, volume_id)
            if volume.status is Status.DELETED:
                self.remove(volume)
        except (NotFound, InUse):
            return
        except DriverError as error:
            _log.warning("the record of the deleted volume %s stays for now: %s", volume_id, error)

    def note(self, record: S, status: Status, message: str, **values: Any) -> None:
        """Leave a word about a failure on a record; if that fails, too, the log has to do."""
        self._try(record, lambda one: replace(one, status=status, message=message, **values), message)

    def give_back(self, record: S, status: Status, message: str, *, owner: str = "") -> None:
        """Take back this process's intent, or say what became of it. A record that another process has taken over stays as it is."""

        def undo(current: S) -> S:
            self.check_own(current, record.status)
            return replace(current, status=status, message=message, owner=owner)

        self._try(record, undo, message)

    def note_refusal(self, record: S, was: S, error: InUse, *, is_whole: bool) -> None:
        """Write down what a refused deletion made of an object: it is usable again only if no part of it can be gone.

        Args:
            was: the record before this attempt.
            is_whole: no attempt has removed anything.
        """
        if getattr(record, "unfinished", False):
            message = "its creation failed, and the back end would not delete what there is"
            self.give_back(record, Status.ERROR, message)
        elif is_whole:
            self.give_back(record, Status.AVAILABLE, "" if was.status is Status.DELETING else was.message)
        else:
            self.note(record, Status.DELETING, f"{error}; its deletion has begun and cannot be taken back")

    def _try(self, record: S, update: Callable[[S], S], message: str) -> None:
        try:
            change(self.store, record, update)
        except DriverError as error:
            _log.warning("could not note on %s %s: %s (%s)", noun(record), record.id, message, error)

    def leave(self, record: S, message: str, **values: Any) -> None:
        """Keep a record of what a failed creation left on the back end, also where another process has removed it."""
        try:
            self.store.add(replace(record, status=Status.ERROR, message=message, owner="", **values))
        except AlreadyExists:
            self.note(record, Status.ERROR, message, owner="", **values)
        except DriverError as error:
            _log.error("%s %s has no record (%s): %s", noun(record), record.id, error, message)

    def leave_unanswered(self, record: S, error: DriverError) -> bool:
        """Keep the record of a creation that got no answer: the back end may carry it out after the clean-up. Whether it was kept."""
        if not isinstance(error, BackendUnavailable):
            return False
        self.leave(record, f"{error}; the back end may carry it out late, so that it is looked for again")
        return True

    def leave_alone(self, record: S, error: DriverError) -> NameTaken:
        """Keep a record that owns nothing: the back end had an object of its name before. The error for the caller."""
        if not self.is_taken_over(record):
            self.leave(record, str(error), name_taken=str(error))
        return NameTaken(
            noun(record),
            record.id,
            f"on back end {self.name!r}, not created by this driver and left alone: {error}; see {ORPHAN_PAGE}",
        )

    def note_leftover(self, record: Volume | Snapshot, name: str, reason: str) -> None:
        """Write down what may stay on the back end out of every record's reach. Raises StoreUnavailable."""
        kind, pool = noun(record), getattr(record, "pool", "")
        leftover = leftovers.Leftover(
            kind=kind, id=record.id, backend=self.name, pool=pool, name=name, since=self.now(), reason=reason
        )
        leftovers.note(self.store, leftover)
        _log.warning("%s %s may be left on back end %s as %s: %s", kind, record.id, self.name, name, reason)

    def note_outcome(self, record: Volume | Snapshot, was: Volume | Snapshot | None, outcome: Outcome) -> None:
        """Write down what a deletion may have left on the back end. Raises the failure in it, or StoreUnavailable.

        Args:
            was: the record before the deletion; None when a creation is undone.
        """
        if outcome.out_of_reach:
            self.note_leftover(record, outcome.name, OUT_OF_REACH)
        if outcome.failure is not None:
            raise outcome.failure
        if outcome.missing and was is not None:
            self._note_missing(record, was, outcome)

    def _note_missing(self, record: Volume | Snapshot, was: Volume | Snapshot, outcome: Outcome) -> None:
        """Done, if an attempt before this one may have removed it, or else odd.

        A driver may say so of an object that is there, when it looks in the wrong place, for example.
        """
        if was.status is Status.AVAILABLE:
            reason = f"the driver did not find it when it was to be deleted: {outcome.missing}"
            self.note_leftover(record, outcome.name, reason)
        else:
            _log.warning("%s was gone from back end %s already: %s", outcome.name, self.name, outcome.missing)

    def attachments(self, volume_id: str) -> tuple[Attachment, ...]:
        """Raises CorruptRecord when one cannot be read: the volume is attached, nobody knows where."""
        return all_of(self.store, Attachment, {"volume_id": volume_id})

    def refuse_snapshots(self, volume_id: str, *, independent: bool) -> None:
        """Raises InUse when deleting the volume would cost a snapshot, or end the creation of one; CorruptRecord when nobody can tell.

        Args:
            independent: the back end's snapshots outlive their volume.
        """
        if not independent:
            page = self.store.page(Snapshot, limit=1, where={"volume_id": volume_id})
            if page.records or page.corrupt:
                raise InUse(f"volume {volume_id!r} has snapshots")
            return
        for snapshot in all_of(self.store, Snapshot, {"volume_id": volume_id}):
            if snapshot.status in UNFINISHED or self._is_unfinished_group(snapshot.group_snapshot_id):
                raise InUse(f"snapshot {snapshot.id!r} of volume {volume_id!r} is not finished")

    def _is_unfinished_group(self, id: str) -> bool:
        """Whether the group snapshot may be taken anew, all its members with it."""
        try:
            return bool(id) and self.store.get(GroupSnapshot, id).status in UNFINISHED
        except NotFound:
            return False

    def refuse_copies(self, *sources: Volume | Snapshot) -> None:
        """Look for volumes that are being created from one of them, whichever process does that. A copy is on its source's back end.

        Raises:
            InUse: there is one.
            CorruptRecord: there may be one.
        """
        kinds = {source.id: noun(source) for source in sources}
        for volume in all_of(self.store, Volume, {"status": str(Status.CREATING), "backend": self.name}):
            if volume.source is not None and (kind := kinds.get(volume.source.id)):
                raise InUse(
                    f"{kind} {volume.source.id!r} is the source of volume {volume.id!r}, which is being created"
                    + _until(volume)
                )


def noun(record: Record) -> str:
    """What people call such a thing."""
    return "group snapshot" if isinstance(record, GroupSnapshot) else type(record).__name__.lower()


def _until(volume: Volume) -> str:
    """When an unfinished creation no longer holds its source."""
    with contextlib.suppress(ValueError):
        end = times.stamp(times.parse(volume.created_at) + GRACE)
        return f" since {volume.created_at}; if nobody carries that on, it is undone after {end}"
    return ""
