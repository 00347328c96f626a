"""Snapshots, also of attached volumes: what is particular in their life."""

from __future__ import annotations

from collections.abc import Callable

from csi_cinderlib.backend.columns import update_snapshot
from csi_cinderlib.backend.stats import Traits
from csi_cinderlib.backend.verbs import Columns, Driver
from csi_cinderlib.errors import Unsupported
from csi_cinderlib.lifecycle import leftovers, lookup
from csi_cinderlib.lifecycle.ledger import UNFINISHED, Ledger
from csi_cinderlib.lifecycle.life import Life
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Status, Volume


class Snapshots(Life[Snapshot, Volume, Columns]):
    point = "snapshot"

    def __init__(self, ledger: Ledger, driver: Driver, room: Room, traits: Callable[[], Traits]) -> None:
        super().__init__(ledger, driver, room)
        self._traits = traits

    def create(self, record: Snapshot) -> Snapshot:
        """Raises Unsupported when this driver's volume could not be attached any more after a snapshot."""
        if not self._traits().takes_snapshots:
            raise Unsupported(
                f"back end {self.driver.name!r} cannot take snapshots: its driver would put a qcow2 file over the volume's "
                "own, and the kernel attaches raw files only"
            )
        self.room.check()
        volume = lookup.get_source_volume(self.store, record.volume_id)
        self.ledger.attachments(volume.id)  # one that cannot be read ends it before anything is begun
        return super().create(record)

    def look(self, record: Snapshot) -> Volume:
        return lookup.get_source_volume(self.store, record.volume_id)

    def make(self, record: Snapshot, volume: Volume) -> Columns:
        return self.driver.create_snapshot(record, volume, self.ledger.attachments(volume.id))

    def with_answer(self, record: Snapshot, answer: Columns) -> Snapshot:
        return update_snapshot(record, answer)

    def finish(self, record: Snapshot, answer: Columns) -> Snapshot:
        blank = lookup.is_blank(self.store, Source(SourceKind.VOLUME, record.volume_id))
        return self.write_result(record, answer, blank=blank, unfinished=False)

    def intend_deletion(self, record: Snapshot) -> Snapshot:
        unfinished = record.unfinished or record.status in UNFINISHED
        return self.ledger.intend(record, Status.DELETING, unfinished=unfinished)

    def refuse_dependents(self, record: Snapshot) -> None:
        self.ledger.refuse_copies(record)

    def destroy(self, record: Snapshot, *, was: Snapshot | None = None) -> None:
        if was is not None and record.name_taken:
            self.ledger.note_leftover(record, self.driver.name_of(record), leftovers.why(record.name_taken))
            return
        outcome = self.driver.delete_snapshot(record, unfinished=was is None or record.unfinished)
        self.ledger.note_outcome(record, was, outcome)

    def remove(self, record: Snapshot) -> bool:
        return self.ledger.remove_snapshot(record)
