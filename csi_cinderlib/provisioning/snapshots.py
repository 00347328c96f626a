"""Snapshot calls of the controller (spec: Controller Service)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.lifecycle.lookup import find, get_source_volume
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.answers import Listing
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import Snapshot
from csi_cinderlib.model.requests import CreateSnapshot, ListSnapshots
from csi_cinderlib.model.times import stamp, utc_now
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning import listing, locking
from csi_cinderlib.provisioning.comparison import check_same_snapshot
from csi_cinderlib.provisioning.idempotency import CreateCall, create_once

PAGE_LIMIT = 1000


class Snapshots:
    """Every call can be repeated, wherever an earlier call ended."""

    def __init__(
        self,
        store: Store,
        backends: Backends,
        locks: KeyedLocks,
        *,
        ids: Namespace,
        page_limit: int = PAGE_LIMIT,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._backends = backends
        self._locks = locks
        self._ids = ids
        self._page_limit = page_limit
        self._clock = clock

    def create(self, request: CreateSnapshot) -> Snapshot:
        """Create the snapshot of that name, find it, or finish an interrupted creation.

        Raises:
            AlreadyExists: the snapshot of that name belongs to another volume.
            NotFound: the volume does not exist.
            InUse: the volume is attached, and its back end takes snapshots only of detached volumes.
            OperationPending: an earlier call still works on it.
        """
        id = self._ids.snapshot_id(request.name)
        call = CreateCall(
            kind=Snapshot,
            id=id,
            check_same=lambda record: check_same_snapshot(record, request),
            create=lambda: self._create(request),
            resume=lambda backend, record: backend.resume_create_snapshot(record),
            delete=lambda backend, record: backend.delete_snapshot(record),
        )
        with self._locks.hold(locking.snapshot(id), shared=[locking.volume(request.volume_id)]):
            return create_once(self._store, self._backends, call)

    def delete(self, snapshot_id: str) -> None:
        """Delete the snapshot, or finish its deletion. Succeeds if it does not exist.

        Raises:
            InvalidRequest: it is a member of a group snapshot and can be deleted only with the group.
            InUse: volumes depend on it.
        """
        with self._locks.hold(locking.snapshot(snapshot_id)):
            record = find(self._store, Snapshot, snapshot_id)
            if record is None:
                return
            if record.group_snapshot_id:
                raise InvalidRequest(
                    "snapshot_id",
                    f"is a member of group snapshot {record.group_snapshot_id!r}; delete the group snapshot",
                )
            self._backends.get(record.backend).delete_snapshot(record)

    def get(self, snapshot_id: str) -> Snapshot:
        """Raises NotFound or CorruptRecord."""
        return self._store.get(Snapshot, snapshot_id)

    def list(self, request: ListSnapshots) -> Listing[Snapshot]:
        """One page of the snapshots, optionally of one volume or id. An unknown id gives an empty list.

        A snapshot with an unreadable record is left out unless its id is requested; no decision depends on its absence.

        Raises:
            OperationPending: this driver did not issue the token.
        """
        after = listing.decode_token(request.token)
        if request.snapshot_id:
            found = find(self._store, Snapshot, request.snapshot_id)
            fits = found is not None and request.volume_id in {"", found.volume_id}
            return Listing((found,) if found and fits else ())
        where = {"volume_id": request.volume_id} if request.volume_id else {}
        page = self._store.page(
            Snapshot, after=after, limit=listing.limit_page(request.limit, self._page_limit), where=where
        )
        return Listing(page.records, listing.encode_token(page.next))

    def _create(self, request: CreateSnapshot) -> Snapshot:
        volume = get_source_volume(self._store, request.volume_id)
        record = Snapshot(
            id=self._ids.snapshot_id(request.name),
            name=request.name,
            backend=volume.backend,
            volume_id=volume.id,
            size=volume.size,
            parameters=request.parameters,
            labels=request.labels,
            created_at=stamp(self._clock()),
        )
        return self._backends.get(record.backend).create_snapshot(record)
