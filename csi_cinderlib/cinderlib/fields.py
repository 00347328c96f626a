"""The fields of Cinder's Volume and Snapshot that a user sets: each is kept in the record, or refused with its name.

A field without a column of its own in the record is kept in `record.fields`, where `cinder.rows` reads it. Fields that a newer Cinder adds
are therefore kept, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any, TypeVar

from csi_cinderlib.backend.columns import PROVIDER, plain, update_snapshot, update_volume
from csi_cinderlib.cinder import versioned
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.lifecycle.ledger import noun
from csi_cinderlib.model import times, transitions
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import MULTIATTACH, YES, Snapshot, Source, SourceKind, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB

R = TypeVar("R", Volume, Snapshot)

_GROUPS = "groups of volumes are not supported"
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "id": "cannot be changed",
        "volume_id": "cannot be changed",
        "deleted": "cannot be set; call delete()",
        "volume_type_id": "is derived; set extra_specs and qos_specs of volume_type",
        "group_id": _GROUPS,
        "group": _GROUPS,
        "consistencygroup_id": _GROUPS,
        "consistencygroup": _GROUPS,
        "group_snapshot_id": _GROUPS,
        "group_snapshot": _GROUPS,
        "cgsnapshot_id": _GROUPS,
        "cgsnapshot": _GROUPS,
        "cluster": "cannot be set; set cluster_name",
        "volume": "cannot be set; save the volume itself",
        "snapshots": "cannot be set; call create_snapshot()",
        "volume_attachment": "cannot be set; call connect()",
    }
)
"""Fields that are derived from other records or operations, and what to do instead. Their present value is accepted."""
_OWN = frozenset(
    "display_name size volume_size host multiattach snapshot_id source_volid metadata admin_metadata volume_type status".split()
) | frozenset(PROVIDER)
"""Fields with a column of their own in the record, or with more consequences than a value."""
_IN_PROGRESS = frozenset({"creating", "deleting", "error_deleting", "extending"})
"""Statuses that only an operation sets: a record in one of them is completed or deleted later."""
_CHECKED_LATER = frozenset({"id", "size", "volume_size"})
"""Fields that Cinder's object would truncate, or about which it would warn because the value is not a UUID."""
RESULTS = ("status", "attach_status")
"""Fields that a user may set, and that the next operation sets again."""


