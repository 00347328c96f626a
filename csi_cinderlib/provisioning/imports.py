"""Imports of existing volumes and snapshots, as an administrator requests them. Every call can be repeated."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from csi_cinderlib.backend.verbs import Manageable, Measured
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import AlreadyExists, CorruptRecord, InvalidRequest, NotFound, OutOfRange, PreconditionFailed
from csi_cinderlib.lifecycle import given_up
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.imports import Imports
from csi_cinderlib.lifecycle.ledger import noun
from csi_cinderlib.lifecycle.lookup import find, get_source_volume
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.encryption import ENCRYPTION, find_unknown
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import EMPTY, Imported, Snapshot, Status, Volume
from csi_cinderlib.model.requests import FS_TYPE
from csi_cinderlib.model.size import BYTES_PER_GIB, GiB
from csi_cinderlib.model.times import stamp, utc_now
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_with_unreadable
from csi_cinderlib.persistence.optimistic import change
from csi_cinderlib.provisioning import access, locking

S = TypeVar("S", Volume, Snapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The object to import, or to give up.

    Attributes:
        name: its name on the back end, or the id that the array assigned.
        by_id: `name` is an id (`source-id` in the driver's reference).
        static: use it without managing it.
        within: the pool of a volume, the id of the volume of a snapshot; "" if the name is unique on the back end.
        requester: the uid of the VolumeImport; "" for a command.
        holder: the namespace and name of the VolumeImport.
        living: the uids of all VolumeImports, if known. An import whose VolumeImport is gone belongs to the next one of that name.
        unchecked: the administrator is certain that nothing uses it, because the driver cannot tell.
    """

    backend: str
    name: str
    by_id: bool = False
    static: bool = False
    unchecked: bool = False
    within: str = ""
    requester: str = ""
    holder: str = ""
    living: Collection[str] | None = None

    def imported(self) -> Imported:
        key = "source-id" if self.by_id else "source-name"
        request: dict[str, object] = {"by_id": self.by_id}
        request |= {"unchecked": True} if self.unchecked else {}
        request |= {"holder": self.holder} if self.holder else {}
        return Imported(
            name=self.name,
            reference={key: self.name},
            static=self.static,
            requester=self.requester,
            request=request,
        )

    def means(self, record: Volume | Snapshot) -> bool:
        """Whether the record is an import of an object of this name, anywhere on the back end. A DELETED one is a thing of the past."""
        known = record.imported
        return (
            known is not None
            and (known.name, bool(known.request.get("by_id"))) == (self.name, self.by_id)
            and record.status is not Status.DELETED
        )

    def is_owner_of(self, record: Volume | Snapshot) -> bool:
        """Whether this VolumeImport requested the import, or follows another of its name that is gone. A command owns those of commands."""
        known = record.imported
        if known is None or known.requester == self.requester:
            return known is not None
        is_successor = bool(self.holder) and known.request.get("holder") == self.holder
        return is_successor and self.living is not None and known.requester not in self.living


@dataclass(frozen=True, slots=True)
class Undone:
    """The result of giving an object up.

    Attributes:
        record: None if that has been done before.
        name: its name on the back end now; "" if the driver chose it.
        ids: of this import and of earlier ones of the object.
    """

    record: Volume | Snapshot | None
    name: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportVolume:
    """The request to import a volume.

    Attributes:
        pool: required if the back end has several.
        size: the expected size; None accepts any.
        round_up: let the driver extend a volume that is not whole GiB.
        block: for use as a raw block device; else it must contain a file system.
        fs_type: the expected file system; "" accepts any.
        encryption: the format in which nodes have encrypted it, or "".
        labels: information for people, for example the name of the claim.
    """

    origin: Origin
    pool: str = ""
    size: GiB | None = None
    round_up: bool = False
    block: bool = False
    fs_type: str = ""
    access_modes: tuple[AccessMode, ...] = (AccessMode.SINGLE_NODE_WRITER,)
    encryption: str = ""
    labels: Mapping[str, str] = field(default=EMPTY)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        kind = Block() if self.block else Mount(self.fs_type)
        return tuple(Capability(kind, mode) for mode in self.access_modes)


