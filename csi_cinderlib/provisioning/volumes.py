"""The controller's calls on volumes (spec: Controller Service)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import NotFound, OutOfRange
from csi_cinderlib.lifecycle.lookup import check_whole, get_volume
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.answers import CapacityAnswer, Listing, VolumeState
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import EMPTY, Attachment, Status, Volume, VolumeType
from csi_cinderlib.model.requests import CreateVolume, Expanded, ExpandVolume, GetCapacity, ValidateCapabilities
from csi_cinderlib.model.size import GiB, SizeRange, to_bytes
from csi_cinderlib.model.times import utc_now
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.provisioning import access, listing, locking
from csi_cinderlib.provisioning.comparison import check_same, mapping_difference
from csi_cinderlib.provisioning.creation import Creation
from csi_cinderlib.provisioning.idempotency import CreateCall, create_once
from csi_cinderlib.provisioning.placement import Placement

PAGE_LIMIT = 1000


class Volumes:
    """Every call is safe to repeat, from wherever an earlier one ended. One call works on a volume at a time.

    Args:
        ids: this installation's.
        volume_types: the named types of the configuration.
        page_limit: the most entries of one list answer.
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
        self._placement = Placement(backends, types=volume_types or {})
        self._creation = Creation(store, backends, ids=ids, placement=self._placement, clock=clock)

    def create(self, request: CreateVolume) -> Volume:
        """The volume of that name; made, found, or an interrupted attempt carried through.

        Raises:
            AlreadyExists: there is one that differs; says in what.
            OperationPending: an earlier call is at work on it.
            NotFound: the source.
            OutOfRange: no size fits, or the source is larger than the size asked for.
            InvalidRequest: something asked for can never be honoured; names it.
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
        """Delete the volume, or finish deleting it. Fine if it is gone.

        Raises:
            InUse: it is attached, or has snapshots that would not outlive it; it is left untouched.
        """
        with self._locks.hold(locking.volume(volume_id), locking.attachments(volume_id)):
            try:
                record = get_volume(self._store, volume_id)
            except NotFound:
                return
            self._backends.get(record.backend).delete_volume(record)

    def expand(self, request: ExpandVolume) -> Expanded:
        """Make the volume at least as large as asked, and say how large it really is.

        Raises:
            NotFound: the volume.
            OutOfRange: no size fits.
            InUse: it is attached and its back end extends only what is not.
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

    def get(self, volume_id: str) -> VolumeState:
        """Raises NotFound or CorruptRecord."""
        record = get_volume(self._store, volume_id)
        return listing.state(record, self._attachments((volume_id,)), failure=self._failures((record,)))

    def list(self, token: str = "", limit: int = 0) -> Listing[VolumeState]:
        """One page of the volumes, with the nodes on which they are published.

        A volume whose own record cannot be read is listed by its id, with its nodes and an abnormal condition. An
        attachment that cannot be read fails the call: its volume would look detached, and the attacher would act on that.

        Raises:
            OperationPending: the token is not one of ours.
            CorruptRecord: of an attachment.
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
        """The token of a page that goes on after that volume."""
        return listing.encode_token(id)

    def validate(self, request: ValidateCapabilities) -> str:
        """Why the volume cannot be used so, or "" if it can.

        Raises:
            NotFound: the volume.
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
        """What the largest volume of that class at that place may have."""
        return self._placement.capacity(request)

    def _attached(self, volume_id: str) -> bool:
        page = self._store.page(Attachment, limit=1, where={"volume_id": volume_id})
        return bool(page.records or page.corrupt)

    def _attachments(self, volume_ids: tuple[str, ...]) -> tuple[Attachment, ...]:
        if not volume_ids:
            return ()
        return all_of(self._store, Attachment, {"volume_id": volume_ids})

    def _failures(self, volumes: Iterable[Volume]) -> dict[str, str]:
        """Why back ends of these do not work, by name."""
        gone = {volume.backend: "it is no longer configured" for volume in volumes}
        known = {backend.name: backend.problem for backend in self._backends.all()}
        return {**gone, **known}


def node_expansion_required(volume: Volume, capability: Capability | None, *, attached: bool) -> bool:
    """Whether the node has something to do: grow a file system, or show a raw block volume's new size where it is in use."""
    if capability is not None:
        block = capability.is_block
    else:
        block = bool(volume.capabilities) and all(item.is_block for item in volume.capabilities)
    return attached or not block


def choose_extension(volume: Volume, asked: SizeRange) -> GiB | None:
    """To what size a volume has to be extended, or None when it is large enough already.

    An extension that was begun is finished first: its driver may have grown the volume already, and none can shrink it.

    Raises:
        OutOfRange: the limit lies below what the volume has, or below the smallest whole GiB that is enough.
    """
    begun = volume.target_size if volume.status is Status.EXTENDING else None
    least = max(volume.size, begun or volume.size)
    if asked.limit and to_bytes(least) > asked.limit:
        raise OutOfRange(
            "capacity_range.limit_bytes", f"{asked.limit} bytes is less than the volume has, {to_bytes(least)}"
        )
    size = least if to_bytes(least) >= asked.required else asked.choose()
    return None if size == volume.size and begun is None else size
