"""What the store knows about the volumes of a Cinder database before their adoption."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from csi_cinderlib.adoption import marks
from csi_cinderlib.adoption.marks import Key, Marks
from csi_cinderlib.adoption.openstack.entries import Entry
from csi_cinderlib.lifecycle.owners import Owners
from csi_cinderlib.model.records import FOREIGN, InitiatorData, Snapshot, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.iteration import walk_with_unreadable

AGAIN = "--again"


@dataclass(frozen=True, slots=True)
class Known:
    """The content of a store.

    Attributes:
        records: volumes and snapshots; None for an unreadable one.
        initiators: values by id.
        owners: of the objects on the back ends. Records that will be added are added to it.
        numbered: volumes by back end and `provider_id`. Volumes that will be added are added to it.
    """

    records: Mapping[Key, Volume | Snapshot | None] = field(default_factory=dict)
    initiators: Mapping[str, str] = field(default_factory=dict, repr=False)
    marks: Marks = field(default_factory=Marks)
    owners: Owners = field(default_factory=Owners)
    numbered: dict[tuple[str, str], str] = field(default_factory=dict)

    def refusals(self, entry: Entry, again: Collection[str] = ()) -> Iterator[str]:
        """Why a volume of Cinder cannot be adopted into this store, as clauses."""
        if ("volume", entry.id) in self.records:
            record = self.records["volume", entry.id]
            unfinished = record is not None and record.status in FOREIGN
            yield "is in the store already" + (
                f", with an unfinished adoption; undo that with --rollback {record.adoption}"
                if record and unfinished
                else ""
            )
        elif self.marks.was_adopted(("volume", entry.id)) and entry.id not in again:
            yield (
                "was adopted before and has been deleted since, so the array may no longer have it; if it does, adopt it with "
                f"{AGAIN} {entry.id}"
            )
        for row in entry.snapshots:
            if ("snapshot", str(row["id"])) in self.records:
                yield f"its snapshot {row['id']} is in the store already"

    def owner(self, records: Iterable[Volume | Snapshot]) -> str:
        """Another record that has an object of one of these, as a clause; "" if there is none. Then they count as owners as well."""
        records = tuple(records)
        found = next(filter(None, map(self.owners.of_record, records)), "")
        if not found:
            for record in records:
                self.owners.add(record)
        return found

    def notes(self, volume: Volume) -> Iterator[str]:
        """What an operator should know about a volume that will be added. Some drivers find volumes by `provider_id`, and others share it."""
        if not volume.provider.id:
            return
        other = self.numbered.setdefault((volume.backend, volume.provider.id), volume.id)
        if other != volume.id:
            yield f"volume {other} has the same provider_id; if the driver finds volumes by it, both are the same object"


def read(store: Store | None) -> Known:
    """Raises CorruptRecord: a mark may be unreadable."""
    if store is None:
        return Known()
    records: dict[Key, Volume | Snapshot | None] = {}
    owners = Owners()
    kind: Any
    for kind in (Volume, Snapshot):
        for item in walk_with_unreadable(store, kind):
            if isinstance(item, str):
                owners.add_unreadable(kind_name(kind), item)
                records[kind_name(kind), item] = None
            else:
                owners.add(item)
                records[kind_name(kind), item.id] = item
    initiators = {
        item if isinstance(item, str) else item.id: "" if isinstance(item, str) else item.value
        for item in walk_with_unreadable(store, InitiatorData)
    }
    volumes = [record for record in records.values() if isinstance(record, Volume)]
    numbered = {(volume.backend, volume.provider.id): volume.id for volume in volumes if volume.provider.id}
    return Known(records, initiators, marks.read(store), owners, numbered)
