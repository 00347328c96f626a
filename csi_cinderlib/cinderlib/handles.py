"""The mapping of records to objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from csi_cinderlib.cinderlib import listed
from csi_cinderlib.cinderlib.backends import Backend
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.errors import CorruptRecord, NotFound
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.persistence.api import Comparing
from csi_cinderlib.persistence.iteration import PAGE, pages, walk

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

O = TypeVar("O", Volume, Snapshot, Connection)  # noqa: E741  # object


class Handles:
    """Creates the objects for records.

    The rules are those of cinderlib. With a store inside this process (`memory`) there is a single object for each volume,
    snapshot and connection. With other stores each look-up returns a new object, as the record may have changed. Older objects in
    this process get what an operation changes; `refresh` reads what another process has changed, and the related objects.

    In both cases a volume and its snapshots and connections refer to each other. Deleted objects are missing from lists read later.
    Existing lists do not change, so that a caller may delete objects during iteration.
    """

    def __init__(self, library: Library, *, one_each: bool) -> None:
        self._library = library
        self._one_each = one_each
        store = library.store.current
        self._comparing = store if one_each and isinstance(store, Comparing) else None
        self._volumes: dict[str, Volume] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._connections: dict[str, Connection] = {}

    def find_volume(self, id: str) -> Volume:
        """Raises NotFound."""
        return self._known_volume(id) or self.volume(self._library.store.get(records.Volume, id))

    def find_volumes(self, where: Mapping[str, str]) -> list[Volume]:
        """The readable volumes whose fields have these values, in the order of their ids."""
        if self._comparing is None:
            return list(self._listed(where))
        found = []
        for id in self._comparing.ids(records.Volume, where):
            with suppress(NotFound, CorruptRecord):  # removed in the meantime, or unreadable
                found.append(self._known_volume(id) or self.find_volume(id))
        return found

    def _listed(self, where: Mapping[str, str]) -> Iterator[Volume]:
        store = self._library.store
        for page in pages(store, records.Volume, where):
            attached = None if self._one_each else listed.read(store, page.records)
            for record in page.records:
                volume = self.volume(record)
                volume._listed = attached
                yield volume

    def load_related(self, volumes: Sequence[Volume]) -> None:
        """Load the snapshots and connections of the volumes that have not loaded theirs, with one query for many volumes."""
        for start in range(0, len(volumes), PAGE):
            some = volumes[start : start + PAGE]
            self._load(some, "_snapshots", records.Snapshot, self.snapshot)
            self._load(some, "_connections", Attachment, self.connection)

    def _load(self, volumes: Sequence[Volume], name: str, kind: type[Any], make: Callable[..., Any]) -> None:
        without = {volume.id: volume for volume in volumes if getattr(volume, name) is None}
        loaded: dict[str, list[Any]] = {id: [] for id in without}
        for record in walk(self._library.store, kind, {"volume_id": tuple(without)}):
            loaded[record.volume_id].append(make(record, volume=without[record.volume_id]))
        for id, volume in without.items():
            setattr(volume, name, loaded[id])

    def _known_volume(self, id: str) -> Volume | None:
        """The object of the volume, if the record has not changed since; saves reading it."""
        known = self._volumes.get(id)
        if known is not None and self._comparing is not None and self._comparing.is_current(known._record):
            return known
        return None

    def volume(self, record: records.Volume) -> Volume:
        return self._handle(self._volumes, record, lambda backend: Volume._of(self._library, record, backend))

    def snapshot(self, record: records.Snapshot, volume: Volume | None = None) -> Snapshot:
        return self._handle(
            self._snapshots, record, lambda backend: Snapshot._of(self._library, record, backend, volume)
        )

    def connection(self, record: Attachment, volume: Volume | None = None) -> Connection:
        return self._handle(
            self._connections, record, lambda backend: Connection._of(self._library, record, backend, volume)
        )

    def _handle(self, known: dict[str, O], record: Any, make: Callable[[Backend | str], O]) -> O:
        handle = known.get(record.id)
        if handle is None:
            handle = make(self._library.backend_named(record.backend))
            if self._one_each:
                known[record.id] = handle
        elif handle._record != record:
            handle._take(record)
        return handle

    def keep(self, handle: Any) -> None:
        """Make a stored object the single one of its record."""
        if self._one_each:
            tables: tuple[tuple[type, dict[str, Any]], ...] = (
                (Volume, self._volumes),
                (Snapshot, self._snapshots),
                (Connection, self._connections),
            )
            next(table for kind, table in tables if isinstance(handle, kind))[handle.id] = handle

    def volume_created(self, volume: Volume) -> None:
        if self._one_each:
            self._volumes[volume.id] = volume
        if isinstance(volume.backend, Backend):
            volume.backend._volume_created(volume)

    def volume_deleted(self, volume: Volume) -> None:
        self._volumes.pop(volume.id, None)
        if isinstance(volume.backend, Backend):
            volume.backend._volume_deleted(volume)

    def snapshot_created(self, snapshot: Snapshot) -> None:
        if self._one_each:
            self._snapshots[snapshot.id] = snapshot
        known = snapshot.volume._snapshots
        if known is not None:
            known.append(snapshot)

    def snapshot_deleted(self, snapshot: Snapshot) -> None:
        self._snapshots.pop(snapshot.id, None)
        if snapshot._volume is not None and snapshot._volume._snapshots is not None:
            known = snapshot._volume._snapshots
            snapshot._volume._snapshots = [other for other in known if other.id != snapshot.id]

    def connection_deleted(self, connection: Connection) -> None:
        self._connections.pop(connection.id, None)
        if connection._volume is not None:
            connection._volume._disconnected(connection)
