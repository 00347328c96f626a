"""Records as the objects that a persistence plugin stores, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinderlib import serialization
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.persistence.fields import fields_of, mark_changed
from csi_cinderlib.cinderlib.persistence.remainder import R, completed, remainder, split, with_remainder
from csi_cinderlib.cinderlib.restoring import restored
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.persistence import codec

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

_CLASSES: Mapping[type, Any] = {records.Volume: Volume, records.Snapshot: Snapshot, Attachment: Connection}
_CONVERSIONS: Mapping[type, Any] = {
    records.Volume: serialization.volume_record,
    records.Snapshot: serialization.snapshot_record,
    Attachment: serialization.attachment_record,
}


_OWN = "_csi_cinderlib_own"


@dataclass(frozen=True, slots=True)
class _Own:
    """What an object made by `handle_of` was made of.

    Attributes:
        inside: the record that the object has; another object that the plugin makes of it has another one.
        text: the record to store, as text, because the caller may change its dictionaries.
    """

    inside: Any
    text: str
    revision: str


def record_from_fields(kind: type[R], data: Mapping[str, object], backend: str) -> R:
    """A record from the fields of Cinder's object as JSON values."""
    record: R = _CONVERSIONS[kind](data, backend)
    return record


def handle_of(library: Library, record: Any, before: Any = None) -> Any:
    """The object to store.

    Args:
        before: the stored object, to find what has changed. Attributes that the plugin has set on it are kept.
    """
    shaped = _well_formed(record, library.host)
    # An empty remainder is there already, because a connection with any info looks different from one without.
    _, converted, _ = restored(type(record), record.backend, fields_of(_handle(library, with_remainder(shaped, ""))))
    handle = _handle(library, with_remainder(shaped, remainder(record, split(converted)[0])))
    vars(handle)[_OWN] = _Own(handle._record, codec.to_text(record), record.revision)
    mark_changed(handle, before)
    for name, value in vars(before).items() if before is not None else ():
        vars(handle).setdefault(name, value)
    return handle


def record_of(handle: Any) -> Any:
    """The record of an object from the plugin. Raises CorruptRecord."""
    own = vars(handle).get(_OWN)
    if own is not None and own.inside is handle._record:  # the plugin has kept the object itself
        return codec.from_text(type(handle._record), own.text, id=handle._record.id, revision=own.revision)
    record = completed(handle._record)
    if isinstance(record, Attachment) and not record.backend:  # stored by cinderlib
        record = replace(record, backend=handle.volume._record.backend)
    return record


def _handle(library: Library, record: Any) -> Any:
    handle = _CLASSES[type(record)]._of(library, record, library.backends.get(record.backend, record.backend))
    if isinstance(record, records.Snapshot):
        handle._ovo.progress = record.backend  # cinderlib's place for the back end of a snapshot
    return handle


def _well_formed(record: Any, host: str) -> Any:
    """Without groups and taken names, which cinderlib lacks. A volume has no host until it is created, but plugins expect one."""
    if isinstance(record, records.Snapshot):
        return replace(record, group_snapshot_id="", name_taken="")
    if not isinstance(record, records.Volume):
        return record
    has_place = "@" in record.host and "#" in record.host
    place = record.host if has_place else f"{host}@{record.backend}#{record.pool or record.backend}"
    return replace(record, group_id="", host=place, name_taken="")
