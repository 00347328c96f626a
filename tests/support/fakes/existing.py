"""An array with volumes that it knows by ids of its own, which can be managed."""

from __future__ import annotations

from typing import Any

from cinder import exception

from tests.support.fakes.nothing import NothingDriver


class ArrayWithVolumes(NothingDriver):
    """Renames a volume that it manages, and takes any reference."""

    def manage_existing(self, volume: Any, existing_ref: Any) -> dict[str, Any]:
        self._called("manage_existing", volume.id)
        self.volumes[volume.id] = 1
        return {"provider_id": next(iter(existing_ref.values()))}

    def manage_existing_get_size(self, volume: Any, existing_ref: Any) -> int:
        self._called("manage_existing_get_size", volume.id)
        return 1

    def unmanage(self, volume: Any) -> None:
        self._called("unmanage", volume.id)
        self.volumes.pop(volume.id, None)


class ArrayWithSnapshots(ArrayWithVolumes):
    """Also takes any snapshot, whatever volume it is of."""

    def manage_existing_snapshot(self, snapshot: Any, existing_ref: Any) -> None:
        self._called("manage_existing_snapshot", snapshot.id)

    def manage_existing_snapshot_get_size(self, snapshot: Any, existing_ref: Any) -> int:
        return 1


class Acs5000CommonDriver(ArrayWithVolumes):
    """Has the name of ToYou's, which extends a volume when it is asked for the size."""

    def manage_existing_get_size(self, volume: Any, existing_ref: Any) -> int:
        return super().manage_existing_get_size(volume, existing_ref)


class RBDDriver(ArrayWithVolumes):
    """Has the class name of Cinder's: it finds images by name, and makes an image smaller if it is asked to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.images: dict[str, int] = {}
        self.protected: dict[str, bool] = {}
        """Snapshots of the only image."""

    def get_manageable_volumes(self, *_arguments: Any) -> list[dict[str, Any]]:
        images = self.images.items()
        return [{"reference": {"source-name": name}, "size": size, "safe_to_manage": True} for name, size in images]

    def identify_existing(self, subject: Any, name: str) -> dict[str, str]:
        return {"place": "pool", "object_id": f"id of {name}" if name in self.images else ""}

    def manage_existing(self, volume: Any, existing_ref: Any) -> dict[str, Any]:
        self.images[volume.name] = self.images.pop(existing_ref["source-name"])
        return {}

    def manage_existing_get_size(self, volume: Any, existing_ref: Any) -> int:
        return self.images[existing_ref["source-name"]]

    def extend_volume(self, volume: Any, new_size: int) -> None:
        self.images[volume.name] = new_size

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, Any]:
        self.images[volume.name] = volume.size
        return {}

    def get_manageable_snapshots(self, *_arguments: Any) -> list[dict[str, Any]]:
        source = {"source-name": next(iter(self.images))}
        entry = {"size": 1, "safe_to_manage": True, "source_reference": source}
        return [{"reference": {"source-name": name}, **entry} for name in self.protected]

    def manage_existing_snapshot(self, snapshot: Any, existing_ref: Any) -> None:
        del self.protected[existing_ref["source-name"]]
        self.protected[snapshot.name] = True

    def manage_existing_snapshot_get_size(self, snapshot: Any, existing_ref: Any) -> int:
        if existing_ref["source-name"] not in self.protected:
            raise exception.ManageExistingInvalidReference(existing_ref=existing_ref, reason="no such snapshot")
        return 1

    def unmanage_snapshot(self, snapshot: Any) -> None:
        if snapshot.name not in self.protected:
            raise RuntimeError(f"no snapshot {snapshot.name}")
        self.protected[snapshot.name] = False
