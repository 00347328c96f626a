"""The values of an object by field of Cinder's object, as persistence plugins of cinderlib store them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def fields_of(resource: Any) -> dict[str, Any]:
    """All loaded values without related objects, with `extra_specs` and `qos_specs` of a volume's type."""
    versioned = resource._ovo
    values = {name: getattr(versioned, name) for name in _simple(versioned) if versioned.obj_attr_is_set(name)}
    kind = _type(versioned)
    if kind is not None:
        values["extra_specs"] = kind.extra_specs
        if kind.qos_specs_id:
            values["qos_specs"] = kind.qos_specs.specs
    return values


def changed_fields(resource: Any) -> dict[str, Any]:
    """As `fields_of`, only what has changed since the object was stored."""
    versioned = resource._ovo
    changed = set(versioned._changed_fields)
    values = {name: getattr(versioned, name) for name in _simple(versioned) if name in changed}
    kind = _type(versioned)
    if kind is not None:
        if "qos_specs" in kind._changed_fields and kind.qos_specs:
            values["qos_specs"] = kind.qos_specs.specs
        if "extra_specs" in kind._changed_fields and kind.extra_specs:
            values["extra_specs"] = kind.extra_specs
    return values


def mark_changed(resource: Any, before: Any = None) -> None:
    """Mark what differs from the stored object; without `before` the object is new, and everything is marked."""
    _mark(resource._ovo, before and before._ovo)
    kind = _type(resource._ovo)
    if kind is not None:
        _mark(kind, before and _type(before._ovo))


def _mark(versioned: Any, before: Any) -> None:
    loaded = [name for name in versioned.fields if versioned.obj_attr_is_set(name)]
    versioned._changed_fields = {name for name in loaded if before is None or _differs(versioned, before, name)}


def _differs(versioned: Any, before: Any, name: str) -> bool:
    if not before.obj_attr_is_set(name):
        return True
    now, then = getattr(versioned, name), getattr(before, name)
    if name == "qos_specs" and now and then:
        return bool(now.specs != then.specs)
    return not _is_object(versioned.fields, name) and bool(now != then)


def _simple(versioned: Any) -> list[str]:
    extra = getattr(versioned, "obj_extra_fields", ())
    return [name for name in versioned.fields if name not in extra and not _is_object(versioned.fields, name)]


def _type(versioned: Any) -> Any:
    """The volume type, of a volume only."""
    has_type = "volume_type" in versioned.fields and getattr(versioned, "volume_type_id", None)
    return versioned.volume_type if has_type else None


def _is_object(fields: Mapping[str, Any], name: str) -> bool:
    return "Object" in type(fields[name]).__name__
