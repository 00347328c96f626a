"""Snapshots, with the API of cinderlib."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import default, exception
from csi_cinderlib.cinderlib.attributes import SnapshotFields
from csi_cinderlib.cinderlib.class_attributes import ovo_class
from csi_cinderlib.cinderlib.handle import NamedObject, columns, new_status, now, tenant, updated_snapshot
from csi_cinderlib.cinderlib.keywords import CopiedVolume, SnapshotArguments
from csi_cinderlib.cinderlib.lazy_volume import LazyVolumeAttr
from csi_cinderlib.cinderlib.results import JsonSource
from csi_cinderlib.model import records

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library, Volume


class Snapshot(SnapshotFields, LazyVolumeAttr[records.Snapshot], NamedObject[records.Snapshot]):
    """A snapshot of a volume.

    Args:
        volume: the source volume.
        kwargs: `id`, `name`, `description`, `metadata`, and any other field of Cinder's snapshot.
    """

    OVO_CLASS: ClassVar[Any] = ovo_class("Snapshot")

    def __init__(self, volume: Volume, **kwargs: Unpack[SnapshotArguments]) -> None:
        fields = dict(kwargs)
        if "description" in fields:
            fields["display_description"] = fields.pop("description")
        given = columns(records.Snapshot, fields, ("name",))
        record = records.Snapshot(
            id=str(given.get("id") or self.new_uuid()),
            name=str(given.pop("name", "") or given.get("display_name") or ""),
            backend=volume._record.backend,
            volume_id=volume.id,
            size=volume._record.size,
            created_at=now(),
        )
        of_volume = {name: volume._record.fields.get(name) for name in ("project_id", "user_id")}
        updated = updated_snapshot(record, {"display_name": record.name, **given})
        updated = replace(updated, fields={**updated.fields, **tenant(volume._library, {**of_volume, **given})})
        super().__init__(volume._library, updated, volume.backend)
        self._volume: Volume | None = volume

    @classmethod
    def _of(
        cls, library: Library, record: records.Snapshot, backend: Backend | str, volume: Volume | None = None
    ) -> Snapshot:
        """A handle for an existing record."""
        snapshot = cls.__new__(cls)
        NamedObject.__init__(snapshot, library, record, backend)
        snapshot._volume = volume
        return snapshot

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
        return versioned.snapshot(self._library.store, self._record, self.volume._record)

    def _changed(self, record: records.Snapshot, given: Mapping[str, Any]) -> records.Snapshot:
        return replace(updated_snapshot(record, given), status=new_status(record, given))

    # --- life cycle

    def create(self) -> None:
        """Take the snapshot. After a failure, the same applies as for `Volume.create`."""
        with exception.about(self), self._library.busy(self.id):
            self.volume._current()
            try:
                record = self._core.create_snapshot(self._record)
            except Exception:
                self._after_failed_creation()
                raise
            self._take(record)
            self._library.handles.snapshot_created(self)

    def delete(self) -> None:
        """Delete the snapshot. A failed deletion can be repeated."""
        with exception.about(self), self._library.busy(self.id):
            if (record := self._doomed()) is not None:
                try:
                    self._core.delete_snapshot(record)
                except Exception:
                    self._after_failed_deletion()
                    raise
            self._take(self._record, "deleted")
            self._library.handles.snapshot_deleted(self)

    def create_volume(self, **new_vol_params: Unpack[CopiedVolume]) -> Volume:
        """Create a volume from the snapshot. Other attributes default to those of the snapshot's volume."""
        with exception.about(self):
            self._current()
        return self.volume._restored(self, **new_vol_params)
