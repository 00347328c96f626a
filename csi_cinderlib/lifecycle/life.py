"""The life cycle of a record: store the intent, call the driver, finish, undo or resume, delete.

A record with the operation and its owner is stored before a driver creates an object. After a failure, only objects that this call
certainly created are removed; otherwise the record is kept in ERROR. After a crash the same call finishes or undoes the operation.
`volumes`, `snapshots` and `groups` implement the differences between the kinds.
"""

from __future__ import annotations

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
from csi_cinderlib.lifecycle import dependents, leftovers
from csi_cinderlib.lifecycle.dependents import Origin
from csi_cinderlib.lifecycle.ledger import UNFINISHED, Ledger, log_values, noun
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import GroupSnapshot, Provider, Snapshot, Status, Volume
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.optimistic import change

S = TypeVar("S", Volume, Snapshot, GroupSnapshot)
L = TypeVar("L")
"""The source of the object."""
A = TypeVar("A")
"""The answer of a driver to a creation."""
_log = logs.logger(__name__)


class Life(ABC, Generic[S, L, A]):
    """The life cycle of volumes, snapshots or group snapshots on one back end.

    Attributes:
        point: the kind as used in the names of fault points.
    """

    point: ClassVar[str]

    def __init__(self, ledger: Ledger, driver: Driver, room: Room) -> None:
        self.ledger = ledger
        self.store = ledger.store
        self.driver = driver
        self.room = room

    # --- differences between the kinds

    @abstractmethod
    def list_objects(self, record: S) -> Sequence[Volume | Snapshot]:
        """The objects on the back end: the object itself, or the members of a group snapshot. Raises CorruptRecord."""

    @abstractmethod
    def load_source(self, record: S) -> L:
        """Load the source. Call it after the intent is stored.

        A deletion of the source counts dependents after storing its own intent, so at least one of both sees the other.

        Raises:
            NotFound, OperationPending, PreconditionFailed: see `lookup.check_copyable`.
        """

    @abstractmethod
    def create_on_backend(self, record: S, source: L) -> A:
        """Call the driver to create the object. Raises the errors of the driver, and NameTaken if the driver must not be called."""

    @abstractmethod
    def apply_answer(self, record: S, answer: A) -> S:
        """Return the record with the answer of the driver."""

    def keep_ids(self, record: S, answer: A) -> S:
        """Return the record with what the deletion of an object needs whose result could not be stored."""
        return self.apply_answer(record, answer)

    @abstractmethod
    def delete_on_backend(self, record: S, *, was: S | None = None, origin: Origin | None = None) -> None:
        """Call the driver to delete the object, or what exists of it. Objects that the driver cannot find are noted.

        Args:
            was: the record before the deletion; None if a creation is undone.
            origin: of a snapshot, if it is known.
        """

    def undo_on_backend(self, record: S, error: DriverError, answer: A | None) -> None:  # noqa: ARG002  # for subclasses
        """Undo a creation that failed with this error, or whose record was lost after this answer."""
        self.delete_on_backend(record)

    @abstractmethod
    def remove_record(self, record: S) -> bool:
        """Remove the record and its dependent records. Returns whether it existed."""

    def remove_deleted(self, record: S, origin: Origin | None) -> bool:  # noqa: ARG002  # for subclasses
        """As `remove_record`, after a deletion for which `origin` was read."""
        return self.remove_record(record)

    def refuse_dependents(self, record: S) -> Origin | None:
        """Raises InUse if another object depends on it, CorruptRecord if this is not known.

        Returns:
            What it has read for the driver.
        """
        dependents.refuse_copies(self.ledger, *self.list_objects(record))
        return None

    def is_untouched(self, was: S) -> bool:
        """Whether no earlier deletion can have called the driver."""
        return was.status is not Status.DELETING

    def is_whole_when_refused(self, was: S) -> bool:
        """Whether the object is certainly complete when the driver reports it in use."""
        return was.status is not Status.DELETING

    # --- creation

    def prepare(self, record: S) -> S:
        """Return the record with the intent to create it."""
        now = record.created_at or self.ledger.now()
        return replace(record, status=Status.CREATING, owner=self.ledger.owner, created_at=now)

    def create_intended(self, record: S) -> S:
        """Create the object after its intent was stored, and store the answer of the driver."""
        faultpoints.reach(f"create-{self.point}.record-written")
        try:
            source = self.load_source(record)
        except DriverError:
            self.remove_record(record)
            raise
        return self._create(record, source, is_first=True)

    def resume(self, record: S) -> S:
        """Finish an interrupted creation: undo it and start again.

        An object in CREATING or ERROR was never returned to a caller, so it contains no data.
        """
        if record.status is Status.AVAILABLE:
            return record
        if record.status not in UNFINISHED:
            raise PreconditionFailed(f"{noun(record)} {record.id!r} is {record.status}; its creation cannot be resumed")
        leftovers.refuse_restored(noun(record), record.id, record.name_taken)
        self.room.check()
        record = self.prepare_retry(self.ledger.intend(record, Status.CREATING))
        source = self._load_source_again(record)
        if not record.name_taken:  # else the object belongs to another record or may be deleted
            is_clean = self._clean_up(record)
            record = self.ledger.current(record)
            if is_clean:
                record = change(self.store, record, self.forget_ids)
            source = self._load_source_again(record)  # the clean-up may have changed both
        return self._create(record, source)

    def _load_source_again(self, record: S) -> L:
        try:
            return self.load_source(record)
        except DriverError as error:
            self.ledger.note(record, Status.ERROR, str(error), owner="")  # an earlier attempt may have left an object
            raise

    def prepare_retry(self, record: S) -> S:
        """Prepare a record, and its dependent records, for another creation attempt."""
        return record

    def forget_ids(self, record: S) -> S:
        """Remove the provider ids of a deleted object, so the driver does not look for a new object by them."""
        return replace(record, provider=Provider()) if isinstance(record, Volume | Snapshot) else record

    def _clean_up(self, record: S) -> bool:
        """Delete the remains of an earlier attempt and return whether this succeeded."""
        try:
            self.delete_on_backend(record)
        except (BackendUnavailable, StoreUnavailable):
            raise
        except DriverError as error:
            # Usually there was nothing to delete. Otherwise the next creation fails with an error.
            _log.info("clean-up before retry failed", **log_values(record), reason=str(error))
            return False
        return True

    def _create(self, record: S, source: L, *, is_first: bool = False) -> S:
        try:
            answer = self.create_on_backend(record, source)
        except NameTaken:
            raise  # the driver was not called, and the record has the reason
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
        except DriverError as error:
            self._leave_created(record, answer, error)
            raise

    def _leave_created(self, record: S, answer: A, error: DriverError) -> None:
        """Keep the record of an object whose answer could not be stored, with the answer if possible: deletion may need its ids.

        The object is not deleted: if the store has only lost the acknowledgement, another call may use it already.
        """
        message = f"created, but the result could not be stored: {error}"

        def failed(current: S) -> S:
            self.ledger.check_own(current, Status.CREATING)
            return replace(self.keep_ids(current, answer), status=Status.ERROR, message=message, owner="")

        try:
            change(self.store, record, failed)
        except DriverError:
            self.ledger.give_back(record, Status.ERROR, message)

    def finish(self, record: S, answer: A) -> S:
        """Store the result. Raises NotFound or StaleRecord if another process has taken over the record."""
        return self.write_result(record, answer)

    def write_result(self, record: S, answer: A, **values: Any) -> S:
        """Store the result and additional values. Raises the errors of `finish`."""

        def finished(current: S) -> S:
            self.ledger.check_own(current, Status.CREATING)
            done = self.apply_answer(current, answer)
            return replace(done, status=Status.AVAILABLE, name_taken="", owner="", message="", **values)

        return change(self.store, record, finished)

    def _undo(self, record: S, error: DriverError, answer: A | None = None) -> None:
        """Undo a failed creation, or keep a record with the reason if that fails.

        Args:
            answer: the answer of the driver, if the creation succeeded and only the record was lost.
        """
        current = self.ledger.current(record)  # with values that the driver has stored since
        if self.ledger.is_of_another(current):
            return
        if answer is not None:
            record = replace(self.apply_answer(current, answer), name_taken="")  # this call certainly created it
        elif record.name_taken:
            self.ledger.leave(record, str(error))
            return
        else:
            record = current
        try:
            self.undo_on_backend(record, error, answer)
        except DriverError as second:
            self.ledger.leave(record, f"{error}; clean-up failed as well: {second}")
            return
        if not self.ledger.leave_unanswered(record, error):
            self.remove_record(record)

    # --- deletion

    def delete(self, record: S) -> bool:
        """Delete the object and its record. Returns whether the record existed."""
        was = record
        try:
            record = self.ledger.intend_deletion(record)
        except NotFound:
            return False
        faultpoints.reach(f"delete-{self.point}.record-written")
        origin = self._refuse_dependents(record, was)
        try:
            if record.name_taken:
                self.leave_on_backend(record)
            else:
                self.delete_on_backend(record, was=was, origin=origin)
        except InUse as error:
            self.ledger.note_refusal(record, was, error, is_whole=self.is_whole_when_refused(was))
            raise
        except DriverError as error:
            self.ledger.note(record, Status.DELETING, str(error))
            raise
        faultpoints.reach(f"delete-{self.point}.driver-done")
        return self.remove_deleted(record, origin)

    def leave_on_backend(self, record: S) -> None:
        """Note for an operator an object of the same name that this driver must not delete."""
        for item in self.list_objects(record):
            self.ledger.note_leftover(item, self.driver.name_of(item), leftovers.why(record.name_taken))

    def _refuse_dependents(self, record: S, was: S) -> Origin | None:
        """Call it after the intent is stored: a call that adds a dependent checks the intent afterwards."""
        try:
            return self.refuse_dependents(record)
        except InUse as error:
            self.ledger.note_refusal(record, was, error, is_whole=self.is_untouched(was))
            raise
        except CorruptRecord:
            self.ledger.give_back(record, was.status, was.message, owner=was.owner)
            raise