class Importing:
    """Imports on the back ends of this controller."""

    def __init__(
        self,
        store: Store,
        backends: Backends,
        locks: KeyedLocks,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._backends = backends
        self._locks = locks
        self._clock = clock

    def candidates(self, backend: str, *, snapshots: bool = False) -> tuple[Manageable, ...]:
        """The existing objects that the driver lists. Raises Unsupported if it lists none."""
        with self._backends.get(backend).importing() as imports:
            return imports.candidates(snapshots=snapshots)

    def volume(self, request: ImportVolume, *, dry_run: bool = False) -> Volume:
        """Import a volume, find the imported one, or finish an interrupted import.

        Args:
            dry_run: only check; returns the record that would be stored.

        Raises:
            InvalidRequest: a value is wrong, or the size is not whole GiB.
            OutOfRange: its size is not the expected one.
            AlreadyExists: it belongs to a record, or was imported differently.
            InUse: it is in use.
            DriverError: of the driver.
        """
        access.check_possible(request.capabilities)
        _check_encryption(request)
        with self._held(request.origin) as (backend, imports):
            if (known := self._known(Volume, replace(request.origin, within=request.pool))) is not None:
                _check_same_volume(known, request)
                if dry_run:
                    return known
                with self._locks.hold(locking.volume(known.id)):
                    return imports.resume(self._taken_over(known, request.origin))
            record = backend.place_import(self._volume(request))
            with self._locks.hold(locking.volume(record.id)), backend.intake.arrival():
                record, measured = imports.examine(record)
                _check_size(request, measured)
                return record if dry_run else imports.begin(_with_request(record, size=int(record.size)))

    def snapshot(self, origin: Origin, volume_id: str, labels: Mapping[str, str] = EMPTY, *, dry_run: bool = False) -> Snapshot:  # fmt: skip
        """Import a snapshot of a known volume, as `volume`.

        Raises:
            NotFound: the volume does not exist.
            InvalidRequest: the volume is on another back end.
            OutOfRange: the snapshot is larger than its volume.
        """
        if origin.static:
            raise InvalidRequest("static", "only a volume can be used without managing it")
        origin = replace(origin, within=volume_id)
        with self._held(origin) as (_, imports), self._locks.hold(shared=[locking.volume(volume_id)]):
            volume = get_source_volume(self._store, volume_id)
            if volume.backend != origin.backend:
                raise InvalidRequest(
                    "volume", f"{volume_id!r} is on back end {volume.backend!r}, not {origin.backend!r}"
                )
            if (known := self._known(Snapshot, origin)) is not None:
                _check_same(known, origin, other="")
                with self._locks.hold(locking.snapshot(known.id)):
                    return known if dry_run else imports.resume(known)
            record = Snapshot(
                id=_new_id(), name=origin.name, backend=volume.backend, volume_id=volume_id, size=volume.size,
                encryption=volume.encryption, imported=origin.imported(), labels=labels, created_at=stamp(self._clock()),
            )  # fmt: skip
            with self._locks.hold(locking.snapshot(record.id)):
                record, measured = imports.examine(record)
                if measured.size > volume.size:
                    raise OutOfRange(
                        "size", f"snapshot {origin.name!r} has {measured.size} GiB, its volume only {volume.size} GiB"
                    )
                return record if dry_run else imports.begin(record)

    def undo(self, kind: type[S], origin: Origin, *, only_own: bool = False, dry_run: bool = False) -> Undone:
        """Give an imported volume or snapshot up. It stays on the back end. `Origin.static` is ignored.

        Args:
            only_own: only if `Origin.requester` requested it.

        Raises:
            NotFound: no object of that name was imported.
            InvalidRequest: `Origin.within` is needed.
            InUse: it is attached or has dependents.
        """
        with self._held(origin) as (_, imports):
            record = self._known(kind, origin)
            if record is not None and only_own and not origin.is_owner_of(record):
                record = None
            place = within(record) if record is not None else origin.within
            before: tuple[str, ...] = given_up.ids(self._store, kind, origin.backend, origin.name, place)
            if record is None:
                if not before:
                    problem = f"was not imported from back end {origin.backend!r}"
                    raise NotFound(kind.__name__.lower(), origin.name, problem)
                return Undone(None, "", before)
            ids = (record.id, *before)
            if dry_run:
                imports.check_undo(record)
                return Undone(record, "", ids)
            keys = (locking.volume(record.id), locking.attachments(record.id))
            with self._locks.hold(*(keys if kind is Volume else (locking.snapshot(record.id),))):
                given = imports.undo(record)
            return Undone(given.record, given.name, ids)

    def requested_by(self, uid: str, backend: str, volume_id: str = "") -> Volume | None:
        """The volume that a VolumeImport has imported, from the store alone.

        Args:
            volume_id: its id, if known: then only this one.
        """
        if volume_id:
            found = find(self._store, Volume, volume_id)
            return found if found is not None and found.imported and found.imported.requester == uid else None
        records = walk_with_unreadable(self._store, Volume, {"backend": backend})
        volumes = (record for record in records if not isinstance(record, str) and record.imported is not None)
        return next((record for record in volumes if record.imported and record.imported.requester == uid), None)

    def is_ended(self, uid: str, volume_id: str) -> bool:
        """Whether the import that a VolumeImport requested, of this id if known, has ended: by an undo, or the deletion of the volume."""
        is_gone = bool(volume_id) and find(self._store, Volume, volume_id) is None
        return is_gone or given_up.is_ended(self._store, uid)

    def topology(self, backend: str) -> dict[str, str]:
        """The labels of the nodes that reach the back end; empty means all nodes."""
        return dict(self._backends.topologies.get(backend, EMPTY))

    def _known(self, kind: type[S], origin: Origin) -> S | None:
        """The import of the object. Raises CorruptRecord if there is none, but a record that may be it cannot be read."""
        if not origin.name:
            raise InvalidRequest("name", "must not be empty")
        found, unreadable = [], ""
        for record in walk_with_unreadable(self._store, kind, {"backend": origin.backend}):
            if isinstance(record, str):
                unreadable = record
            elif origin.means(record):
                found.append(record)
        if origin.requester and (own := [record for record in found if origin.is_owner_of(record)]):
            found = own
        else:
            found = [record for record in found if origin.within in ("", within(record))]
        if not found and unreadable:
            raise CorruptRecord(kind.__name__.lower(), unreadable, f"it may be the import of {origin.name!r}")
        if len(found) > 1:
            field, places = ("pool" if kind is Volume else "volume"), sorted(within(record) for record in found)
            raise InvalidRequest(
                field, f"must be named, since there are several imports of {origin.name!r}: {', '.join(places)}"
            )
        return found[0] if found else None

    @contextmanager
    def _held(self, origin: Origin) -> Iterator[tuple[Backend, Imports]]:
        """One import at a time on a back end: two names may refer to the same object."""
        backend = self._backends.get(origin.backend)
        with self._locks.hold(locking.imports(origin.backend)), backend.importing() as imports:
            yield backend, imports

    def _taken_over(self, record: Volume, origin: Origin) -> Volume:
        """The record with its present owner."""
        if record.imported is None or record.imported.requester == origin.requester:
            return record

        def owned(current: Volume) -> Volume:
            return replace(current, imported=current.imported and replace(current.imported, requester=origin.requester))

        return change(self._store, record, owned)

    def _volume(self, request: ImportVolume) -> Volume:
        return Volume(
            id=_new_id(),
            name=request.origin.name,
            backend=request.origin.backend,
            pool=request.pool,
            size=request.size or GiB(1),
            capabilities=request.capabilities,
            parameters={FS_TYPE: request.fs_type} if request.fs_type else {},
            multiattach=access.many_nodes(request.capabilities),
            imported=request.origin.imported(),
            encryption=request.encryption,
            labels=request.labels,
            created_at=stamp(self._clock()),
        )


def _new_id() -> str:
    """Never one of an earlier import, not even if an older copy of the store was restored: see `given_up`."""
    return str(uuid.uuid4())


def within(record: Volume | Snapshot) -> str:
    """That in which the name of the record's object is unique: the pool, or the id of the volume of a snapshot."""
    return record.pool if isinstance(record, Volume) else record.volume_id


def _with_request(record: Volume, **values: object) -> Volume:
    assert record.imported is not None, "the record of an import names its origin"
    request = {**record.imported.request, **values}
    return replace(record, imported=replace(record.imported, request=request))


def _check_encryption(request: ImportVolume) -> None:
    """Raises InvalidRequest."""
    if not request.encryption:
        return
    if why := find_unknown(request.encryption) or access.find_encryption_obstacle(request.capabilities):
        raise InvalidRequest(ENCRYPTION, why)


def _check_size(request: ImportVolume, measured: Measured) -> None:
    """Raises OutOfRange or InvalidRequest."""
    name = request.origin.name
    if request.size is not None and request.size != measured.size:
        raise OutOfRange("size", f"volume {name!r} has {measured.size} GiB, but {request.size} GiB were expected")
    if measured.length is None or measured.length == measured.size * BYTES_PER_GIB:
        return
    if request.origin.static or not request.round_up:
        how = (
            "extend it first" if request.origin.static else "extend it first, or let the import extend it (--round-up)"
        )
        raise InvalidRequest("size", f"volume {name!r} has {measured.length} bytes, which is not whole GiB; {how}")


def _check_same_volume(record: Volume, request: ImportVolume) -> None:
    """Compare the request with that of the import: the volume may have been expanded and modified since.

    Raises:
        AlreadyExists: names the first difference.
        PreconditionFailed: the import cannot be finished.
    """
    first = record.imported.request if record.imported else EMPTY
    other = ""
    if request.size is not None and request.size != (size := first.get("size", record.size)):
        other = f"its size is {size} GiB, but {request.size} GiB were expected"
    elif record.capabilities != request.capabilities:
        other = "it has other access modes, or another use (file system or raw block)"
    elif request.encryption != record.encryption:
        other = f"its encryption is {record.encryption or 'none'}"
    _check_same(record, request.origin, other=other)


def _check_same(record: Volume | Snapshot, origin: Origin, *, other: str) -> None:
    known = record.imported
    if known is not None and not origin.is_owner_of(record):
        owner = f"the VolumeImport with uid {known.requester}" if known.requester else "the command `import-volume`"
        other = f"it belongs to {owner}, which must give it up first"
    elif known is not None and known.static is not origin.static:
        other = "it is static" if known.static else "it is managed"
    if other:
        raise AlreadyExists(noun(record), origin.name, f"it was imported as {record.id}: {other}")
    if record.status not in (Status.AVAILABLE, Status.IMPORTING):
        raise PreconditionFailed(
            f"{noun(record)} {origin.name!r} was imported as {record.id!r}, which is {record.status}"
        )
