"""Three-way merges of a record that was changed here and by another caller since it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from csi_cinderlib.errors import StaleRecord
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Snapshot, Volume

R = TypeVar("R", Volume, Snapshot, Attachment)

_ABSENT = object()
_NOT_MERGED = frozenset({"id", "revision"})


def merged(base: R, ours: R, theirs: R) -> R:
    """The stored record with our changes of it.

    Dictionaries are merged by key. A value that both changed alike is no conflict.

    Args:
        base: the record when our values were set.
        ours: the stored record with our values instead of its own.
        theirs: the stored record.

    Raises:
        StaleRecord: both changed the same value, and differently; names it.
    """
    kind = type(theirs).__name__.lower()
    values = {}
    for field in fields(theirs):
        name = field.name
        before, here, stored = getattr(base, name), getattr(ours, name), getattr(theirs, name)
        if name in _NOT_MERGED or here == stored:
            continue
        try:
            values[name] = _merged(name, before, here, stored)
        except _Conflict as conflict:
            raise StaleRecord(kind, theirs.id, str(conflict)) from None
    return replace(theirs, **values) if values else theirs


def rebased(base: R, ours: R, record: R) -> R:
    """The base of our values on a newer record, which its user has seen since: only what ours change is still that of the earlier base."""
    names = (field.name for field in fields(base) if field.name not in _NOT_MERGED)
    return replace(record, **{name: value for name in names if (value := getattr(base, name)) != getattr(ours, name)})


class _Conflict(Exception):
    """The text is the path of the value."""


def _merged(path: str, base: Any, ours: Any, theirs: Any) -> Any:
    if theirs in (base, ours):
        return ours
    if ours == base:
        return theirs
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return _by_key(path, base if isinstance(base, Mapping) else {}, ours, theirs)
    if is_dataclass(theirs) and type(ours) is type(theirs) is type(base):
        return _by_field(path, base, ours, theirs)
    raise _Conflict(path)


def _by_key(path: str, base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    results = {}
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        values = (source.get(key, _ABSENT) for source in (base, ours, theirs))
        if (value := _merged(f"{path}[{key}]", *values)) is not _ABSENT:
            results[key] = value
    return results


def _by_field(path: str, base: Any, ours: Any, theirs: Any) -> Any:
    """Parts of a record, such as its volume type."""
    values = {
        field.name: _merged(f"{path}.{field.name}", *(getattr(source, field.name) for source in (base, ours, theirs)))
        for field in fields(theirs)
    }
    return type(theirs)(**values)
