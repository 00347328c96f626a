"""The creation of an object, which tells objects with a reused id apart by its time."""

from __future__ import annotations

from typing import TypeVar

from csi_cinderlib.model import times
from csi_cinderlib.model.records import Attachment, Snapshot, Volume

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
