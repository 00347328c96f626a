"""How a Create call is answered that may have been made before, and may have ended anywhere."""

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
    """A Create call, as far as it depends on the kind of what is created.

    Attributes:
        id: follows from the name in the request.
        check_same: raises AlreadyExists when an existing object is not what the request asks for.
        create: creates it; there is no record of it.
        resume: carries an unfinished creation through. Raises NotFound when there is nothing to resume, and no record any more.
        delete: finishes a deletion.
    """

    kind: type[S]
    id: str
    check_same: Callable[[S], None]
    create: Callable[[], S]
    resume: Callable[[Backend, S], S]
    delete: Callable[[Backend, S], None]


def create_once(store: Store, backends: Backends, call: CreateCall[S]) -> S:
    """What the call asks for: found or created. An earlier attempt that failed or died half-way is carried through.

    The caller holds the lock of the id.

    Raises:
        AlreadyExists: it differs, or the name belongs to a deleted volume whose snapshots still exist.
        BackendUnavailable: the back end cannot finish an earlier attempt now, or an attempt failed and left something to clean up.
    """
    record = find(store, call.kind, call.id)
    if record is not None and record.status is Status.DELETING:
        call.delete(backends.get(record.backend), record)
        record = find(store, call.kind, call.id)  # a volume with snapshots may stay, as DELETED
    if record is None:
        return _create(store, call)
    if record.status is Status.DELETED:
        reason = "a deleted volume had this name, and its snapshots still exist; delete them first"
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
    """Make every error in the block one after which the caller retries, if it left the record behind.

    The sidecars give up for good on a final code, also when the claim is gone by then, and nobody would clean up. A name that is taken
    leaves nothing to clean up: an administrator has to look, and a claim that still stands is tried again.
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
    """The name of the back end in the record with that id, "unknown" where it cannot be read; None where there is no record."""
    try:
        return store.get(kind, id).backend  # type: ignore[type-var]  # one of the three
    except NotFound:
        return None
    except CorruptRecord:
        return "unknown"
