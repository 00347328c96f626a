"""The records of an adopted volume and its snapshots. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from csi_cinderlib.adoption import mapping
from csi_cinderlib.adoption.openstack.entries import Entry
from csi_cinderlib.adoption.openstack.places import Place
from csi_cinderlib.adoption.openstack.refusals import FENCED
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import MULTIATTACH, Record, Snapshot, Volume
from csi_cinderlib.persistence import codec

VOLUME_TEMPLATE, SNAPSHOT_TEMPLATE = "volume-%s", "snapshot-%s"
"""Cinder's defaults of volume_name_template and snapshot_name_template."""


TYPE_LABEL = "cinder-type"


@dataclass(frozen=True, slots=True)
class Names:
    """The templates of the names on the storage, as in Cinder's section [DEFAULT]."""

    volume: str = VOLUME_TEMPLATE
    snapshot: str = SNAPSHOT_TEMPLATE

    @property
    def given(self) -> dict[str, str]:
        """By Cinder's option."""
        return {"volume_name_template": self.volume, "snapshot_name_template": self.snapshot}

    def of(self, record: Volume | Snapshot) -> str:
        """The name on the storage. Some drivers find the object by the id that the array has given instead."""
        if isinstance(record, Snapshot):
            return _filled("snapshot_name_template", self.snapshot, record.id)
        return _filled("volume_name_template", self.volume, str(record.fields.get("_name_id") or record.id))


def _filled(option: str, template: str, id: str) -> str:
    try:
        return template % id
    except (TypeError, ValueError):
        raise InvalidRequest(f"cinder_defaults.{option}", f"must contain %s once (got {template!r})") from None


@dataclass(frozen=True, slots=True)
class Adopted:
    """What is written for one volume."""

    volume: Volume
    snapshots: tuple[Snapshot, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        return (self.volume, *self.snapshots)


def adopted(entry: Entry, place: Place) -> Adopted:
    """The records. The volume never counts as new, so that no node formats it. Raises InvalidRequest, naming a column.

    The name of its type in Cinder is a label: a type of the configuration with the same name is another one.
    """
    image = entry.image_metadata
    columns = {
        **entry.row,
        "host": place.host,
        "status": "available" if entry.status == FENCED else entry.status,
        "metadata": entry.metadata,
        "admin_metadata": {key: value for key, value in entry.admin_metadata.items() if key != "temporary"},
        **({"glance_metadata": image} if image else {}),
    }
    volume = mapping.volume_record(columns, entry.type and replace(entry.type, name=""))
    if entry.type:
        volume = replace(volume, labels={**volume.labels, TYPE_LABEL: entry.type.name})
    snapshots = tuple(mapping.snapshot_record(row, place.backend) for row in entry.snapshots)
    made = Adopted(volume, snapshots)
    for record in made.records:
        codec.keys(record)
        codec.to_text(record).encode()
    return made


def notes(entry: Entry, record: Volume) -> tuple[str, ...]:
    """What an operator should know about an adopted volume, as clauses."""
    found = []
    if entry.admin_metadata.get("readonly", "").lower() == "true":
        found.append("is read-only in Cinder; make its PersistentVolume read-only")
    if record.source:
        found.append(f"was created from {record.source.kind} {record.source.id}, on which the array may depend")
    if entry.row.get("terminated_at"):  # Cinder sets it first, and a reset of the status keeps it
        found.append("its deletion was begun in Cinder and did not succeed; check its data")
    if entry.row.get("migration_status") == "error":
        found.append("a migration of it failed; check that the array has no second copy")
    if entry.row.get("bootable"):
        found.append("is bootable, so it probably contains a partition table; use it as a block device")
    if record.multiattach or (record.type and MULTIATTACH in record.type.extra_specs):
        found.append("can be attached to several nodes")
    if record.type and record.type.qos_specs and record.type.qos_consumer != "back-end":
        limits = ", ".join(sorted(record.type.qos_specs))
        found.append(f"has QoS that only a hypervisor can enforce ({limits}); it is without these limits here")
    return tuple(found)
