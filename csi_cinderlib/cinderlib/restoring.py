"""The objects that persistence plugins create for what they have stored: from Cinder's object or from its fields.

Constructors use this for `__ovo`, and for every call while a plugin is being called.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import default

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
