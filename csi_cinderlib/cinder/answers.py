"""Convert drivers' results and errors for records and for other processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from csi_cinderlib.backend import columns
from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.backend.verbs import Outcome
from csi_cinderlib.cinder import faults, versioned
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.errors import BackendUnavailable, DriverError, InUse
from csi_cinderlib.model.records import Snapshot, Volume

_IDS = frozenset({"provider_location", "provider_auth", "provider_id", "metadata"})
"""Columns in which drivers store the ids of objects."""


def plain(update: Mapping[str, Any]) -> dict[str, Any]:
    """A driver's update as JSON values."""
    return {str(name): columns.plain(value) for name, value in update.items()}


@contextmanager
def told_by_name() -> Iterator[None]:
    """Mark an error of the block that may be caused by an object of the same name (`DriverError.name_exists`)."""
    try:
        yield
    except DriverError as error:
        error.name_exists = faults.is_name_taken(error.__cause__ or error)
        raise


@contextmanager
def ids_kept(work: Work, record: Volume | Snapshot, attempted: Any) -> Iterator[None]:
    """If the block fails, save the ids that the driver set on Cinder's object without saving them; clean-up needs them."""
    try:
        yield
    except DriverError:
        with suppress(DriverError):
            _keep_ids(work, record, attempted)
        raise


def put_ids(attempted: Any, update: Mapping[str, Any]) -> None:
    """Set the ids of a driver's update on Cinder's object, so that `ids_kept` finds them if the rest of the update is invalid."""
    for name in _IDS & update.keys():
        with suppress(ValueError, TypeError):  # other types than text are reported separately
            setattr(attempted, name, update[name])


def _keep_ids(work: Work, record: Volume | Snapshot, attempted: Any) -> None:
    """Save the ids, unless another process has taken over the record."""
    changed = {name: value for name, value in versioned.changes(attempted).items() if name in _IDS}

    def is_own(current: Volume | Snapshot) -> bool:
        return (current.owner, current.status) == (record.owner, record.status)

    if isinstance(record, Volume):
        work.change_volume(record.id, lambda current: update_volume(current, changed) if is_own(current) else current)
    else:
        work.change_snapshot(
            record.id, lambda current: update_snapshot(current, changed) if is_own(current) else current
        )


def failed_deletion(doomed: Any, record: Volume | Snapshot, error: DriverError, *, unfinished: bool) -> Outcome:
    """The outcome of a failed deletion. Raises the error unless it means that the object is missing.

    Drivers that use ids assigned by the array report success for an object without an id, or do not find it.
    """
    missed = unfinished and bool(doomed.missed_id) and not isinstance(error, BackendUnavailable | InUse)
    if faults.is_missing(error.__cause__ or error, record):
        return Outcome(name=doomed.name, missing=str(error), out_of_reach=missed)
    if not missed:
        raise error
    return Outcome(name=doomed.name, out_of_reach=True, failure=error)
