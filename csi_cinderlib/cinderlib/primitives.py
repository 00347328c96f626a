"""cinderlib's functions for the JSON of Cinder's objects. There they replaced methods of Cinder's and oslo's classes; here nothing is
replaced, and they work on any object.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib.results import Json


def setup(backend_class: type) -> None:
    """Does nothing: no class is replaced. `backend_class` is not used."""


def obj_to_primitive(
    self: Any,
    target_version: object = None,  # noqa: ARG001  # cinderlib's signature
    version_manifest: object = None,  # noqa: ARG001  # cinderlib's signature
    visited: Collection[int] | None = None,
) -> Json:
    """The JSON of one of Cinder's objects, without repetition.

    Args:
        target_version, version_manifest: not used.
        visited: ids (`id(...)`) of objects to omit.
    """
    return versioned.primitive(self, _above=frozenset(visited or ()))


def obj_from_primitive(
    cls: Any, primitive: Json, context: object = None, original_method: Callable[..., Any] | None = None
) -> Any:
    """One of Cinder's objects of its JSON.

    Args:
        cls: its class.
        original_method: called instead of `cls.obj_from_primitive`.
    """
    result = (original_method or cls.obj_from_primitive)(primitive, context)
    result.cinderlib_data = primitive.get("cinderlib.data")
    return result


def field_ovo_to_primitive(obj: object, attr: str, value: object, visited: Collection[int] | None = None) -> Json:  # noqa: ARG001  # cinderlib's signature
    return obj_to_primitive(value, visited=visited)


def field_to_primitive(self: Any, obj: object, attr: str, value: object, visited: Collection[int] | None = None) -> Any:  # noqa: ARG001  # cinderlib's signature
    """The JSON of a field's value; `self` is the field."""
    return None if value is None else self._type.to_primitive(obj, attr, value)


def iterable_to_primitive(
    self: Any,
    obj: object,
    attr: str,
    value: Iterable[object],
    visited: Collection[int] | None = None,
) -> list[Any]:
    """The JSON of a list or set; `self` is the type of the field."""
    return [
        self._element_type.to_primitive(obj, attr, element) for element in value if id(element) not in (visited or ())
    ]


def dict_to_primitive(
    self: Any,
    obj: object,
    attr: str,
    value: Mapping[str, object],
    visited: Collection[int] | None = None,
) -> Json:
    """The JSON of a dictionary; `self` is the type of the field."""
    return {
        key: self._element_type.to_primitive(obj, f'{attr}["{key}"]', element)
        for key, element in value.items()
        if id(element) not in (visited or ())
    }


def datetime_to_primitive(obj: object, attr: str, value: datetime, visited: Collection[int] | None = None) -> str:  # noqa: ARG001  # cinderlib's signature
    """ISO 8601 with microseconds."""
    zone = value.tzinfo.tzname(None) if value.tzinfo else "UTC"
    return value.strftime("%Y-%m-%dT%H:%M:%S.%f") + ("Z" if zone in {"UTC", "UTC+00:00"} else str(zone))


def wrap_to_primitive(cls: Any) -> None:
    """Let `to_primitive` of a class accept `visited`."""
    method = cls.to_primitive

    @functools.wraps(method)
    def to_primitive(obj: object, attr: str, value: object, visited: object = None) -> Any:  # noqa: ARG001  # accepted, not used
        return method(obj, attr, value)

    cls.to_primitive = staticmethod(to_primitive)


def bare(value: Any) -> Any:
    """The values of the JSON of Cinder's objects, without versions."""
    if isinstance(value, list):
        return [bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "versioned_object.data" in value:
        data = value["versioned_object.data"]
        if set(data) == {"objects"}:
            return bare(data["objects"])
        return {value["versioned_object.name"].lower(): {key: bare(item) for key, item in data.items()}}
    return {key: bare(item) for key, item in value.items()}
