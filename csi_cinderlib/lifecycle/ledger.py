"""Record updates of operations: intents, results, refusals, and possible leftovers on a back end."""

from __future__ import annotations

import contextlib
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
from csi_cinderlib.lifecycle import given_up, leftovers
from csi_cinderlib.lifecycle.lookup import find
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Record, Snapshot, Status, Volume
from csi_cinderlib.observe import logs
from csi_cinderlib.pages import ORPHAN_PAGE
from csi_cinderlib.persistence.api import R, Store
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.persistence.optimistic import change

GRACE = timedelta(minutes=10)
"""The age at which the controller undoes an unfinished creation. The provisioner retries within five minutes."""
S = TypeVar("S", Volume, Snapshot, Attachment, GroupSnapshot)
"""Records with a status and a message."""

_log = logs.logger(__name__)
_ATTEMPTS = 10
UNFINISHED = (Status.CREATING, Status.ERROR)
OUT_OF_REACH = (
    "its creation was interrupted, and the driver may not be able to find it without the id that the back end assigned"
)


class Ledger:
    """The records of one back end.

    Args:
        name: name of the back end.
        owner: name of this process in records of operations in progress.
        is_alive: whether another owner (a process) is still running; unfinished operations of dead owners are taken over.
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
        """Raises OperationPending if another running process owns the record."""
        if record.owner in ("", self.owner) or not self._is_alive(record.owner):
            return
        raise OperationPending(f"{noun(record)} {record.id!r} is being processed by {record.owner!r} ({record.status})")

    def is_alive(self, owner: str) -> bool:
        """Whether the owner is a running process; False for ""."""
        return bool(owner) and self._is_alive(owner)

    def intend(self, record: S, status: Status, **values: Any) -> S:
        """Store the intent of an operation before it starts.

        Raises:
            StaleRecord: another call changed the record first.
        """
        self.check_free(record)
        changed = replace(record, status=status, owner=self.owner, message="", **values)
        return record if changed == record else self.store.replace(changed)

    def intend_deletion(self, record: S) -> S:
        """Store the intent to delete. Raises the errors of `intend`."""
        if not isinstance(record, Volume | Snapshot):
            return self.intend(record, Status.DELETING)
        if isinstance(record, Snapshot) and record.adoption:
            self._end_adoption(record)
        unfinished = record.unfinished or record.status in UNFINISHED
        return self.intend(record, Status.DELETING, unfinished=unfinished)

    def _end_adoption(self, snapshot: Snapshot) -> None:
        """Store that the volume of an adopted snapshot can no longer be returned: Cinder would miss the snapshot."""
        self.check_free(snapshot)
        volume = find(self.store, Volume, snapshot.volume_id)
        if volume is not None:
            change(self.store, volume, lambda current: replace(current, adoption=""))

    def check_own(self, record: S, status: Status) -> None:
        """Raises StaleRecord if another process took over the record during the driver call."""
        if record.status is not status or record.owner != self.owner:
            raise StaleRecord(noun(record), record.id)

    def current(self, record: R) -> R:
        """The stored record, or the given record if it is not stored."""
        return find(self.store, type(record), record.id) or record

    def is_taken_over(self, record: S) -> bool:
        """Whether another process has taken over the operation, so this process must not undo it."""
        current = find(self.store, type(record), record.id)
        return current is not None and self.is_of_another(current)

    def is_of_another(self, current: S) -> bool:
        """Whether another process works on the record.

        False for a process that deletes it: an object that the driver created after that deletion would be left on the back end.
        """
        return current.status is not Status.DELETING and current.owner != self.owner

    def remove(self, record: R) -> bool:
        """Remove a record regardless of concurrent changes and return whether it existed. Raises StaleRecord if it was taken over."""
        given_up.note(self.store, record)
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
        """Remove the record of a snapshot, and that of a DELETED volume without other snapshots. Returns whether it existed."""
        was_there = self.remove(record)
        faultpoints.reach("delete-snapshot.record-removed")
        self.forget_deleted_volume(record.volume_id)
        return was_there

    def forget_deleted_volume(self, volume_id: str) -> None:
        """Remove the record of a DELETED volume without snapshots. The periodic clean-up repeats a failed removal."""
        try:
            volume = self.store.get(Volume, volume_id)
            if volume.status is Status.DELETED:
                self.remove(volume)
        except (NotFound, InUse):
            return
        except DriverError as error:
            _log.warning("deleted volume record kept", volume=volume_id, backend=self.name, reason=str(error))

    def note(self, record: S, status: Status, message: str, **values: Any) -> None:
        """Store the message of a failure; if that fails as well, log it."""
        self._try(record, lambda current: replace(current, status=status, message=message, **values), message)

    def give_back(self, record: S, status: Status, message: str, *, owner: str = "") -> None:
        """Withdraw the intent of this process. A record that another process has taken over is not changed."""

        def undo(current: S) -> S:
            self.check_own(current, record.status)
            return replace(current, status=status, message=message, owner=owner)

        self._try(record, undo, message)

    def note_refusal(self, record: S, was: S, error: InUse, *, is_whole: bool) -> None:
        """Store the result of a refused deletion. The object becomes AVAILABLE again only if no part of it can be deleted.

        Args:
            was: the record before this attempt.
            is_whole: no attempt has deleted any part.
        """
        if getattr(record, "unfinished", False):
            message = "its creation failed, and the back end refused to delete the remains"
            self.give_back(record, Status.ERROR, message)
        elif is_whole:
            self.give_back(record, Status.AVAILABLE, "" if was.status is Status.DELETING else was.message)
        else:
            self.note(record, Status.DELETING, f"{error}; its deletion has started and cannot be undone")

    def _try(self, record: S, update: Callable[[S], S], message: str) -> None:
        try:
            change(self.store, record, update)
        except DriverError as error:
            _log.warning("record update failed", **log_values(record), message=message, reason=str(error))

    def leave(self, record: S, message: str, **values: Any) -> None:
        """Keep, or add again, the record of a failed creation that left an object on the back end."""
        try:
            self.store.add(replace(record, status=Status.ERROR, message=message, owner="", **values))
        except AlreadyExists:
            self.note(record, Status.ERROR, message, owner="", **values)
        except DriverError as error:
            _log.error("record of failed creation lost", **log_values(record), message=message, reason=str(error))

    def leave_unanswered(self, record: S, error: DriverError) -> bool:
        """Keep the record of a creation without an answer and return whether it was kept.

        The back end may still create the object after the clean-up.
        """
        if not isinstance(error, BackendUnavailable):
            return False
        self.leave(record, f"{error}; the back end may still create it, so the clean-up is repeated")
        return True

    def leave_alone(self, record: S, error: DriverError) -> NameTaken:
        """Keep a record whose name is taken by an object on the back end. Returns the error for the caller."""
        if not self.is_taken_over(record):
            self.leave(record, str(error), name_taken=str(error))
        return NameTaken(
            noun(record),
            record.id,
            f"on back end {self.name!r}; it was not created by this driver and is left untouched: {error}; see {ORPHAN_PAGE}",
        )

    def note_leftover(self, record: Volume | Snapshot, name: str, reason: str) -> None:
        """Note an object that may be left on the back end without a record. Raises StoreUnavailable."""
        kind, pool = noun(record), getattr(record, "pool", "")
        leftover = leftovers.Leftover(
            kind=kind, id=record.id, backend=self.name, pool=pool, name=name, since=self.now(), reason=reason
        )
        leftovers.note(self.store, leftover)
        _log.warning("possible leftover on back end", **log_values(record), name=name, reason=reason)

    def note_outcome(self, record: Volume | Snapshot, was: Volume | Snapshot | None, outcome: Outcome) -> None:
        """Note possible leftovers of a deletion. Raises its failure, or StoreUnavailable.

        Args:
            was: the record before the deletion; None if a creation is undone.
        """
        if outcome.out_of_reach:
            self.note_leftover(record, outcome.name, OUT_OF_REACH)
        if outcome.failure is not None:
            raise outcome.failure
        if outcome.missing and was is not None:
            self._note_missing(record, was, outcome)

    def _note_missing(self, record: Volume | Snapshot, was: Volume | Snapshot, outcome: Outcome) -> None:
        """Note an object that the driver did not find, unless an earlier attempt may have deleted it.

        A driver that looks in the wrong place, for example, does not find an existing object.
        """
        if was.status is Status.AVAILABLE:
            reason = f"the driver did not find it on deletion: {outcome.missing}"
            self.note_leftover(record, outcome.name, reason)
        else:
            _log.warning(
                "object already absent on back end", **log_values(record), name=outcome.name, reason=outcome.missing
            )

    def attachments(self, volume_id: str) -> tuple[Attachment, ...]:
        """Raises CorruptRecord if one cannot be read: the volume is attached to an unknown node."""
        return all_of(self.store, Attachment, {"volume_id": volume_id})


def noun(record: Record) -> str:
    """The kind of the record as it appears in messages."""
    return "group snapshot" if isinstance(record, GroupSnapshot) else type(record).__name__.lower()


def log_values(record: Volume | Snapshot | Attachment | GroupSnapshot) -> dict[str, str]:
    """The id of the record under its kind, and its back end."""
    return {noun(record).replace(" ", "_"): record.id, "backend": record.backend}
