"""Make Cinder's versioned objects from rows: as their `_from_db_object`, but without a call for each field.

Cinder sets each field by a property, which converts the value and marks the field as changed, and then forgets all the marks. This took
more time than the rest of a driver call. Here, an object begins as a copy of an object of an empty row, and gets the values that are not
None. Most have the type of their field already, so they are stored as they are; the field converts the others. A test compares the
objects with Cinder's own, so a change of a class of Cinder's is noticed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

_is_uuid = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_NONE: Mapping[str, Any] = MappingProxyType({})
_METADATA = ("metadata", "admin_metadata", "glance_metadata")
"""Dictionaries whose changes Cinder finds by comparison with a copy."""


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


class _Form(NamedTuple):
    """How to make an object of a class."""

    empty: Mapping[str, Any]
    """The attributes of an object of an empty row that are immutable."""
    plain: Mapping[str, _Plain]
    mandatory: tuple[_Plain, ...]
    """The fields that convert None differently for each object, or refuse it."""
    tracked: tuple[str, ...]
    """The fields of `_METADATA` that Cinder's class has."""


def make(
    kind: Any, context: Any, row: Mapping[str, Any], *, related: Mapping[str, Any] = _NONE, **converted: Any
) -> Any:
    """Return a new object of Cinder's class, with no change marked.

    Args:
        related: the fields with other objects of Cinder.
        converted: the other fields that are not copied from the row, and those with another value than in the row.
    """
    form = _form(kind)
    versioned = kind.__new__(kind)
    attributes = vars(versioned)
    attributes.update(form.empty)
    attributes.update(_context=context, _changed_fields=set())
    _copy(form, versioned, row, converted)
    for name in form.tracked:
        attributes[f"_orig_{name}"] = dict(converted.get(name, _NONE))
    for name, value in converted.items():
        attributes[f"_obj_{name}"] = _converted(versioned, name, value)
    for name, value in related.items():
        attributes[f"_obj_{name}"] = value
    attributes["_changed_fields"].clear()  # dictionaries mark themselves when they are filled
    return versioned


def _copy(form: _Form, versioned: Any, row: Mapping[str, Any], converted: Mapping[str, Any]) -> None:
    """Copy the values of the row, except those of these fields."""
    attributes, plain = vars(versioned), form.plain
    for column, value in row.items():
        if value is None or (known := plain.get(column)) is None:
            continue
        name, attribute, field, kind, is_uuid, _ = known
        if type(value) is kind and (not is_uuid or _is_uuid(str(value))):
            attributes[attribute] = value
        elif name not in converted:
            attributes[attribute] = field.coerce(versioned, name, value)
    for known in form.mandatory:
        if row.get(known.name) is None and known.name not in converted:
            attributes[known.attribute] = known.field.coerce(versioned, known.name, None)


def _converted(versioned: Any, name: str, value: Any) -> Any:
    """The value as the field converts it. Collections do not refer to the object that they belong to, as those of the field do.

    It would be named in errors only, and each object would have to be found by the garbage collector, which takes longer than to make it.
    """
    from oslo_versionedobjects import fields

    field: Any = versioned.fields[name]
    kind: Any
    add: Any
    if type(field._type) is fields.Dict and type(value) is dict and _fits(field, value):
        kind, add = fields.CoercedDict, dict.update  # its own method would convert each value
    elif type(field) is fields.ListOfObjectsField:
        kind, add = fields.CoercedList, fields.CoercedList.extend
    else:
        return field.coerce(versioned, name, value)
    collection = kind()
    collection.enable_coercing(field._type._element_type, None, name)
    add(collection, value)
    return collection


def _fits(field: Any, value: Mapping[object, object]) -> bool:
    """Whether a field of dictionaries would convert no key and no value of this one."""
    from oslo_versionedobjects import fields

    if type(field._type._element_type) is fields.FieldType:  # which accepts every value
        return all(type(key) is str for key in value)
    if type(field) is not fields.DictOfStringsField:
        return False
    return all(type(key) is type(item) is str for key, item in value.items())


def changed(versioned: Any) -> set[str]:
    """The changed fields, as `obj_what_changed` tells them, but without a search in the objects of other fields."""
    attributes = vars(versioned)
    changed = {name for name in attributes["_changed_fields"] if name in versioned.fields}
    for name in _METADATA:
        if f"_orig_{name}" in attributes and attributes.get(f"_obj_{name}", {}) != attributes[f"_orig_{name}"]:
            changed.add(name)
    return changed


@functools.cache
def _form(kind: Any) -> _Form:
    optional = getattr(kind, "OPTIONAL_FIELDS", ())  # which lists of objects lack
    plain = [_plain(name, field) for name, field in kind.fields.items() if name not in optional]
    example = kind()
    empty = {name: value for name, value in vars(example).items() if _is_immutable(value)}
    mandatory = []
    for known in plain:
        try:
            value = known.absent if known.absent is not None else known.field.coerce(example, known.name, None)
        except ValueError:
            mandatory.append(known)
            continue
        if _is_immutable(value):
            empty[known.attribute] = value
        else:
            mandatory.append(known)
    tracked = tuple(name for name in _METADATA if f"_orig_{name}" in vars(example))
    return _Form(empty, {known.name: known for known in plain}, tuple(mandatory), tracked)


def _is_immutable(value: object) -> bool:
    return value is None or isinstance(value, str | int)


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
    )
