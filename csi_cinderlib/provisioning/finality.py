"""What a record's back end is, and that no answer is final while a retry has something left to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    CorruptRecord,
    DriverError,
    NameTaken,
    NotFound,
    OperationPending,
    StoreUnavailable,
)
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Volume
from csi_cinderlib.persistence.api import Store


def home(backends: Backends, record: Volume | Snapshot | Attachment | GroupSnapshot) -> Backend:
    """The record's back end, ready.

    Raises:
        BackendUnavailable: it is not ready, or not configured any more. The record itself does exist.
    """
    try:
        return backends.get(record.backend)
    except NotFound as error:
        raise BackendUnavailable(record.backend, "it is not configured any more") from error


@contextmanager
def retried(store: Store, backend: str, kind: type[Volume | Snapshot | GroupSnapshot], id: str) -> Iterator[None]:
    """Make every error in the block one after which the caller retries, if it left the record behind.

    The sidecars give up for good on a final code, also when the claim is gone by then, and nobody would clean up. A name that is taken
    leaves nothing to clean up: an administrator has to look, and a claim that still stands is tried again.
    """
    try:
        yield
    except (OperationPending, StoreUnavailable, BackendUnavailable, NameTaken):
        raise
    except DriverError as error:
        if not exists(store, kind, id):
            raise
        message = error.message if isinstance(error, BackendError) else str(error)
        raise BackendUnavailable(backend, f"{message} (a retry cleans up first)") from error


def exists(store: Store, kind: type[Volume | Snapshot | GroupSnapshot], id: str) -> bool:
    """Whether there is a record with that id, also one that cannot be read."""
    try:
        store.get(kind, id)  # type: ignore[type-var]  # one of the three
    except NotFound:
        return False
    except CorruptRecord:
        return True
    return True
