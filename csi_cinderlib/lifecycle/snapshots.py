"""The life cycle of snapshots, including those of attached volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from csi_cinderlib.backend.columns import update_snapshot
from csi_cinderlib.backend.stats import DriverTraits
from csi_cinderlib.backend.verbs import Columns, Driver
from csi_cinderlib.errors import Unsupported
from csi_cinderlib.lifecycle import dependents, kept, lookup
from csi_cinderlib.lifecycle.dependents import Origin
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.lifecycle.life import Life
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Status, Volume

_BEING_DELETED = (Status.DELETING, Status.DELETED)


class Snapshots(Life[Snapshot, Volume, Columns]):
    point = "snapshot"

    def __init__(self, ledger: Ledger, driver: Driver, room: Room, traits: Callable[[], DriverTraits]) -> None:
        super().__init__(ledger, driver, room)
        self._traits = traits

    def create(self, record: Snapshot) -> Snapshot:
        """Store the intent, take the snapshot, and store the result.

        Raises:
            Unsupported: a volume of this driver could no longer be attached after a snapshot.
        """
        if not self._traits().takes_snapshots:
            raise Unsupported(
                f"back end {self.driver.name!r} cannot take snapshots: its driver would turn the volume into a qcow2 "
                "overlay, and only raw files can be attached"
            )
        self.room.check()
        volume = self.load_source(record)
        self.ledger.attachments(volume.id)  # an unreadable attachment must fail the call before any change
        record = replace(record, encryption=volume.encryption)
        return self.create_intended(self.store.add(self.prepare(record)))

    def list_objects(self, record: Snapshot) -> Sequence[Snapshot]:
        return (record,)

    def load_source(self, record: Snapshot) -> Volume:
        return lookup.get_source_volume(self.store, record.volume_id)

    def create_on_backend(self, record: Snapshot, volume: Volume) -> Columns:
        return self.driver.create_snapshot(record, volume, self.ledger.attachments(volume.id))

    def apply_answer(self, record: Snapshot, answer: Columns) -> Snapshot:
        return update_snapshot(record, answer)

    def finish(self, record: Snapshot, answer: Columns) -> Snapshot:
        blank = lookup.is_blank(self.store, Source(SourceKind.VOLUME, record.volume_id))
        return self.write_result(record, answer, blank=blank, unfinished=False)

    def refuse_dependents(self, record: Snapshot) -> Origin | None:
        return dependents.refuse_for_snapshot(self.ledger, record)

    def delete(self, record: Snapshot) -> bool:
        """As `Life.delete`. Raises PreconditionFailed: its import is not finished, or is being undone."""
        kept.refuse_deletion(record)
        return super().delete(record)

    def delete_on_backend(self, record: Snapshot, *, was: Snapshot | None = None, origin: Origin | None = None) -> None:
        if kept.is_kept(record):
            return
        unfinished = was is None or record.unfinished
        known = (origin.volume, origin.attachments) if origin is not None else ()
        outcome = self.driver.delete_snapshot(record, *known, unfinished=unfinished)
        self.ledger.note_outcome(record, was, outcome)

    def remove_deleted(self, record: Snapshot, origin: Origin | None) -> bool:
        """Look for a DELETED volume unless there cannot be one: while this snapshot has its record, no deletion of its volume succeeds.

        Unless the snapshots are independent, or the deletion had begun before the volume was read.
        """
        if origin is None or self._traits().independent_snapshots or origin.volume.status in _BEING_DELETED:
            return self.remove_record(record)
        return self.ledger.remove(record)

    def remove_record(self, record: Snapshot) -> bool:
        return self.ledger.remove_snapshot(record)
