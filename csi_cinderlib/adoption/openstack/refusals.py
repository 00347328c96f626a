"""Decides which volumes of Cinder cannot be adopted, and says why. Pure.

A volume is adopted only at rest: nothing uses it, no operation of Cinder is in progress or was interrupted, and everything that Cinder knows
about it has a place in this program's records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from csi_cinderlib.adoption import rows
from csi_cinderlib.adoption.openstack.entries import Entry
from csi_cinderlib.errors import InvalidRequest

FENCED = "maintenance"
"""The status in which an operator can put a volume, so that Cinder accepts no call for it but a forced deletion."""
_AT_REST = frozenset({"available", FENCED})
_NOT_MIGRATING = frozenset({"", "none", "success", "error"})
_NOT_REPLICATED = frozenset({"", "disabled", "not-capable"})
_YES = "<is> true"


def reasons(entry: Entry) -> tuple[str, ...]:
    """Why a volume cannot be adopted, as clauses; empty if it can."""
    unreadable = tuple(_unreadable(entry))
    return unreadable or tuple(reason for check in _CHECKS for reason in check(entry))


def _unreadable(entry: Entry) -> Iterator[str]:
    for table, row in entry.all_rows():
        try:
            rows.check(row)
        except InvalidRequest as error:
            yield f"{table} {rows.label(row)} {error}"


def _attached(entry: Entry) -> Iterator[str]:
    for row in entry.of("volume_attachment"):
        status = str(row.get("attach_status") or "attached")
        if status != "detached":
            place = row.get("instance_uuid") or row.get("attached_host") or "an unknown host"
            yield f"is {status} to {place} (attachment {row['id']}); detach it first"
    status = str(entry.row.get("attach_status") or "detached")
    if status != "detached":
        yield f"has attach_status {status!r}; detach it first"


def _served(entry: Entry) -> Iterator[str]:
    """Cinder refuses calls for a volume in maintenance. Its snapshots have no such status: they can be deleted and copied."""
    if not entry.is_served or (entry.status == FENCED and not entry.snapshots):
        return
    what = "its snapshots" if entry.status == FENCED else "the volume"
    yield (
        f"cinder-volume of {entry.service} is running, so Cinder can still change or delete {what}; stop that service, or confirm "
        f"with --while-running that nothing uses {what} through Cinder"
    )


def _transient(entry: Entry) -> Iterator[str]:
    if entry.status not in _AT_REST:
        yield f"its status is {entry.status!r}; it must be 'available' or {FENCED!r}"
    for row in entry.snapshots:
        if row.get("status") != "available":
            yield f"its snapshot {row['id']} has the status {row.get('status')!r}; it must be 'available', or be deleted in Cinder"
    for row in entry.of("workers"):
        yield f"an operation of Cinder on {row['resource_type']} {row['resource_id']} is unfinished ({row['status']})"
    for row in entry.of("transfers"):
        yield f"is offered to another project (transfer {row['id']}); delete the transfer first"


def _migrating(entry: Entry) -> Iterator[str]:
    status = str(entry.row.get("migration_status") or "")
    if status not in _NOT_MIGRATING:
        yield f"is being migrated (migration_status {status!r}); finish or reset the migration"


def _replicated(entry: Entry) -> Iterator[str]:
    status = str(entry.row.get("replication_status") or "")
    if status not in _NOT_REPLICATED:
        yield f"is replicated (replication_status {status!r}); disable its replication, or change its type"
    elif entry.type and entry.type.extra_specs.get("replication_enabled", "").lower() == _YES:
        yield f"its type {entry.type_name!r} is replicated; change its type"
    for row in entry.of("services"):
        if row.get("active_backend_id"):
            yield f"its back end {row['host']} has failed over to {row['active_backend_id']!r}; fail it back first"


def _encrypted(entry: Entry) -> Iterator[str]:
    if entry.row.get("encryption_key_id"):
        yield f"is encrypted with the key {entry.row['encryption_key_id']} of Barbican; copy its data to a volume that is not encrypted"
    elif entry.of("encryption"):
        yield f"its type {entry.type_name!r} is encrypted; copy its data to a volume that is not encrypted"


def _grouped(entry: Entry) -> Iterator[str]:
    if group := entry.row.get("consistencygroup_id"):
        yield f"is in the consistency group {group}; remove it from the group first"
    if group := entry.row.get("group_id"):
        yield f"is in the group {group}; remove it from the group first"
    for row in entry.snapshots:
        if group := row.get("group_snapshot_id") or row.get("cgsnapshot_id"):
            yield f"its snapshot {row['id']} belongs to the group snapshot {group}; delete the group snapshot first"


def _internal(entry: Entry) -> Iterator[str]:
    for row in entry.of("image_volume_cache_entries"):
        yield f"belongs to Cinder's image cache (image {row['image_id']})"
    if image := entry.metadata.get("glance_image_id"):
        yield f"holds the data of the image {image} for Glance"
    if entry.admin_metadata.get("temporary") or entry.row.get("use_quota") in (False, 0):
        yield "is a temporary volume of Cinder"


def _clustered(entry: Entry) -> Iterator[str]:
    if cluster := entry.row.get("cluster_name"):
        yield f"is managed by the cluster {cluster} of several cinder-volume services, whose locks csi-cinderlib does not share"


def _shared(entry: Entry) -> Iterator[str]:
    for id in entry.twins:
        yield f"has the same name on the array as volume {id} (_name_id), as after an interrupted migration; repair it in Cinder"


def _untyped(entry: Entry) -> Iterator[str]:
    if entry.row.get("volume_type_id") and not entry.of("volume_types"):
        yield f"its type {entry.row['volume_type_id']} does not exist, so its extra specs are unknown"


_CHECKS: tuple[Callable[[Entry], Iterator[str]], ...] = (
    _attached,
    _served,
    _transient,
    _migrating,
    _replicated,
    _encrypted,
    _grouped,
    _internal,
    _clustered,
    _untyped,
    _shared,
)
