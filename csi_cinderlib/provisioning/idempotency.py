"""Idempotent Create calls: an earlier attempt of the same call may have ended anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from csi_cinderlib.errors import (
    AlreadyExists,
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
from csi_cinderlib.lifecycle.lookup import find
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store

S = TypeVar("S", Volume, Snapshot, GroupSnapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCall(Generic[S]):
    """The parts of a Create call that depend on the kind of object.

    Attributes:
        id: derived from the name in the request.
        check_same: raises AlreadyExists if an existing object differs from the request.
        create: creates the object, which has no record yet.
        resume: finishes an interrupted creation. Raises NotFound if nothing can be resumed and the record is gone.
        delete: finishes a deletion.
    """

    kind: type[S]
    id: str
    check_same: Callable[[S], None]
    create: Callable[[], S]
    resume: Callable[[Backend, S], S]
    delete: Callable[[Backend, S], None]


def create_once(store: Store, backends: Backends, call: CreateCall[S]) -> S:
    """Find or create the object. An earlier attempt that failed or was interrupted is finished.

    The caller holds the lock of the id.

    Raises:
        AlreadyExists: the object differs, or a deleted volume of that name still has snapshots.
        BackendUnavailable: the back end cannot finish an earlier attempt now, or a failed attempt left something to clean up.
    """
    record = find(store, call.kind, call.id)
    if record is not None and record.status is Status.DELETING:
        call.delete(backends.get(record.backend), record)
        record = find(store, call.kind, call.id)  # a volume with snapshots may stay, as DELETED
    if record is None:
        return _create(store, call)
    if record.status is Status.DELETED:
        reason = "a deleted volume of this name still has snapshots; delete them first"
        raise AlreadyExists("volume", record.name, reason)
    call.check_same(record)
    if record.status in (Status.AVAILABLE, Status.EXTENDING):
        return record
    try:
        with retryable(store, call.kind, call.id):
            return call.resume(backends.get(record.backend), record)
    except NotFound:
        return _create(store, call)


def _create(store: Store, call: CreateCall[S]) -> S:
    with retryable(store, call.kind, call.id):
        return call.create()


@contextmanager
def retryable(store: Store, kind: type[Volume | Snapshot | GroupSnapshot], id: str) -> Iterator[None]:
    """Convert errors in the block to retryable ones if the record still exists.

    The sidecars stop retrying after a final code, and nothing would clean up. NameTaken leaves nothing to clean up: an administrator
    must act, and the existing claim is retried.
    """
    try:
        yield
    except (OperationPending, StoreUnavailable, BackendUnavailable, NameTaken):
        raise
    except DriverError as error:
        backend = find_backend(store, kind, id)
        if backend is None:
            raise
        message = error.message if isinstance(error, BackendError) else str(error)
        raise BackendUnavailable(backend, f"{message} (a retry cleans up first)") from error


def find_backend(store: Store, kind: type[Volume | Snapshot | GroupSnapshot], id: str) -> str | None:
    """The back end of the record with that id; "unknown" if the record is unreadable, None if it does not exist."""
    try:
        return store.get(kind, id).backend  # type: ignore[type-var]  # one of the three
    except NotFound:
        return None
    except CorruptRecord:
        return "unknown"
