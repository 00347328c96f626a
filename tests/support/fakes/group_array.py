"""The array of `array_driver`, which also has groups and takes snapshots of all volumes in one at one moment.

To delete a group deletes the volumes in it (dell_emc/unity/adapter.py, dell_emc/powermax/common.py).
"""

from __future__ import annotations

from typing import Any

from cinder import exception, interface

from tests.support.fakes.array import SNAPSHOT, VOLUME, Array, NameTaken
from tests.support.fakes.array_driver import ASSIGNED_IDS, UNIQUE_NAMES, ArrayDriver, _call, name_taken

GROUP = "group"


def _member_of(group: Any) -> str:
    """A volume in a group is mapped to it, as to a host: it cannot be deleted."""
    return f"group-{group.id}"


@interface.volumedriver
class GroupArrayDriver(ArrayDriver):
    """Knows groups and their snapshots by name. Group snapshots are all or nothing: a name that is taken refuses all of them."""

    array: Array

    def get_volume_stats(self, refresh: bool = False) -> Any:
        return {**super().get_volume_stats(refresh), "consistent_group_snapshot_enabled": True}

    @_call
    def create_group(self, context: Any, group: Any) -> dict[str, Any]:
        try:
            self.array.create(GROUP, f"group-{group.id}", 0, unique=UNIQUE_NAMES in self._traits)
        except NameTaken as error:
            raise name_taken(GROUP) from error
        return {"status": "available"}

    @_call
    def update_group(self, context: Any, group: Any, add_volumes: Any = None, remove_volumes: Any = None) -> Any:
        """To take out a volume that is not in the group is an error."""
        for volume in add_volumes:
            self.array.map(self._require(VOLUME, volume).id, _member_of(group))
        for volume in remove_volumes:
            lun = self._require(VOLUME, volume)
            if _member_of(group) not in lun.hosts:
                raise exception.VolumeBackendAPIException(data=f"{lun.id} is not in the group")
            self.array.unmap(lun.id, _member_of(group))
        return None, None, None

    @_call
    def delete_group(self, context: Any, group: Any, volumes: Any) -> Any:
        for found in self.array.luns(GROUP, name=f"group-{group.id}"):
            self.array.delete(found.id)
        for lun in self.array.luns(VOLUME):
            if _member_of(group) in lun.hosts:
                self.array.delete(lun.id)
        return {"status": "deleted"}, []

    @_call
    def create_group_snapshot(self, context: Any, group_snapshot: Any, snapshots: Any) -> Any:
        parents = [self._require(VOLUME, snapshot.volume) for snapshot in snapshots]
        if UNIQUE_NAMES in self._traits and any(
            self.array.luns(SNAPSHOT, name=snapshot.name) for snapshot in snapshots
        ):
            raise name_taken("group snapshot")
        ids = [
            self.array.create(SNAPSHOT, snapshot.name, snapshot.volume_size, parent=parent.id)
            for snapshot, parent in zip(snapshots, parents, strict=True)
        ]
        assigned = ASSIGNED_IDS in self._traits
        return {"status": "available"}, [
            {"id": snapshot.id, "status": "available", **({"provider_location": id} if assigned else {})}
            for snapshot, id in zip(snapshots, ids, strict=True)
        ]

    @_call
    def delete_group_snapshot(self, context: Any, group_snapshot: Any, snapshots: Any) -> Any:
        for snapshot in snapshots:
            if found := self._find_or_warn(SNAPSHOT, snapshot):
                self.array.delete(found.id)
        return {"status": "deleted"}, [{"id": snapshot.id, "status": "deleted"} for snapshot in snapshots]
