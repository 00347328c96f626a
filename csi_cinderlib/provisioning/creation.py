"""CreateVolume: source, place and type of a new volume."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from csi_cinderlib.errors import (
    BackendBusy,
    BackendUnavailable,
    DriverError,
    InvalidRequest,
    NotFound,
    OutOfRange,
    ResourceExhausted,
)
from csi_cinderlib.host import mkfstrial
from csi_cinderlib.host.devices import SECTOR
from csi_cinderlib.lifecycle.lookup import get_source
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import encryption
from csi_cinderlib.model.capability import DEFAULT_FILE_SYSTEM
from csi_cinderlib.model.encryption import ENCRYPTION
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import Snapshot, SourceKind, Volume
from csi_cinderlib.model.requests import FS_TYPE, CreateVolume
from csi_cinderlib.model.size import Bytes, GiB, SizeRange, to_bytes
from csi_cinderlib.model.times import stamp
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning import access
from csi_cinderlib.provisioning.idempotency import find_backend
from csi_cinderlib.provisioning.placement import Choice, Placement
from csi_cinderlib.provisioning.ranking import Place

SECTOR_SIZE = "logical_block_size"
"""In the report of a pool: sector size in bytes, as nodes see it. Only the drivers of this project report it."""


class Creation:
    """Creates the volume of a request that has no record yet."""

    def __init__(
        self, store: Store, backends: Backends, *, ids: Namespace, placement: Placement, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._backends = backends
        self._ids = ids
        self._placement = placement
        self._clock = clock

    def create(self, request: CreateVolume) -> Volume:
        """Create it in the best place that accepts it. Raises what `Volumes.create` raises."""
        source = get_source(self._store, request.source) if request.source is not None else None
        near = self._store.get(Volume, source.volume_id) if isinstance(source, Snapshot) else source
        _check_encryption(near, request)
        if near:
            self._check_file_system(near, request)
        size = choose_size(request.size, source=source.size if source else None)
        return self._create_somewhere(self._placement.choose(request, size, near=near), request, size)

    def _create_somewhere(self, choice: Choice, request: CreateVolume, size: GiB) -> Volume:
        """Try the places in order, because their state may have changed since the ranking.

        A back end that refused without leaving a record has not started: the record is written first, and only one attempt can add it.
        """
        refusals: list[DriverError] = []
        for place in choice.places:
            try:
                return self._create_at(place, choice, request, size)
            except (ResourceExhausted, BackendBusy, BackendUnavailable) as error:
                if find_backend(self._store, Volume, self._ids.volume_id(request.name)) is not None:
                    raise
                refusals.append(error)
        passing = (error for error in refusals if not isinstance(error, ResourceExhausted))
        raise next(passing, refusals[-1])  # not final while a place may accept it later

    def _create_at(self, place: Place, choice: Choice, request: CreateVolume, size: GiB) -> Volume:
        _check_mkfs_options(place, request, size)
        backend = self._backends.get(place.backend)
        record = Volume(
            id=self._ids.volume_id(request.name),
            name=request.name,
            backend=place.backend,
            pool=place.pool,
            size=size,
            source=request.source,
            type=choice.type,
            capabilities=request.capabilities,
            parameters=request.parameters.given,
            mutable_parameters=request.mutable_parameters,
            encryption=request.parameters.given.get(ENCRYPTION, ""),
            multiattach=choice.multiattach,
            labels=request.parameters.labels,
            created_at=stamp(self._clock()),
        )
        return backend.create_volume(record)

    def _check_file_system(self, source: Volume, request: CreateVolume) -> None:
        """Raises InvalidRequest if a file system is requested and the source has another one.

        A copy keeps the file system of its source, so the volume could never be mounted as requested.
        """
        wanted = access.asked_file_system(request.capabilities, request.parameters.given.get(FS_TYPE, ""))
        have = self._file_system_of(source) if wanted else ""
        if have not in ("", wanted):
            raise InvalidRequest(
                "volume_capabilities",
                f"file system {wanted!r} does not match the source: volume {source.id!r} was created for {have!r}; "
                f"request {have!r} or none",
            )

    def _file_system_of(self, volume: Volume) -> str:
        """The file system for which the volume was created; "" if unknown."""
        while True:
            asked = access.asked_file_system(volume.capabilities, volume.parameters.get(FS_TYPE, ""))
            if asked or volume.imported or not any(not item.is_block for item in volume.capabilities):
                return asked
            if volume.began_empty:  # so it was formatted here
                return DEFAULT_FILE_SYSTEM
            if volume.source is None:
                return ""
            try:
                origin = volume.source.id
                if volume.source.kind is SourceKind.SNAPSHOT:
                    origin = self._store.get(Snapshot, origin).volume_id
                volume = self._store.get(Volume, origin)
            except NotFound:
                return ""


def _check_encryption(source: Volume | None, request: CreateVolume) -> None:
    """Raises InvalidRequest if the volume could never be staged: a copy has the header of its source, or none."""
    wanted = request.parameters.given.get(ENCRYPTION, "")
    if source and source.encryption != wanted:
        have = source.encryption or "none"
        raise InvalidRequest(
            f"parameters[{ENCRYPTION}]",
            f"must be that of the source: volume {source.id!r} has {have}, but {wanted or 'none'} was requested; "
            "use a StorageClass with the same encryption",
        )
    if wanted and (why := access.find_encryption_obstacle(request.capabilities)):
        raise InvalidRequest("volume_capabilities", why)


def _check_mkfs_options(place: Place, request: CreateVolume, size: GiB) -> None:
    """Raises InvalidRequest if mkfs can never succeed with the options. Copies already have a file system, raw volumes need none."""
    if request.source is not None:
        return
    reported = place.reported.get(SECTOR_SIZE)
    sector = reported if isinstance(reported, int) else SECTOR
    room = to_bytes(size)
    if request.parameters.given.get(ENCRYPTION):
        sector, room = encryption.SECTOR, Bytes(room - encryption.HEADER)
    for capability in request.capabilities:
        fs_type = access.file_system(capability, default=request.parameters.fs_type)
        options = request.parameters.mkfs_options if fs_type else ()
        if why := mkfstrial.refusal(fs_type, options, size=room, sector=sector):
            raise InvalidRequest("parameters[mkfsOptions]", why)


def choose_size(asked: SizeRange, *, source: GiB | None) -> GiB:
    """The size of a new volume; `source` is the size of its source.

    Raises:
        OutOfRange: the range contains no whole GiB, or the source does not fit.
    """
    if source is None:
        return asked.choose()
    if not asked.required:
        if asked.limit and to_bytes(source) > asked.limit:
            raise OutOfRange(
                "capacity_range.limit_bytes",
                f"must be at least the size of the source, {to_bytes(source)} bytes (got {asked.limit})",
            )
        return source
    size = asked.choose()
    if size < source:
        raise OutOfRange(
            "capacity_range.required_bytes",
            f"must be at least the size of the source, {to_bytes(source)} bytes (got {asked.required})",
        )
    return size
