"""The values of a record for which cinderlib's objects have no field. They are stored as text inside the object.

What a conversion of the record to the object and back would lose is found by that conversion, so that no field can be forgotten.

Another program, such as one with cinderlib, may change the object later and does not know the remainder. The remainder therefore contains
digests of the object's own values. A value that has changed since is newer than the one in the remainder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import REMAINDER, Attachment, Record, Snapshot, Volume
from csi_cinderlib.persistence import codec

R = TypeVar("R", Volume, Snapshot, Attachment)

_PLACES: Mapping[type, str] = {Volume: "admin_metadata", Snapshot: "metadata", Attachment: "connection_info"}
_ALWAYS = frozenset({"backend", "created_at"})
"""Stored although the object has them: a connection has no field for its back end, and a plugin may round the time."""
_DERIVED: Mapping[str, str] = {"connection_info": "given", "fields": "status", "type": "qos_consumer"}
"""A part of a field that says nothing about a change of the object: it depends on the connections of the volume, or on the way in which
the plugin makes the object. These are the state of a connection, the status of a volume, and the consumer of its QoS specs."""


def remainder(record: R, converted: R) -> str:
    """What `converted`, the record after a conversion to the object and back, lacks."""
    wanted, got = codec.encode(record), codec.encode(converted)
    kept: dict[str, Any] = {name: value for name, value in wanted.items() if name in _ALWAYS or value != got.get(name)}
    surplus: list[str] = sorted(set(got) - set(wanted))
    own = _comparable(got)
    rest = {
        "revision": record.revision,
        "fields": kept,
        "without": surplus,
        "seen": {name: _seen(own.get(name)) for name in (*kept, *surplus) if name not in _ALWAYS},
        "object": _digest(own),
    }
    return json.dumps(rest, separators=(",", ":"))


def with_remainder(record: R, text: str) -> R:
    """The record with the remainder inside a field that the object has."""
    place = _PLACES[type(record)]
    values: dict[str, Any] = {place: {**getattr(record, place), REMAINDER: text}}
    return replace(record, **values)


def split(record: R) -> tuple[R, str | None]:
    """The record of an object without its remainder, and the remainder if there is one."""
    place = _PLACES[type(record)]
    values = dict(getattr(record, place))
    text = values.pop(REMAINDER, None)
    changed: dict[str, Any] = {"revision": "", place: values}
    return replace(record, **changed), text


def completed(record: R) -> R:
    """The original of `with_remainder`, from the object.

    An object stored by cinderlib has no remainder. Its revision is then a checksum, and so is that of an object that another program has
    changed.

    Raises:
        CorruptRecord: the remainder is damaged.
    """
    kind = type(record)
    plain, text = split(record)
    if text is None:
        return replace(plain, revision=checksum(plain))
    body = codec.encode(plain)
    try:
        rest = json.loads(text)
        whole = codec.decode(kind, _merged(body, rest), id=record.id, revision=rest["revision"])
        is_same = rest["object"] == _digest(_comparable(body))
        return whole if is_same else replace(whole, revision=checksum(whole))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptRecord(codec.kind_name(kind), record.id, f"its value {REMAINDER!r} is damaged") from None


def _merged(body: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the record, from the object's and the remainder's."""
    merged, own = dict(body), _comparable(body)
    for name in (*rest["fields"], *rest["without"]):
        value = _newest(rest["fields"].get(name), own.get(name), rest["seen"].get(name))
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


def _newest(kept: Any, now: Any, seen: Any) -> Any:
    """The value of the remainder, or that of the object if it has changed. None is no value."""
    if seen is None or _seen(now) == seen:
        return kept
    if not (isinstance(kept, dict) and isinstance(now, dict) and isinstance(seen, dict)):
        return now
    values = {name: _newest(kept.get(name), now.get(name), seen.get(name, _digest(None))) for name in {**kept, **now}}
    return {name: value for name, value in values.items() if value is not None}


def _seen(value: Any) -> Any:
    """The digest of a value; of a dictionary, those of its values."""
    if isinstance(value, dict) and value:
        return {name: _digest(item) for name, item in value.items()}
    return _digest(value)


def _comparable(body: Mapping[str, Any]) -> dict[str, Any]:
    """The values that tell whether the object has changed."""
    values = {name: value for name, value in body.items() if name not in _ALWAYS}
    for name, derived in _DERIVED.items():
        inner = {key: value for key, value in values.pop(name, {}).items() if key != derived}
        if inner:
            values[name] = inner
    return values


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def differing(stored: R, read: R) -> list[str]:
    """The fields in which two records differ."""
    one, other = codec.encode(stored), codec.encode(read)
    names: Mapping[str, Any] = {**one, **other}
    return sorted(name for name in names if one.get(name) != other.get(name))


def has_all(read: Record, stored: Record) -> bool:
    """Whether a record has all values of another, and perhaps more."""
    return _has(codec.encode(read), codec.encode(stored))


def _has(values: Any, wanted: Any) -> bool:
    if isinstance(values, dict) and isinstance(wanted, dict):
        return all(_has(values.get(name), value) for name, value in wanted.items())
    return bool(values == wanted)


def checksum(record: Record) -> str:
    """A revision for an object that has none."""
    return f"0-{hashlib.sha256(codec.to_text(replace(record, revision='')).encode()).hexdigest()[:12]}"
