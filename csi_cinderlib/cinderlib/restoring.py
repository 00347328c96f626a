"""The objects that persistence plugins create for what they have stored: from Cinder's object or from its fields.

Constructors use this for `__ovo`, and for every call while a plugin is being called.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import default
from csi_cinderlib.model import records

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library

OVO = "__ovo"
_DATA = "versioned_object.data"
_ALIASES = {"name": "display_name", "description": "display_description"}


def is_stored(fields: Mapping[str, Any]) -> bool:
    """Whether a constructor call is for an object that is stored."""
    return OVO in fields or default.is_serving()


def restored(kind: type, backend: Any, fields: Mapping[str, Any]) -> tuple[Library, Any, Backend | str]:
    """The set-up, record and back end of a stored object.

    Args:
        kind: the class of the record.
        backend: a back end, its name, an object on it, or None: taken from the fields.
        fields: `__ovo` with Cinder's object, or its fields, also `extra_specs` and `qos_specs`.
    """
    data = versioned.primitive(fields[OVO])[_DATA] if OVO in fields else _primitive(fields)
    library: Library = getattr(backend, "_library", None) or default.library()
    name = _name(backend) or _own_name(data)
    record = library.persistence.record(kind, data, name)
    return library, record, library.backends.get(name, name)


def mark(handle: Any, fields: Mapping[str, Any]) -> None:
    """Mark the object made of these fields as deleted if they say so: a plugin may keep deleted objects, and return them.

    The status alone does not say so: it is that of a volume which still has snapshots on the storage.
    """
    versioned_object = fields.get(OVO)
    given = fields if versioned_object is None else _set(versioned_object)
    if _coerced("deleted", given):
        handle._outcome = "deleted"
        handle._deleted_at = _coerced("deleted_at", given)


_MARKS = ("deleted", "deleted_at")


def _set(versioned_object: Any) -> dict[str, Any]:
    known = [name for name in _MARKS if name in versioned_object.fields and versioned_object.obj_attr_is_set(name)]
    return {name: getattr(versioned_object, name) for name in known}


def _coerced(name: str, given: Mapping[str, Any]) -> Any:
    value = given.get(name)
    return None if value is None else versioned.coerce(records.Volume, name, value)


def _name(backend: Any) -> str:
    if backend is None or isinstance(backend, str):
        return backend or ""
    record = getattr(backend, "_record", None)
    return str(record.backend if record is not None else backend.id)


def _own_name(data: Mapping[str, Any]) -> str:
    """The back end in the host of a volume. As in cinderlib, a snapshot has it in `progress`."""
    if host := data.get("host"):
        return str(host).partition("#")[0].rpartition("@")[2]
    return str(data.get("progress") or "")


def _primitive(fields: Mapping[str, Any]) -> dict[str, Any]:
    data = {_ALIASES.get(name, name): _plain(value) for name, value in fields.items()}
    extra, qos = data.pop("extra_specs", None), data.pop("qos_specs", None)
    if extra or qos:
        specs = {_DATA: {"specs": qos, "consumer": "back-end"}} if qos else None
        data["volume_type"] = {_DATA: {"extra_specs": extra or {}, "qos_specs": specs}}
    return data


def _plain(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
