"""The values of a record for which cinderlib's objects have no field. They are stored as text inside the object.

What a conversion of the record to the object and back would lose is found by that conversion, so that no field can be forgotten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import Attachment, Record, Snapshot, Volume
from csi_cinderlib.persistence import codec

R = TypeVar("R", Volume, Snapshot, Attachment)

KEY = "csi-cinderlib"
_PLACES: Mapping[type, str] = {Volume: "admin_metadata", Snapshot: "metadata", Attachment: "connection_info"}
_ALWAYS = frozenset({"backend", "created_at"})
"""Stored although the object has them: a connection has no field for its back end, and a plugin may round the time."""


def remainder(record: R, converted: R) -> str:
    """What `converted`, the record after a conversion to the object and back, lacks."""
    wanted, got = codec.encode(record), codec.encode(converted)
    kept = {name: value for name, value in wanted.items() if name in _ALWAYS or value != got.get(name)}
    surplus = sorted(set(got) - set(wanted))
    return json.dumps({"revision": record.revision, "fields": kept, "without": surplus}, separators=(",", ":"))


def with_remainder(record: R, text: str) -> R:
    """The record with the remainder inside a field that the object has."""
    place = _PLACES[type(record)]
    values: dict[str, Any] = {place: {**getattr(record, place), KEY: text}}
    return replace(record, **values)


def completed(record: R) -> R:
    """The original of `with_remainder`, from the object.

    An object stored by cinderlib has no remainder. Its revision is then a checksum.

    Raises:
        CorruptRecord: the remainder is damaged.
    """
    kind, place = type(record), _PLACES[type(record)]
    values = dict(getattr(record, place))
    text = values.pop(KEY, None)
    changed: dict[str, Any] = {"revision": "", place: values}
    plain = replace(record, **changed)
    if text is None:
        return replace(plain, revision=checksum(plain))
    body = codec.encode(plain)
    try:
        rest = json.loads(text)
        body = {name: value for name, value in body.items() if name not in rest["without"]}
        return codec.decode(kind, {**body, **rest["fields"]}, id=record.id, revision=rest["revision"])
    except (ValueError, KeyError, TypeError):
        raise CorruptRecord(codec.kind_name(kind), record.id, f"its value {KEY!r} is damaged") from None


def differing(stored: R, read: R) -> list[str]:
    """The fields in which two records differ."""
    one, other = codec.encode(stored), codec.encode(read)
    names: Mapping[str, Any] = {**one, **other}
    return sorted(name for name in names if one.get(name) != other.get(name))


def checksum(record: Record) -> str:
    """A revision for an object that has none."""
    return f"0-{hashlib.sha256(codec.to_text(replace(record, revision='')).encode()).hexdigest()[:12]}"
