"""The life cycle of volumes, and their extension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from csi_cinderlib import faultpoints
from csi_cinderlib.backend.columns import update_volume
from csi_cinderlib.backend.stats import DriverTraits
from csi_cinderlib.backend.verbs import Columns, Driver
from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    DriverError,
    InUse,
    InvalidRequest,
    NotFound,
    OutOfRange,
    StaleRecord,
    Unsupported,
)
from csi_cinderlib.lifecycle import dependents, kept, lookup
from csi_cinderlib.lifecycle.dependents import Origin
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.lifecycle.life import Life
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.encryption import header_of
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Snapshot, Source, Status, Volume
from csi_cinderlib.model.size import GiB, to_bytes
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.optimistic import change

_log = logs.logger(__name__)


class Volumes(Life[Volume, Snapshot | Volume | None, Columns]):
    point = "volume"

    def __init__(self, ledger: Ledger, driver: Driver, room: Room, traits: Callable[[], DriverTraits]) -> None:
        super().__init__(ledger, driver, room)
        self._traits = traits

    def prepare(self, record: Volume) -> Volume:
        is_new = record.source is None
        return replace(super().prepare(record), began_empty=is_new, blank=is_new)

    def create(self, record: Volume) -> Volume:
        """Store the intent, create the volume, and store the result."""
        self.room.check()
        if record.source is not None:
            encryption, header = self._check_source(record, record.source)
            record = replace(record, encryption=encryption, header=header)
        elif record.encryption:
            record = replace(record, header=header_of(record.id))
        record = self.prepare(record)
        self._leave_file_alone(
            record
        )  # before the record exists: a retry with a record would treat the file as its own
        return self.create_intended(self.store.add(record))

    def _check_source(self, record: Volume, source: Source) -> tuple[str, str]:
        """Return the encryption and the header of the source, which the copy has as well. Raises before a record is stored if it cannot be
        copied.
        """
        found = lookup.get_source(self.store, source)
        if found.backend != record.backend:
            raise Unsupported(
                f"{source.kind} {found.id!r} is on back end {found.backend!r}; a copy on {record.backend!r} is not possible"
            )
        if record.size < found.size:
            least = f"the size of the source {source.kind} ({to_bytes(found.size)})"
            raise OutOfRange("capacity_range", f"{to_bytes(record.size)} bytes is less than {least}")
        volume = found if isinstance(found, Volume) else lookup.find(self.store, Volume, found.volume_id)
        have = volume.encryption if volume else ""
        if record.encryption not in ("", have):
            raise InvalidRequest(
                "encryption", f"must be that of the source {source.kind} {found.id!r}, {have or 'none'}"
            )
        return have, volume.header if volume else ""

    def list_objects(self, record: Volume) -> Sequence[Volume]:
        return (record,)

    def load_source(self, record: Volume) -> Snapshot | Volume | None:
        return lookup.get_source(self.store, record.source) if record.source is not None else None

    def create_on_backend(self, record: Volume, source: Snapshot | Volume | None) -> Columns:
        if record.name_taken:
            self._leave_file_alone(record)
        return self.driver.create_volume(record, source)

    def _leave_file_alone(self, record: Volume) -> None:
        """Raises NameTaken if the file of another volume would be overwritten, AlreadyExists if the file belongs to a known volume."""
        if self._traits().overwrites_files and (path := self.driver.find_file(record)):
            if not record.name_taken and lookup.find(self.store, Volume, record.id):
                raise AlreadyExists("volume", record.id)
            raise self.ledger.leave_alone(record, BackendError(self.driver.name, f"{path} exists"))

    def apply_answer(self, record: Volume, answer: Columns) -> Volume:
        return update_volume(record, answer)

    def finish(self, record: Volume, answer: Columns) -> Volume:
        if record.source is None:
            return self.write_result(record, answer, unfinished=False)
        is_blank = lookup.is_blank(self.store, record.source)
        return self.write_result(record, answer, began_empty=is_blank, blank=is_blank, unfinished=False)

    # --- deletion

    def delete(self, record: Volume, *, has_no_snapshots: bool = False) -> bool:
        """Delete the volume. With independent snapshots its record is kept as DELETED, because they need its data.

        Args:
            has_no_snapshots: refuse a volume with snapshots on every back end.

        Raises:
            PreconditionFailed: its import is not finished, or is being undone.
        """
        kept.refuse_deletion(record)
        dependents.refuse_early(self.store, record, has_no_snapshots=has_no_snapshots)
        if record.status is Status.DELETED:
            self.ledger.forget_deleted_volume(record.id)
            return False
        return super().delete(record)

    def refuse_dependents(self, record: Volume) -> None:
        dependents.refuse_for_volume(self.ledger, record, independent=self._traits().independent_snapshots)

    def is_untouched(self, was: Volume) -> bool:
        """A finished dependent proves that no deletion has called the driver.

        A deletion calls the driver only if it found no dependents after its intent was stored, and no dependent is finished after
        that. Independent snapshots do not count.
        """
        if was.status is not Status.DELETING:
            return True
        finished = {"volume_id": was.id, "status": str(Status.AVAILABLE)}
        if self.store.page(Attachment, limit=1, where=finished).records:
            return True
        counted = not self._traits().independent_snapshots
        return counted and bool(self.store.page(Snapshot, limit=1, where=finished).records)

    def delete_on_backend(self, record: Volume, *, was: Volume | None = None, origin: Origin | None = None) -> None:  # noqa: ARG002  # of snapshots
        if kept.is_kept(record):
            self.driver.remove_export(record, ())  # the next owner must not inherit it
            return
        unfinished = was is None or record.unfinished
        if was is not None and not unfinished and was.status is not Status.DELETING:
            self._note_missing_file(record)  # not after an earlier attempt, which may have removed it
        outcome = self.driver.delete_volume(record, unfinished=unfinished)
        self.ledger.note_outcome(record, was, outcome)

    def _note_missing_file(self, record: Volume) -> None:
        if self._traits().deletes_by_rm and self.driver.misses_file(record):
            reason = "its file was not found on the share on deletion"
            self.ledger.note_leftover(record, self.driver.name_of(record), reason)

    def remove_record(self, record: Volume) -> bool:
        try:
            return self.ledger.remove(record)
        except InUse:  # has snapshots
            change(self.store, record, lambda current: replace(current, status=Status.DELETED, owner="", message=""))
            self.ledger.forget_deleted_volume(record.id)  # the last snapshot may have been deleted since
            return True

    # --- extension

    def extend(self, record: Volume, size: GiB) -> Volume:
        """Extend the volume to `size`. Does nothing if it is not larger.

        An error of the driver is a failure. After an error, or a call without an answer, the next attempt first gets the size on the
        back end: drivers that extend by a difference would add it again. So does the first attempt for a volume that is not managed, because
        others may have extended it, and some drivers would shrink it.
        """
        resumed = record.status is Status.EXTENDING
        lookup.check_whole(record)
        if size <= record.size and not resumed:
            return record
        self.room.check()
        attachments = self.ledger.attachments(record.id)
        tried = record.target_size
        size = max(size, tried or size) if resumed else size
        record = self.ledger.intend(record, Status.EXTENDING, target_size=size, adoption="")
        faultpoints.reach("expand.record-written")
        doubt = ""
        if tried is not None or kept.is_kept(record):
            record, doubt = self._look(record, attachments)
        if record.size < size:
            self._extend(record, attachments, size, doubt)
        faultpoints.reach("expand.driver-done")

        def finished(current: Volume) -> Volume:
            self.ledger.check_own(current, Status.EXTENDING)
            grown = max(size, current.size)
            return replace(current, status=Status.AVAILABLE, size=grown, target_size=None, owner="", message="")

        try:
            return change(self.store, record, finished)
        except (NotFound, StaleRecord):
            raise
        except DriverError as error:  # stays EXTENDING: a copy of its recorded size would lose data
            self.ledger.give_back(record, Status.EXTENDING, f"extended, but the result could not be stored: {error}")
            raise

    def _look(self, record: Volume, attachments: tuple[Attachment, ...]) -> tuple[Volume, str]:
        """Return the record with its size on the back end, and why the size is unknown, or ""."""
        try:
            size = self.driver.size_of_volume(record, attachments)
        except DriverError as error:
            _log.info("volume size unknown", volume=record.id, backend=self.driver.name, reason=str(error))
            return record, f"; an earlier attempt may have succeeded, and the size on the back end is unknown: {error}"
        return change(self.store, record, lambda current: replace(current, size=size)), ""

    def _extend(self, record: Volume, attachments: tuple[Attachment, ...], size: GiB, doubt: str) -> None:
        try:
            self.driver.extend_volume(record, attachments, size)
        except DriverError as error:
            self.ledger.give_back(record, Status.AVAILABLE, f"extend failed: {error}{doubt}")
            if doubt and isinstance(error, BackendError):
                raise type(error)(error.backend, f"{error.message}{doubt}") from error
            raise
