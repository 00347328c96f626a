"""The driver of such an array: nodes attach its LUNs as files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cinder import interface

from csi_cinderlib.host import devices
from tests.support.fakes.array import SNAPSHOT, VOLUME
from tests.support.fakes.array_driver import ArrayDriver
from tests.torture.backed_array import BackedArray


@interface.volumedriver
class BackedArrayDriver(ArrayDriver):
    """ArrayDriver with such an array."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = self.configuration
        self.array: BackedArray = BackedArray(Path(settings.nothing_array_file), by=settings.nothing_installation)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> Any:
        with self._copying(SNAPSHOT, snapshot):
            return super().create_volume_from_snapshot(volume, snapshot)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> Any:
        with self._copying(VOLUME, src_vref):
            return super().create_cloned_volume(volume, src_vref)

    def create_snapshot(self, snapshot: Any) -> Any:
        with self._copying(VOLUME, snapshot.volume):
            return super().create_snapshot(snapshot)

    @contextmanager
    def _copying(self, kind: str, known: Any) -> Iterator[None]:
        lun = self._find(kind, known)
        with self.array.copying(lun.id if lun else ""):
            yield

    def initialize_connection(self, volume: Any, connector: dict[str, Any]) -> dict[str, Any]:
        super().initialize_connection(volume, connector)
        data = {
            "device_path": str(self.array.file(self._require(VOLUME, volume).id)),
            "block_size": devices.BLOCK_SIZE,
            "access_mode": "rw",
        }
        return {"driver_volume_type": "local", "data": data}
