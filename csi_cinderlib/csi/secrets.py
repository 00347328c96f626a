"""Secret fields of a message: those that the specification marks with `csi_secret`, and two that it does not mark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.observe import redact

ALSO_SECRET = frozenset({"publish_context", "mount_flags"})
"""publish_context carries credentials of the back end, mount_flags credentials of users."""


def shown(message: Message) -> dict[str, object]:
    """A message as a mapping. Values of secret fields are hidden; their keys are kept."""
    fields: dict[str, object] = {}
    for field, value in message.ListFields():
        if field.name in _secret_fields(message.DESCRIPTOR):
            fields[field.name] = dict.fromkeys(value, redact.HIDDEN) if isinstance(value, Mapping) else redact.HIDDEN
        else:
            fields[field.name] = _field(field, value)
    return fields


def secrets_of(message: Message) -> frozenset[str]:
    """The values of the secret fields of a message and of its nested messages."""
    return frozenset(_secrets(message))


def _secrets(message: Message) -> Iterator[str]:
    secret, nested = _secret_fields(message.DESCRIPTOR), _nested_fields(message.DESCRIPTOR)
    for field, value in message.ListFields():
        if field.name in secret:
            yield from _values(field.name, value)
        elif field.name in nested:
            for item in value if field.is_repeated else (value,):
                yield from _secrets(item)


def _values(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (str(item) for item in value.values())
    elif name == "mount_flags":  # "password=canary" is secret, "ro" is not
        for flag in value:
            yield from (part for part in (flag, flag.partition("=")[2]) if "=" in flag and part)
    else:
        yield str(value)


def _field(field: FieldDescriptor, value: Any) -> object:
    if _is_map(field):
        return redact.mapping(dict(value))
    if field.message_type is not None:
        return [shown(item) for item in value] if field.is_repeated else shown(value)
    if field.enum_type is not None and not field.is_repeated:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    return list(value) if field.is_repeated else value


@lru_cache(maxsize=256)
def _secret_fields(descriptor: Descriptor) -> frozenset[str]:
    return frozenset(field.name for field in descriptor.fields if field.name in ALSO_SECRET or _is_marked(field))


@lru_cache(maxsize=256)
def _nested_fields(descriptor: Descriptor) -> frozenset[str]:
    """Fields that contain other messages."""
    return frozenset(field.name for field in descriptor.fields if field.message_type is not None and not _is_map(field))


def _is_marked(field: FieldDescriptor) -> bool:
    return bool(field.GetOptions().Extensions[csi_pb2.csi_secret])


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
