"""The tables and columns of Cinder's database that are read. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.adoption.rows import REQUIRED

_PAIR = "deleted key value"
TABLES: Mapping[str, frozenset[str]] = {
    **{
        name: REQUIRED[name]
        for name in (
            "volume_metadata",
            "volume_admin_metadata",
            "snapshots",
            "snapshot_metadata",
            "volume_type_extra_specs",
            "quality_of_service_specs",
        )
    },
    "volumes": REQUIRED["volumes"]
    | frozenset("attach_status migration_status previous_status cluster_name service_uuid".split()),
    "volume_attachment": frozenset("id deleted volume_id attach_status attached_host instance_uuid".split()),
    "volume_types": REQUIRED["volume_types"] | {"name"},
    **{
        table: frozenset(columns.split())
        for table, columns in {
            "volume_glance_metadata": f"volume_id snapshot_id {_PAIR}",
            "encryption": "deleted volume_type_id provider",
            "image_volume_cache_entries": "volume_id image_id",
            "workers": "deleted resource_type resource_id status",
            "services": "deleted host binary active_backend_id replication_status created_at updated_at",
            "transfers": "id deleted volume_id",
            "driver_initiator_data": "id initiator namespace key value",
        }.items()
    },
}
"""Columns by table. Every release from Train on has them, so a missing one means that values would be lost without a word."""

WITHOUT_MARK = frozenset({"driver_initiator_data", "image_volume_cache_entries"})
"""Tables whose rows are removed when they are deleted, so they have no column `deleted`."""
