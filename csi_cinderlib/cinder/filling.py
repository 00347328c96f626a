"""Fill Cinder's versioned objects from rows: as their `_from_db_object`, but without a call for each field.

Cinder sets each field by a property, which converts the value and marks the field as changed, and then forgets all the marks. This took
more time than the rest of a driver call. Most values of a row have the type of their field already, so they are stored as they are; the field
converts the others. A test compares the objects with Cinder's own, so a change of a class of Cinder's is noticed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

_is_uuid = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class _Plain(NamedTuple):
    """A field that `_from_db_object` copies from the column of the same name."""

    name: str
    attribute: str
    """Where the object stores the value."""
    field: Any
    kind: type | None
    """Values of exactly this type need no conversion; None if all do."""
    is_uuid: bool
    absent: int | None
    """The value of a column that is None."""
    none_as_is: bool


def fill(versioned: Any, row: Mapping[str, Any], **others: Any) -> Any:
    """Set the fields of a new object, with no change marked.

    Args:
        others: the fields that are not copied from the row, and those with another value than in the row.

    Returns:
        The object.
    """
    attributes, cls = vars(versioned), cast("Any", type(versioned))
    for name, attribute, field, kind, is_uuid, absent, none_as_is in _plain_fields(cls):
        value: Any = row.get(name)
        if value is None:
            value = absent
        fits = none_as_is if value is None else type(value) is kind and (not is_uuid or _is_uuid(str(value)))
        if fits:
            attributes[attribute] = value
        elif name not in others:
            attributes[attribute] = field.coerce(versioned, name, value)
    for name, value in others.items():
        attributes[f"_obj_{name}"] = versioned.fields[name].coerce(versioned, name, value)
        if (before := f"_orig_{name}") in attributes:  # a dictionary whose changes Cinder finds by comparison
            attributes[before] = dict(value)
    attributes["_changed_fields"].clear()  # dictionaries mark themselves when they are filled
    return versioned


def changed(versioned: Any) -> set[str]:
    """The changed fields, as `obj_what_changed` tells them, but without a search in the objects of other fields."""
    attributes = vars(versioned)
    changed = {name for name in attributes["_changed_fields"] if name in versioned.fields}
    for name in ("metadata", "admin_metadata", "glance_metadata"):
        if f"_orig_{name}" in attributes and attributes.get(f"_obj_{name}", {}) != attributes[f"_orig_{name}"]:
            changed.add(name)
    return changed


@functools.cache
def _plain_fields(kind: Any) -> tuple[_Plain, ...]:
    return tuple(_plain(name, field) for name, field in kind.fields.items() if name not in kind.OPTIONAL_FIELDS)


def _plain(name: str, field: Any) -> _Plain:
    from oslo_versionedobjects import fields

    type_of_value = type(field._type)
    kinds = {fields.String: str, fields.UUID: str, fields.Integer: int, fields.Boolean: bool}
    return _Plain(
        name=name,
        attribute=f"_obj_{name}",
        field=field,
        kind=kinds.get(type_of_value),
        is_uuid=type_of_value is fields.UUID,
        absent=0 if isinstance(field, fields.IntegerField) else None,
        none_as_is=field.nullable and field.default is fields.UnspecifiedDefault,
    )
