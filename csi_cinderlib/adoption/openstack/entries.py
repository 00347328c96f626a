"""The volumes of a Cinder database, each with all rows that concern it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from csi_cinderlib.adoption.rows import Row, Tables
from csi_cinderlib.adoption.volume_types import pairs
from csi_cinderlib.model.records import VolumeType

_HEAD, _CONSUMER = "QoS_Specs_Name", "consumer"
_NONE: tuple[Row, ...] = ()
_SECRET = frozenset({"provider_auth", "connection_info", "connector"})
"""Columns that may contain CHAP passwords."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One volume.

    Attributes:
        row: its row in `volumes`.
        others: the other rows that concern it, by table.
        is_served: a running cinder-volume service manages it.
        twins: other volumes of the database that have the same object, or may get it.
    """

    row: Row = field(repr=False)
    others: Mapping[str, Sequence[Row]] = field(repr=False)
    is_served: bool = False
    twins: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def name(self) -> str:
        return str(self.row.get("display_name") or "")

    @property
    def project(self) -> str:
        return str(self.row.get("project_id") or "")

    @property
    def host(self) -> str:
        return str(self.row.get("host") or "")

    @property
    def service(self) -> str:
        """The `host@backend` of its cinder-volume service."""
        return self.host.partition("#")[0]

    @property
    def status(self) -> str:
        return str(self.row.get("status") or "")

    @property
    def type_name(self) -> str:
        """The name of its type, or the id of a type that is missing."""
        named = [str(row.get("name") or "") for row in self.of("volume_types")]
        return named[0] if named else str(self.row.get("volume_type_id") or "")

    @property
    def type(self) -> VolumeType | None:
        """Its type with extra specs and QoS specs; None without one."""
        if not self.of("volume_types"):
            return None
        qos = _values(self.of("quality_of_service_specs"))
        consumer = qos.pop(_CONSUMER, "back-end")
        extra = _values(self.of("volume_type_extra_specs"))
        return VolumeType(name=self.type_name, extra_specs=extra, qos_specs=qos, qos_consumer=consumer)

    @property
    def metadata(self) -> dict[str, str]:
        return _values(self.of("volume_metadata"))

    @property
    def admin_metadata(self) -> dict[str, str]:
        return _values(self.of("volume_admin_metadata"))

    @property
    def image_metadata(self) -> dict[str, str]:
        """The properties of the image that it was made of."""
        return _values(self.of("volume_glance_metadata"))

    @property
    def snapshots(self) -> tuple[Row, ...]:
        """Its snapshots in the order of ids, each with its `metadata` as a mapping."""
        metadata = pairs(self.of("snapshot_metadata"), "snapshot_id")
        return tuple({**row, "metadata": metadata.get(str(row["id"]), {})} for row in self.of("snapshots"))

    def of(self, table: str) -> Sequence[Row]:
        """Its rows in a table."""
        return self.others.get(table, _NONE)

    def all_rows(self) -> Iterator[tuple[str, Row]]:
        """All rows, each with its table."""
        yield "volumes", self.row
        for table, rows in sorted(self.others.items()):
            yield from ((table, row) for row in rows)

    @property
    def fingerprint(self) -> str:
        """Changes with any value of any row, except those that may be passwords: they must not be found by trial."""
        lines = sorted(json.dumps([table, _public(row)], sort_keys=True, default=str) for table, row in self.all_rows())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _public(row: Row) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in _SECRET}


def entries(tables: Tables, running: Collection[str] = ()) -> tuple[Entry, ...]:
    """All volumes that are not deleted, in the order of ids.

    Args:
        running: `host@backend` of the running cinder-volume services.
    """
    lookups = _lookups(tables)
    volumes = sorted(tables["volumes"], key=lambda row: str(row["id"]))
    owners: dict[str, set[str]] = defaultdict(set)
    for row in volumes:
        for name in _names(row):
            owners[name].add(str(row["id"]))
    return tuple(
        Entry(
            row,
            {table: found for table, find in lookups.items() if (found := find(row))},
            str(row.get("host") or "").partition("#")[0] in running,
            tuple(sorted({id for name in _names(row) for id in owners[name]} - {str(row["id"])})),
        )
        for row in volumes
    )


def _names(row: Row) -> set[str]:
    """The ids that the name of its object may contain."""
    return {str(row["id"]), str(row.get("_name_id") or row["id"])}


def _lookups(tables: Tables) -> dict[str, Callable[[Row], Sequence[Row]]]:
    """How the rows of each table that concern a volume are found, from the row of the volume."""
    by_volume = {
        name: _by(tables[name], "volume_id")
        for name in (
            "volume_metadata",
            "volume_admin_metadata",
            "volume_glance_metadata",
            "snapshots",
            "volume_attachment",
            "image_volume_cache_entries",
            "transfers",
        )
    }
    snapshots, metadata = by_volume["snapshots"], _by(tables["snapshot_metadata"], "snapshot_id")
    workers = _by(tables["workers"], "resource_id")
    of_type = {name: _by(tables[name], "volume_type_id") for name in ("volume_type_extra_specs", "encryption")}
    types, qos = _by(tables["volume_types"], "id"), _by(_values_of_qos(tables), "specs_id")
    services = _by((row for row in tables["services"] if row.get("binary") == "cinder-volume"), "host")

    def kind(row: Row) -> Sequence[Row]:
        return types.get(str(row.get("volume_type_id")), _NONE)

    def qos_of(row: Row) -> Sequence[Row]:
        return [value for found in kind(row) for value in qos.get(str(found.get("qos_specs_id")), _NONE)]

    def of_snapshots(row: Row) -> Sequence[Row]:
        return [
            value for found in snapshots.get(str(row["id"]), _NONE) for value in metadata.get(str(found["id"]), _NONE)
        ]

    def operations(row: Row) -> Sequence[Row]:
        ids = (str(row["id"]), *(str(found["id"]) for found in snapshots.get(str(row["id"]), _NONE)))
        return [worker for id in ids for worker in workers.get(id, _NONE)]

    def service(row: Row) -> Sequence[Row]:
        place = str(row.get("host") or "").partition("#")[0]
        return [_without_heartbeat(found) for found in services.get(place, _NONE)]

    def by(index: Mapping[str, Sequence[Row]], column: str) -> Callable[[Row], Sequence[Row]]:
        return lambda row: index.get(str(row.get(column)), _NONE)

    return {
        **{name: by(index, "id") for name, index in by_volume.items()},
        **{name: by(index, "volume_type_id") for name, index in of_type.items()},
        "volume_types": kind,
        "quality_of_service_specs": qos_of,
        "snapshot_metadata": of_snapshots,
        "workers": operations,
        "services": service,
    }


def _values_of_qos(tables: Tables) -> Iterator[Row]:
    """The values of QoS specs, without the rows with their names."""
    return (row for row in tables["quality_of_service_specs"] if row["key"] != _HEAD and row.get("specs_id"))


def _without_heartbeat(service: Row) -> Row:
    """A service without the columns that it changes all the time."""
    return {name: service.get(name) for name in ("host", "binary", "active_backend_id", "replication_status")}


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row.get("id", ""))):
        if row.get(column) is not None:
            found[str(row[column])].append(row)
    return dict(found)


def _values(rows: Iterable[Row]) -> dict[str, str]:
    return {str(row["key"]): "" if row["value"] is None else str(row["value"]) for row in rows}
