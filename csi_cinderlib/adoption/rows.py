"""The tables and columns of cinderlib that are read, and values that no row of them may have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_cinderlib.errors import InvalidRequest

Row = Mapping[str, Any]
Tables = Mapping[str, tuple[Row, ...]]
"""Rows by table."""

KEY_VALUES = "cinderlib_persistence_key_value"
_PAIR = "deleted key value"
REQUIRED: Mapping[str, frozenset[str]] = {
    table: frozenset(columns.split())
    for table, columns in {
        "volumes": "id deleted created_at host size status display_name display_description provider_location provider_auth provider_id "
        "provider_geometry volume_type_id snapshot_id source_volid multiattach bootable user_id project_id encryption_key_id _name_id "
        "group_id consistencygroup_id replication_status replication_driver_data replication_extended_status",
        "volume_metadata": f"volume_id {_PAIR}",
        "volume_admin_metadata": f"volume_id {_PAIR}",
        "snapshots": "id deleted created_at volume_id volume_size status display_name display_description provider_location provider_auth "
        "provider_id user_id project_id encryption_key_id group_snapshot_id cgsnapshot_id",
        "snapshot_metadata": f"snapshot_id {_PAIR}",
        "volume_attachment": "id deleted created_at volume_id connection_info connector attach_mode attached_host instance_uuid mountpoint",
        "volume_types": "id deleted qos_specs_id",
        "volume_type_extra_specs": f"volume_type_id {_PAIR}",
        "quality_of_service_specs": f"id created_at updated_at specs_id {_PAIR}",
        KEY_VALUES: "key value",
    }.items()
}
"""Columns by table. Every version of cinderlib has them, so a missing one means that values would be lost without a word."""
OPTIONAL: Mapping[str, frozenset[str]] = {
    "driver_initiator_data": frozenset("id initiator namespace key value".split()),
    "services": frozenset(),
}
"""As REQUIRED, for tables that may be missing."""


def check(row: Row) -> None:
    """Raises InvalidRequest for a value that would be misread: bytes as text, or a text as the mark of a deleted row."""
    for name, value in row.items():
        if isinstance(value, bytes):
            raise InvalidRequest(name, "is not UTF-8 text")
    deleted = row.get("deleted")
    if not (deleted is None or isinstance(deleted, int)):
        raise InvalidRequest("deleted", f"must be true or false (got a {type(deleted).__name__})")


def label(row: Row) -> str:
    """How a row is named in reports."""
    return repr(row["key"]) if "id" not in row and "key" in row else str(row.get("id", ""))
