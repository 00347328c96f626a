"""One life of a record: intend, act, finish or undo or resume, delete.

Whatever a driver makes has a record first, that says what is being done and by whom. After a failure only that is removed which this
call certainly made; what is uncertain stays, in ERROR. After a crash the same call finishes or undoes it. `volumes`, `snapshots` and
`groups` say what is particular to their kind.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
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
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import GroupSnapshot, Provider, Snapshot, Status, Volume
from csi_cinderlib.persistence.optimistic import change

S = TypeVar("S", Volume, Snapshot, GroupSnapshot)
L = TypeVar("L")
"""What it is made from."""
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
    def list_objects(self, record: S) -> Sequence[Volume | Snapshot]:
        """What the back end holds of it: itself, or the members of a group snapshot. Raises CorruptRecord."""

    @abstractmethod
    def load_source(self, record: S) -> L:
        """What it is made from, once its intent is visible.

        Whoever deletes that counts the dependents after his own intent is visible: so each looks at the other's.

        Raises:
            NotFound, OperationPending, PreconditionFailed: see `lookup.check_copyable`.
        """

    @abstractmethod
    def create_on_backend(self, record: S, source: L) -> A:
        """Have the driver create it. Raises what the driver raises, and NameTaken where it must not be asked."""

    @abstractmethod
    def apply_answer(self, record: S, answer: A) -> S:
        """The record with what the driver answered in it."""

    @abstractmethod
    def delete_on_backend(self, record: S, *, was: S | None = None) -> None:
        """Have the driver delete what there is, whichever part; what is out of its reach is noted.

        Args:
            was: the record before the deletion; None when a creation is undone.
        """

    def undo_on_backend(self, record: S, error: DriverError, answer: A | None) -> None:  # noqa: ARG002  # for those who need them
        """As `delete_on_backend`, after a creation that failed with this error, or has lost its record after this answer."""
        self.delete_on_backend(record)

    @abstractmethod
    def remove_record(self, record: S) -> bool:
        """Remove the record, and what goes with it; whether it was there."""

    def refuse_dependents(self, record: S) -> None:
        """Raises InUse when something depends on it, or CorruptRecord when nobody can tell."""
        self.ledger.refuse_copies(*self.list_objects(record))

    def is_untouched(self, was: S) -> bool:
        """Whether no earlier deletion can have reached the driver."""
        return was.status is not Status.DELETING

    def is_whole_when_refused(self, was: S) -> bool:
        """Whether nothing of it can be gone when the driver says that it is in use."""
        return was.status is not Status.DELETING

    # --- creation

    def prepare(self, record: S) -> S:
        """The record as its intent is written."""
        now = record.created_at or self.ledger.now()
        return replace(record, status=Status.CREATING, owner=self.ledger.owner, created_at=now)

    def create_intended(self, record: S) -> S:
        """Create what was just written down to be created, and write down what the driver said."""
        faultpoints.reach(f"create-{self.point}.record-written")
        try:
            source = self.load_source(record)
        except DriverError:
            self.remove_record(record)
            raise
        return self._create(record, source, is_first=True)

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
        record = self.prepare_retry(self.ledger.intend(record, Status.CREATING))
        source = self._load_source_again(record)
        if not record.name_taken:  # else what is there is not this one's; perhaps it is gone by now
            is_clean = self._clean_up(record)
            record = self.ledger.current(record)
            if is_clean:
                record = change(self.store, record, self.forget_ids)
            source = self._load_source_again(record)  # the driver may have changed both
        return self._create(record, source)

    def _load_source_again(self, record: S) -> L:
        try:
            return self.load_source(record)
        except DriverError as error:
            self.ledger.note(record, Status.ERROR, str(error), owner="")  # what an earlier attempt left may be there
            raise

    def prepare_retry(self, record: S) -> S:
        """Prepare a record whose creation starts over, and what goes with it."""
        return record

    def forget_ids(self, record: S) -> S:
        """The record without what its driver knew an object by that is deleted: a new one is not to be looked for by it."""
        return replace(record, provider=Provider()) if isinstance(record, Volume | Snapshot) else record

    def _clean_up(self, record: S) -> bool:
        """Whether nothing of an earlier attempt is left."""
        try:
            self.delete_on_backend(record)
        except (BackendUnavailable, StoreUnavailable):
            raise
        except DriverError as error:
            # Most likely there was nothing to delete. If something is there, creating it again fails, and says so.
            _log.info("clean-up before creating %s %s again: %s", noun(record), record.id, error)
            return False
        return True

    def _create(self, record: S, source: L, *, is_first: bool = False) -> S:
        try:
            answer = self.create_on_backend(record, source)
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
            done = self.apply_answer(current, answer)
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
            record = replace(self.apply_answer(current, answer), name_taken="")  # this call certainly made it
        elif record.name_taken:
            self.ledger.leave(record, str(error))
            return
        else:
            record = current
        try:
            self.undo_on_backend(record, error, answer)
        except DriverError as second:
            self.ledger.leave(record, f"{error}; cleaning up failed, too: {second}")
            return
        if not self.ledger.leave_unanswered(record, error):
            self.remove_record(record)

    # --- deletion

    def delete(self, record: S) -> bool:
        """Delete it and its record; whether it was there still."""
        was = record
        try:
            record = self.ledger.intend_deletion(record)
        except NotFound:
            return False
        faultpoints.reach(f"delete-{self.point}.record-written")
        self._refuse_dependents(record, was)
        try:
            if record.name_taken:
                self.leave_on_backend(record)
            else:
                self.delete_on_backend(record, was=was)
        except InUse as error:
            self.ledger.note_refusal(record, was, error, is_whole=self.is_whole_when_refused(was))
            raise
        except DriverError as error:
            self.ledger.note(record, Status.DELETING, str(error))
            raise
        faultpoints.reach(f"delete-{self.point}.driver-done")
        return self.remove_record(record)

    def leave_on_backend(self, record: S) -> None:
        """Note for an operator what has its name on the back end and is not this driver's to delete."""
        for item in self.list_objects(record):
            self.ledger.note_leftover(item, self.driver.name_of(item), leftovers.why(record.name_taken))

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
