"""Snapshots, with the API of cinderlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import arguments, checks, default, exception, fields, restoring
from csi_cinderlib.cinderlib.attributes import SnapshotFields
from csi_cinderlib.cinderlib.class_attributes import ovo_class
from csi_cinderlib.cinderlib.keywords import CopiedVolume, SnapshotArguments
from csi_cinderlib.cinderlib.lazy_volume import LazyVolumeAttr
from csi_cinderlib.cinderlib.named import NamedObject
from csi_cinderlib.cinderlib.results import JsonSource
from csi_cinderlib.model import records

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library, Volume


class Snapshot(SnapshotFields, LazyVolumeAttr[records.Snapshot], NamedObject[records.Snapshot]):
    """A snapshot of a volume.

    Args:
        volume: the source volume.
        kwargs: `id`, `name`, `description`, `metadata`, and any other field of Cinder's snapshot. `backend` must be that of the volume.
    """

    OVO_CLASS: ClassVar[Any] = ovo_class("Snapshot")
    _IN_JSON: ClassVar[tuple[str, ...]] = ("name", "provider", "metadata", "fields")
    _volume: Volume | None

    def __init__(self, volume: Volume | None, **kwargs: Unpack[SnapshotArguments]) -> None:
        given: dict[str, Any] = dict(kwargs)
        backend = given.pop("backend", None)
        if restoring.is_stored(given):
            NamedObject.__init__(self, *restoring.restored(records.Snapshot, backend or volume, given))
            self._volume = volume
            restoring.mark(self, given)
            return
        if volume is None:
            checks.refuse("volume", "must be set: the volume of which the snapshot is taken")
        checks.check_object("volume", volume, records.Volume)
        _check_backend(volume, backend)
        with exception.about(None):
            record = arguments.snapshot_record(volume._library, volume._with_unsaved(), given)
        super().__init__(volume._library, record, volume.backend)
        self._volume = volume

    @classmethod
    def _of(
        cls, library: Library, record: records.Snapshot, backend: Backend | str, volume: Volume | None = None
    ) -> Snapshot:
        """A handle for an existing record."""
        snapshot = cls.__new__(cls)
        NamedObject.__init__(snapshot, library, record, backend)
        snapshot._volume = volume
        return snapshot

    @classmethod
    def _of_ovo(cls, backend: Any, volume: Any, ovo: Any) -> Snapshot:
        return cls(volume, backend=backend, **{restoring.OVO: ovo})

    # --- finding

    @classmethod
    def get_by_id(cls, snapshot_id: str) -> Snapshot:
        """Raises SnapshotNotFound."""
        return default.library().snapshot(snapshot_id)

    @classmethod
    def get_by_name(cls, snapshot_name: str) -> list[Snapshot]:
        return default.library().persistence.get_snapshots(snapshot_name=snapshot_name)

    @classmethod
    def load(cls, json_src: JsonSource, save: bool = False) -> Snapshot:
        """Load a snapshot from the output of `json` or `dump`. `save` stores it, with its volume if included."""
        return default.library().load_object(cls, json_src, save)

    # --- properties

    def _versioned(self) -> Any:
        volume = self.volume
        return versioned.snapshot(self._library.store, self._record, volume._record, volume._attached())

    def _changed(self, record: records.Snapshot, given: Mapping[str, Any]) -> records.Snapshot:
        return fields.set_snapshot(record, given)

    # --- life cycle

    def create(self) -> None:
        """Take the snapshot. After a failure, the same applies as for `Volume.create`."""
        with exception.about(self), self._library.busy(self.id):
            self.volume._as_source()
            given = self._unsaved()
            wanted = self._record = self._to_create()
            try:
                record = self._core.create_snapshot(wanted)
            except Exception:
                self._after_failed_creation()
                raise
            self._saved(record, given)
            self._library.handles.snapshot_created(self)

    def delete(self) -> None:
        """Delete the snapshot. Does nothing if it was deleted already. A failed deletion can be repeated."""
        with exception.about(self), self._library.busy(self.id):
            if (record := self._doomed()) is not None:
                try:
                    self._core.delete_snapshot(record)
                except Exception:
                    self._after_failed_deletion()
                    raise
            self._gone()
            self._library.handles.snapshot_deleted(self)

    def create_volume(self, **new_vol_params: Unpack[CopiedVolume]) -> Volume:
        """Create a volume from the snapshot. Other attributes default to those of the snapshot's volume."""
        with exception.about(self):
            self._as_source()
        return self.volume._restored(self, **new_vol_params)


def _check_backend(volume: Volume, backend: Backend | str | None) -> None:
    """Raises ValueError, as cinderlib does, if the volume is on another back end."""
    if backend is not None and getattr(backend, "id", backend) != volume._record.backend:
        raise ValueError(f"Volume {volume.id} is on back end {volume._record.backend!r}, not {backend!r}")