def checked(kind: type[Volume] | type[Snapshot], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Cinder's object with the values that Cinder's object would have.

    Raises:
        InvalidRequest: a field does not exist, or its value has the wrong type.
    """
    return {name: _checked(kind, name, value) for name, value in given.items()}


def _checked(kind: type[Volume] | type[Snapshot], name: str, value: Any) -> Any:
    if not versioned.is_field(kind, name):
        raise InvalidRequest(name, f"unsupported field of a {kind.__name__.lower()}")
    if name in _CHECKED_LATER or versioned.is_object(kind, name):
        return value
    return versioned.coerce(kind, name, value)


def set_volume(record: Volume, given: Mapping[str, Any], *, in_use: bool = False) -> Volume:
    """The record with fields set by the user, as `checked` or Cinder's object returns them.

    Args:
        given: `volume_type` is a `VolumeType` or None.
        in_use: whether the volume has connections.

    Raises:
        InvalidRequest: a field cannot be set; the record is not changed.
    """
    kind = given.get("volume_type", record.type)
    _refuse(
        given,
        {"id": {record.id}, "volume_type_id": {record.id if kind else None}, "group_id": {record.group_id or None}},
    )
    own: dict[str, Any] = {}
    if "size" in given:
        own["size"] = whole(given["size"])
    if "host" in given:
        own["host"] = _host(given["host"])
        own["pool"] = own["host"].partition("#")[2] or record.pool
    if "multiattach" in given:
        own["multiattach"] = bool(given["multiattach"])
    if "volume_type" in given:
        own["type"] = kind
    record = replace(_with_source(record, given), **own)
    return _with_rest(update_volume(record, _columns(given)), given, in_use=in_use)


def set_snapshot(record: Snapshot, given: Mapping[str, Any]) -> Snapshot:
    """As `set_volume`."""
    _refuse(given, {"id": {record.id}, "volume_id": {record.volume_id}, "volume_type_id": {record.volume_id, None}})
    if "volume_size" in given:
        record = replace(record, size=whole(given["volume_size"], "volume_size"))
    return _with_rest(update_snapshot(record, _columns(given)), given)


def _refuse(given: Mapping[str, Any], present: Mapping[str, Set[object]]) -> None:
    """
    Args:
        present: the accepted values of fields that are not simply unset.
    """
    for name in given.keys() & _REFUSED.keys():
        value = given[name]
        is_present = value in present[name] if name in present else value is None or value is False
        if not is_present:
            raise InvalidRequest(name, _REFUSED[name])


def _columns(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a driver may set as well."""
    names = ("metadata", "admin_metadata", *PROVIDER)
    return {name: given[name] or {} if "metadata" in name else given[name] for name in names if name in given}


def _with_rest(record: R, given: Mapping[str, Any], *, in_use: bool = False) -> R:
    rest = {name: plain(value) for name, value in given.items() if name not in _OWN and name not in _REFUSED}
    record = replace(record, fields={**record.fields, **rest}) if rest else record
    if "display_name" in given:
        record = _with_name(record, given["display_name"])
    return _with_status(record, given["status"], in_use=in_use) if "status" in given else record


def _with_name(record: R, name: str | None) -> R:
    """An empty name differs from no name, as in Cinder."""
    empty = {} if name is None else {"display_name": ""}
    return replace(record, name=name or "", fields=_without(record, "display_name") | ({} if name else empty))


def _with_status(record: R, status: str | None, *, in_use: bool) -> R:
    """A status is a value for users. Operations depend on the record's own, so that no status makes them destroy data.

    `available` and `in-use` also declare a failed object usable, and every status a new object that exists already. While an operation, an
    import or an adoption has not ended, no status can be set.
    """
    if status == "available" and in_use:
        raise InvalidRequest("status", "the volume is connected; disconnect it first")
    if status == record.status:
        return replace(record, fields=_without(record, "status"))
    if status in _IN_PROGRESS:
        raise InvalidRequest("status", f"only an operation sets {status!r}; call it instead")
    is_new = record.status is Status.CREATING and not record.revision
    if not is_new and record.status not in transitions.USER:
        raise InvalidRequest("status", f"cannot be set while the {noun(record)} is {record.status} (got {status!r})")
    own = Status.AVAILABLE if is_new or status in ("available", "in-use", None) else record.status
    derived = "in-use" if in_use else "available"
    kept = {} if status in (derived, None) else {"status": status}
    if own is not record.status:  # the user declares it whole, so a later clean-up must not delete it
        record = replace(record, unfinished=False, message="")
    return replace(record, status=own, fields=_without(record, "status") | kept)


def without_results(record: R) -> R:
    """The record after an operation, which replaces a status that the user has set."""
    return replace(record, fields=_without(record, *RESULTS)) if record.fields.keys() & set(RESULTS) else record


def _without(record: Volume | Snapshot, *names: str) -> dict[str, object]:
    return {name: value for name, value in record.fields.items() if name not in names}


def _with_source(record: Volume, given: Mapping[str, Any]) -> Volume:
    """Cinder's volume has two fields for its source. The record's source is the snapshot if both are set."""
    if not given.keys() & {"snapshot_id", "source_volid"}:
        return record
    kept: dict[str, Any] = {name: record.fields.get(name) for name in ("snapshot_id", "source_volid")}
    if record.source:
        kept["snapshot_id" if record.source.kind is SourceKind.SNAPSHOT else "source_volid"] = record.source.id
    kept |= {name: given[name] for name in kept if name in given}
    snapshot, volume = kept["snapshot_id"], kept["source_volid"]
    fields = _without(record, "snapshot_id", "source_volid")
    if snapshot:
        both = {"source_volid": volume} if volume else {}
        return replace(record, source=Source(SourceKind.SNAPSHOT, str(snapshot)), fields={**fields, **both})
    return replace(record, source=Source(SourceKind.VOLUME, str(volume)) if volume else None, fields=fields)


def _host(host: Any) -> str:
    if not host:
        raise InvalidRequest("host", "must be set, for example host@backend#pool")
    return str(host)


def whole(size: Any, name: str = "size") -> GiB:
    """Parse a size in whole GiB, given as a number or digits. Raises InvalidRequest."""
    text = str(size).removesuffix(".0") if isinstance(size, float) else str(size)
    if isinstance(size, bool) or not (text.isascii() and text.isdigit() and int(text)):
        raise InvalidRequest(name, f"must be a whole number of GiB of at least 1 (got {size!r})")
    return GiB(int(text))


def volume_type(extra: Any, qos: Any) -> VolumeType | None:
    """The type of a volume with these specs, or None without any."""
    extra, qos = versioned.coerce_specs("extra_specs", extra or {}), versioned.coerce_specs("qos_specs", qos or {})
    return VolumeType(extra_specs=extra, qos_specs=qos) if extra or qos else None


def is_shared(kind: VolumeType | None) -> bool:
    """Whether volumes of this type can be attached to several hosts."""
    return bool(kind and kind.extra_specs.get(MULTIATTACH) == YES)


def moment(value: Any) -> str:
    """A time as records store it; "" for None."""
    return times.stamp(value) if value else ""
