"""The common base of snapshots and connections: their volume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from csi_cinderlib.cinderlib.handle import Object
from csi_cinderlib.model.records import Attachment, Snapshot

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Volume

C = TypeVar("C", Snapshot, Attachment)


class LazyVolumeAttr(Object[C]):
    """An object that belongs to a volume, which is looked up on first access."""

    SIMPLE_JSON_IGNORE: ClassVar[tuple[str, ...]] = ("volume",)
    LAZY_PROPERTIES: ClassVar[tuple[str, ...]] = ("volume",)
    _volume: Volume | None

    @property
    def volume(self) -> Volume:
        """The volume, looked up on first access. Raises VolumeNotFound."""
        if self._volume is None:
            self._volume = self._library.volume(self._record.volume_id)
        return self._volume

    @volume.setter
    def volume(self, value: Volume) -> None:
        self._volume = value

    @property
    def volume_id(self) -> str:
        return self._record.volume_id

    def _primitive(self, without: Iterable[str] = ()) -> dict[str, Any]:
        primitive = super()._primitive({"volume", *without})
        if "volume" not in without and self._volume is not None:
            primitive["versioned_object.data"]["volume"] = self._volume._primitive(but=self.id)
        return primitive

    def _store_all(self) -> C:
        if self._volume is not None:
            self._volume._current()
        return self._put(self._record)

    def refresh(self) -> None:
        """Read the object again, and its volume if loaded."""
        had_volume, self._volume = self._volume is not None, None
        super().refresh()
        if had_volume:
            self._volume = self._library.volume(self._record.volume_id)
