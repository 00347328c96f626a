"""The creation of an object, which tells objects with a reused id apart by its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from csi_cinderlib.errors import DriverError
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.persistence.optimistic import change

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

T = TypeVar("T", Volume, Snapshot, Attachment)

_SECONDS, _NO_FRACTION = len("2026-01-31T12:34:56"), ".000000Z"


def is_same(stored: T, record: T) -> bool:
    """Whether both are from the same creation. An id may be reused; the creation time in microseconds differs then.

    JSON and databases of cinderlib may contain the time in seconds only, or no time.
    """
    ours, theirs = stored.created_at, record.created_at
    if ours == theirs or not ours or not theirs:
        return True
    return (ours.endswith(_NO_FRACTION) or theirs.endswith(_NO_FRACTION)) and ours[:_SECONDS] == theirs[:_SECONDS]


def now() -> str:
    return times.stamp(times.utc_now())


def let_go(library: Library, record: T) -> T | None:
    """Release the stored record after a failure, so that another process may retry at once.

    Returns:
        The record; None if there is none, if it is another record with the same id, or if the store does not respond.
    """
    try:
        stored = library.store.get(type(record), record.id)
        if not is_same(stored, record):
            return None
        return change(
            library.store,
            stored,
            lambda current: replace(current, owner="") if current.owner == library.owner else current,
        )
    except DriverError:
        return None
