"""One life of a record: intend, act, finish or undo or resume, delete.

Whatever a driver makes has a record first, that says what is being done and by whom. After a failure only that is removed which this
call certainly made; what is uncertain stays, in ERROR. After a crash the same call finishes or undoes it. `volumes`, `snapshots` and
`groups` say what is particular to their kind.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

from csi_cinderlib import faultpoints
from csi_cinderlib.backend.verbs import Driver
from csi_cinderlib.errors import (
    BackendUnavailable,
    CorruptRecord,
    DriverError,
    InUse,
    NameTaken,
    NotFound,
    PreconditionFailed,
    StaleRecord,
    StoreUnavailable,
)
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.ledger import UNFINISHED, Ledger, noun
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.persistence.optimistic import change

S = TypeVar("S", Volume, Snapshot, GroupSnapshot)
L = TypeVar("L")
"""What it depends on."""
A = TypeVar("A")
"""What a driver answers to a creation."""
_log = logging.getLogger(__name__)


class Life(ABC, Generic[S, L, A]):
    """The life of volumes, snapshots or group snapshots on one back end.

    Attributes:
        point: the kind as the names of fault points have it.
    """

    point: ClassVar[str]

    def __init__(self, ledger: Ledger, driver: Driver, room: Room) -> None:
        self.ledger = ledger
        self.store = ledger.store
        self.driver = driver
        self.room = room

    # --- what is particular to the kind

    @abstractmethod
    def look(self, record: S) -> L:
        """What it depends on, once its intent is visible.

        Whoever deletes that counts the dependents after his own intent is visible: so each looks at the other's.

        Raises:
            NotFound, OperationPending, PreconditionFailed: see `lookup.check_copyable`.
        """

    @abstractmethod
    def make(self, record: S, seen: L) -> A:
        """Have the driver create it. Raises what the driver raises, and NameTaken where it must not be asked."""

    @abstractmethod
    def with_answer(self, record: S, answer: A) -> S:
        """The record with what the driver answered in it."""

    @abstractmethod
    def destroy(self, record: S, *, was: S | None = None) -> None:
        """Have the driver delete what there is, whichever part; what is out of its reach is noted.

        Args:
            was: the record before the deletion; None when a creation is undone.
        """

    def unmake(self, record: S, error: DriverError, answer: A | None) -> None:  # noqa: ARG002  # for those who need them
        """As `destroy`, after a creation that failed with this error, or has lost its record after this answer."""
        self.destroy(record)

    @abstractmethod
    def remove(self, record: S) -> bool:
        """Remove the record, and what goes with it; whether it was there."""

    @abstractmethod
    def refuse_dependents(self, record: S) -> None:
        """Raises InUse when something depends on it, or CorruptRecord when nobody can tell."""

    def is_untouched(self, was: S) -> bool:
        """Whether no earlier deletion can have reached the driver."""
        return was.status is not Status.DELETING

    def is_whole_when_refused(self, was: S) -> bool:
        """Whether nothing of it can be gone when the driver says that it is in use."""
        return was.status is not Status.DELETING

    # --- creation

    def begin(self, record: S) -> S:
        """Write the intent."""
        record = self.store.add(self.begun(record))
        faultpoints.reach(f"create-{self.point}.record-written")
        return record

    def begun(self, record: S) -> S:
        now = record.created_at or self.ledger.now()
        return replace(record, status=Status.CREATING, owner=self.ledger.owner, created_at=now)

    def create(self, record: S) -> S:
        """Write the intent, create it, and write down what the driver said."""
        record = self.begin(record)
        try:
            seen = self.look(record)
        except DriverError:
            self.remove(record)
            raise
        return self._make(record, seen, is_first=True)

    def resume(self, record: S) -> S:
        """Finish a creation that ended in the middle: undo what may be there, and start over.

        Only what was never handed out is CREATING or ERROR, so there is no data to lose.
        """
        if record.status is Status.AVAILABLE:
            return record
        if record.status not in UNFINISHED:
            raise PreconditionFailed(f"{noun(record)} {record.id!r} is {record.status}: its creation cannot be resumed")
        leftovers.refuse_restored(noun(record), record.id, record.name_taken)
        self.room.check()
        record = self.begin_again(self.ledger.intend(record, Status.CREATING))
        seen = self._look_again(record)
        if not record.name_taken:  # else what is there is not this one's; perhaps it is gone by now
            self._clean_up(record)
            record, seen = self.ledger.current(record), self._look_again(record)  # the driver may have changed both
        return self._make(record, seen)

    def _look_again(self, record: S) -> L:
        try:
            return self.look(record)
        except DriverError as error:
            self.ledger.note(record, Status.ERROR, str(error), owner="")  # what an earlier attempt left may be there
            raise

    def begin_again(self, record: S) -> S:
        """Prepare a record whose creation starts over, and what goes with it."""
        return record

    def _clean_up(self, record: S) -> None:
        try:
            self.destroy(record)
        except (BackendUnavailable, StoreUnavailable):
            raise
        except DriverError as error:
            # Most likely there was nothing to delete. If something is there, creating it again fails, and says so.
            _log.info("clean-up before creating %s %s again: %s", noun(record), record.id, error)

    def _make(self, record: S, seen: L, *, is_first: bool = False) -> S:
        try:
            answer = self.make(record, seen)
        except NameTaken:
            raise  # the driver was not asked, and the record says why
        except DriverError as error:
            if error.name_exists and (is_first or record.name_taken):
                raise self.ledger.leave_alone(record, error) from error
            self._undo(record, error)
            raise
        faultpoints.reach(f"create-{self.point}.driver-done")
        try:
            return self.finish(record, answer)
        except (NotFound, StaleRecord) as error:
            self._undo(record, error, answer)
            raise StaleRecord(noun(record), record.id) from error

    def finish(self, record: S, answer: A) -> S:
        """Write the result. Raises NotFound or StaleRecord when another process has taken the record over."""
        return self.write_result(record, answer)

    def write_result(self, record: S, answer: A, **values: Any) -> S:
        """As `finish`, with these values besides."""

        def finished(current: S) -> S:
            self.ledger.check_own(current, Status.CREATING)
            done = self.with_answer(current, answer)
            return replace(done, status=Status.AVAILABLE, name_taken="", owner="", message="", **values)

        return change(self.store, record, finished)

    def _undo(self, record: S, error: DriverError, answer: A | None = None) -> None:
        """Leave nothing of a failed creation, or a record that says what could not be undone.

        Args:
            answer: the driver's, if only the record got lost.
        """
        current = self.ledger.current(record)  # with what the driver has written down meanwhile
        if self.ledger.is_of_another(current):
            return
        if answer is not None:
            record = replace(self.with_answer(current, answer), name_taken="")  # this call certainly made it
        elif record.name_taken:
            self.ledger.leave(record, str(error))
            return
        else:
            record = current
        try:
            self.unmake(record, error, answer)
        except DriverError as second:
            self.ledger.leave(record, f"{error}; cleaning up failed, too: {second}")
            return
        if not self.ledger.leave_unanswered(record, error):
            self.remove(record)

    # --- deletion

    def delete(self, record: S) -> bool:
        """Delete it and its record; whether it was there still."""
        was = record
        try:
            record = self.intend_deletion(record)
        except NotFound:
            return False
        faultpoints.reach(f"delete-{self.point}.record-written")
        self._refuse_dependents(record, was)
        try:
            self.destroy(record, was=was)
        except InUse as error:
            self.ledger.note_refusal(record, was, error, is_whole=self.is_whole_when_refused(was))
            raise
        except DriverError as error:
            self.ledger.note(record, Status.DELETING, str(error))
            raise
        faultpoints.reach(f"delete-{self.point}.driver-done")
        return self.remove(record)

    def intend_deletion(self, record: S) -> S:
        return self.ledger.intend(record, Status.DELETING)

    def _refuse_dependents(self, record: S, was: S) -> None:
        """Once the intent is visible: whoever adds a dependent looks at the intent afterwards."""
        try:
            self.refuse_dependents(record)
        except InUse as error:
            self.ledger.note_refusal(record, was, error, is_whole=self.is_untouched(was))
            raise
        except CorruptRecord:
            self.ledger.give_back(record, was.status, was.message, owner=was.owner)
            raise
