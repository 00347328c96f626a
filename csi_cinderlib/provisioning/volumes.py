"""Volume calls of the controller (spec: Controller Service)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import NotFound, OutOfRange, PreconditionFailed, ResourceExhausted
from csi_cinderlib.lifecycle import mutability
from csi_cinderlib.lifecycle.lookup import check_whole, get_volume
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.answers import CapacityAnswer, Listing, VolumeState
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import EMPTY, Attachment, Status, Volume, VolumeType
from csi_cinderlib.model.requests import (
    CreateVolume,
    Expanded,
    ExpandVolume,
    GetCapacity,
    ModifyVolume,
    ValidateCapabilities,
)
from csi_cinderlib.model.size import GiB, SizeRange, to_bytes
from csi_cinderlib.model.times import utc_now
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.provisioning import access, listing, locking
from csi_cinderlib.provisioning.comparison import check_same, mapping_difference
from csi_cinderlib.provisioning.creation import Creation
from csi_cinderlib.provisioning.idempotency import CreateCall, create_once
from csi_cinderlib.provisioning.placement import Placement, check_modified
from csi_cinderlib.provisioning.volume_types import modify_parameters, modify_type

PAGE_LIMIT = 1000


class Volumes:
    """Every call can be repeated, wherever an earlier call ended. One call at a time works on a volume.

    Args:
        ids: id namespace of this installation.
        volume_types: named types of the configuration.
        page_limit: maximum number of entries of a list response.
    """

    def __init__(
        self,
        store: Store,
        backends: Backends,
        locks: KeyedLocks,
        *,
        ids: Namespace,
        volume_types: Mapping[str, VolumeType] | None = None,
        page_limit: int = PAGE_LIMIT,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._backends = backends
        self._locks = locks
        self._ids = ids
        self._page_limit = page_limit
        self._types = volume_types or {}
        self._placement = Placement(backends, types=self._types)
        self._creation = Creation(store, backends, ids=ids, placement=self._placement, clock=clock)

    def create(self, request: CreateVolume) -> Volume:
        """Create the volume of that name, find it, or finish an interrupted creation.

        Raises:
            AlreadyExists: a volume of that name differs from the request.
            OperationPending: an earlier call still works on it.
            NotFound: the source does not exist.
            OutOfRange: no size fits, or the source is larger than the requested size.
            InvalidRequest: the request can never be satisfied.
            ResourceExhausted: no back end has the space.
        """
        access.check_possible(request.capabilities)
        id = self._ids.volume_id(request.name)
        call = CreateCall(
            kind=Volume,
            id=id,
            check_same=lambda record: check_same(
                record, request, topology=self._backends.topologies.get(record.backend, EMPTY)
            ),
            create=lambda: self._creation.create(request),
            resume=lambda backend, record: backend.resume_create_volume(record),
            delete=lambda backend, record: backend.delete_volume(record),
        )
        with self._locks.hold(locking.volume(id), shared=locking.source(request.source)):
            return create_once(self._store, self._backends, call)

    def delete(self, volume_id: str) -> None:
        """Delete the volume, or finish its deletion. Succeeds if it does not exist.

        Raises:
            InUse: it is attached, or its snapshots depend on it. Nothing is changed.
        """
        with self._locks.hold(locking.volume(volume_id), locking.attachments(volume_id)):
            try:
                record = get_volume(self._store, volume_id)
            except NotFound:
                return
            self._backends.get(record.backend).delete_volume(record)

    def expand(self, request: ExpandVolume) -> Expanded:
        """Extend the volume to at least the requested size; returns the actual size.

        Raises:
            NotFound: the volume does not exist.
            OutOfRange: no size fits.
            InUse: it is attached, and its back end extends only detached volumes.
        """
        id = request.volume_id
        with self._locks.hold(locking.volume(id)):
            volume = get_volume(self._store, id)
            check_whole(volume)
            size = choose_extension(volume, request.size)
            if size is not None:
                volume = self._backends.get(volume.backend).extend_volume(volume, size)
            required = node_expansion_required(volume, request.capability, attached=self._attached(id))
            return Expanded(to_bytes(volume.size), required)

    def modify(self, request: ModifyVolume) -> Volume:
        """Change properties of the volume in place, whether it is attached or not. Parameters that are not given keep their values.

        Raises:
            NotFound: the volume does not exist.
            InvalidRequest, Unsupported: a parameter is unknown, or the back end cannot change it; nothing is changed.
            PreconditionFailed: the back end lacks the space.
        """
        id = request.volume_id
        with self._locks.hold(locking.volume(id), locking.attachments(id)):
            volume = get_volume(self._store, id)
            check_whole(volume)
            wanted = modify_type(volume, request.mutable_parameters, named=self._types)
            backend = self._backends.get(volume.backend)
            if backend.capabilities.retype and not mutability.has_begun(volume, wanted):
                check_modified(backend, volume, wanted)
            try:
                return backend.modify_volume(volume, wanted, modify_parameters(volume, request.mutable_parameters))
            except ResourceExhausted as error:  # which the resizer takes for a call that is still in progress
                raise PreconditionFailed(str(error)) from error

    def get(self, volume_id: str) -> VolumeState:
        """Raises NotFound or CorruptRecord."""
        record = get_volume(self._store, volume_id)
        return listing.state(record, self._attachments((volume_id,)), failure=self._failures((record,)))

    def list(self, token: str = "", limit: int = 0) -> Listing[VolumeState]:
        """One page of the volumes, with the nodes on which they are published.

        A volume with an unreadable record is listed by its id, with its nodes and an abnormal condition. An unreadable attachment
        fails the call: its volume would look detached, and the attacher would act on that.

        Raises:
            OperationPending: this driver did not issue the token.
            CorruptRecord: an attachment is unreadable.
        """
        page = self._store.page(
            Volume, after=listing.decode_token(token), limit=listing.limit_page(limit, self._page_limit)
        )
        attachments = self._attachments((*(record.id for record in page.records), *page.corrupt))
        return Listing(
            listing.states(page, attachments, failure=self._failures(page.records)), listing.encode_token(page.next)
        )

    @staticmethod
    def token_after(id: str) -> str:
        """The token of the page that starts after that volume."""
        return listing.encode_token(id)

    def validate(self, request: ValidateCapabilities) -> str:
        """Why the volume does not match the request, or "".

        Raises:
            NotFound: the volume does not exist.
        """
        volume = get_volume(self._store, request.volume_id)
        if why := access.unsupported(volume, request.capabilities):
            return why
        for name, have, asked in (
            ("parameters", volume.parameters, request.parameters),
            ("mutable parameters", volume.mutable_parameters, request.mutable_parameters),
        ):
            if asked and (difference := mapping_difference(have, asked)):
                return f"{name} differ in {difference}"
        return ""

    def capacity(self, request: GetCapacity) -> CapacityAnswer:
        """The largest possible volume of that class in that topology."""
        return self._placement.capacity(request)

    def _attached(self, volume_id: str) -> bool:
        page = self._store.page(Attachment, limit=1, where={"volume_id": volume_id})
        return bool(page.records or page.corrupt)

    def _attachments(self, volume_ids: tuple[str, ...]) -> tuple[Attachment, ...]:
        if not volume_ids:
            return ()
        return all_of(self._store, Attachment, {"volume_id": volume_ids})

    def _failures(self, volumes: Iterable[Volume]) -> dict[str, str]:
        """Why the back ends of these volumes do not work, by name."""
        gone = {volume.backend: "it is no longer configured" for volume in volumes}
        known = {backend.name: backend.problem for backend in self._backends.all()}
        return {**gone, **known}


def node_expansion_required(volume: Volume, capability: Capability | None, *, attached: bool) -> bool:
    """Whether the node must grow a file system, or update the size of a raw block volume in use."""
    if capability is not None:
        block = capability.is_block
    else:
        block = bool(volume.capabilities) and all(item.is_block for item in volume.capabilities)
    return attached or not block


def choose_extension(volume: Volume, asked: SizeRange) -> GiB | None:
    """The size to which the volume must be extended, or None if it is large enough.

    An unfinished extension is finished first: the driver may have extended the volume already, and no driver can shrink it.

    Raises:
        OutOfRange: the limit is below the current size, or below the smallest whole GiB that is enough.
    """
    begun = volume.target_size if volume.status is Status.EXTENDING else None
    least = max(volume.size, begun or volume.size)
    if asked.limit and to_bytes(least) > asked.limit:
        raise OutOfRange(
            "capacity_range.limit_bytes",
            f"must be at least the size of the volume, {to_bytes(least)} bytes (got {asked.limit})",
        )
    size = least if to_bytes(least) >= asked.required else asked.choose()
    return None if size == volume.size and begun is None else size
