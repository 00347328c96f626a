"""The controller's calls on snapshots (spec: Controller Service)."""

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
    """Every call is safe to repeat, from wherever an earlier one ended."""

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
        """The snapshot of that name; made, found, or an interrupted attempt carried through.

        Raises:
            AlreadyExists: there is one of another volume.
            NotFound: the volume.
            InUse: the volume is attached and its back end takes snapshots only of what is not.
            OperationPending: an earlier call is at work on it.
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
        """Delete the snapshot, or finish deleting it. Fine if it is gone.

        Raises:
            InvalidRequest: it is a member of a group snapshot, and goes with that only.
            InUse: volumes depend on it.
        """
        with self._locks.hold(locking.snapshot(snapshot_id)):
            record = find(self._store, Snapshot, snapshot_id)
            if record is None:
                return
            if record.group_snapshot_id:
                raise InvalidRequest(
                    "snapshot_id", f"is a member of group snapshot {record.group_snapshot_id!r}: delete that"
                )
            self._backends.get(record.backend).delete_snapshot(record)

    def get(self, snapshot_id: str) -> Snapshot:
        """Raises NotFound or CorruptRecord."""
        return self._store.get(Snapshot, snapshot_id)

    def list(self, request: ListSnapshots) -> Listing[Snapshot]:
        """One page of the snapshots, by volume or id if asked; an unknown id gives an empty list.

        A snapshot whose record cannot be read is left out unless asked for by its id: nothing is decided from its absence.

        Raises:
            OperationPending: the token is not one of ours.
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
