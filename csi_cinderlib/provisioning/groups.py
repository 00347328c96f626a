"""The group controller's calls: snapshots of several volumes at one moment (spec: Group Controller Service)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import AlreadyExists, InvalidRequest, NotFound
from csi_cinderlib.lifecycle.lookup import get_source_volume
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.answers import GroupSnapshotState
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.times import stamp, utc_now
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.provisioning import locking
from csi_cinderlib.provisioning.comparison import mapping_difference
from csi_cinderlib.provisioning.finality import home, retried


class Groups:
    """Every call is safe to repeat, from wherever an earlier one ended."""

    def __init__(
        self,
        store: Store,
        backends: Backends,
        locks: KeyedLocks,
        *,
        ids: Namespace,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._backends = backends
        self._locks = locks
        self._ids = ids
        self._clock = clock

    def create(self, name: str, volume_ids: Sequence[str], parameters: Mapping[str, str]) -> GroupSnapshotState:
        """The group snapshot of that name; taken, found, or an interrupted attempt carried through.

        Raises:
            AlreadyExists: there is one of other volumes, or with other parameters.
            NotFound: a volume.
            InvalidRequest: the volumes lie on several back ends.
            Unsupported: their back end cannot take snapshots at one moment.
        """
        wanted = GroupSnapshot(
            id=self._ids.group_snapshot_id(name),
            name=name,
            backend="",
            volume_ids=tuple(sorted(set(volume_ids))),
            parameters=parameters,
            created_at=stamp(self._clock()),
        )
        shared = [locking.volume(id) for id in wanted.volume_ids]
        grouping = [locking.grouping(id) for id in wanted.volume_ids]
        with self._locks.hold(locking.group_snapshot(wanted.id), *grouping, shared=shared):
            found = self._find(wanted.id)
            if found is None:
                return self._take(wanted)
            if found.status is Status.DELETING:
                self._delete(found)
                return self._take(wanted)
            check_same(found, wanted)
            return self._state(found) if found.status is Status.AVAILABLE else self._resume(found, wanted)

    def delete(self, group_snapshot_id: str, snapshot_ids: Sequence[str]) -> None:
        """Delete it with all its members, or finish deleting it. Fine if it is gone.

        Raises:
            InvalidRequest: these are not its members.
            InUse: volumes depend on one of them.
        """
        with self._locks.hold(locking.group_snapshot(group_snapshot_id)):
            found = self._find(group_snapshot_id)
            if found is None:
                return
            check_members(found, snapshot_ids)
            self._delete(found)

    def get(self, group_snapshot_id: str, snapshot_ids: Sequence[str]) -> GroupSnapshotState:
        """Raises NotFound, or InvalidRequest when these are not its members."""
        found = self._store.get(GroupSnapshot, group_snapshot_id)
        check_members(found, snapshot_ids)
        return self._state(found)

    def _delete(self, found: GroupSnapshot) -> None:
        with self._hold_members(found):
            home(self._backends, found).delete_group_snapshot(found)

    def _hold_members(self, found: GroupSnapshot) -> AbstractContextManager[None]:
        """Nothing is deleted while a volume is being made from a member, whose own record does not show the group's state."""
        return self._locks.hold(*(locking.snapshot(id) for id in found.snapshot_ids))

    def _find(self, id: str) -> GroupSnapshot | None:
        try:
            return self._store.get(GroupSnapshot, id)
        except NotFound:
            return None

    def _take(self, wanted: GroupSnapshot) -> GroupSnapshotState:
        volumes = [get_source_volume(self._store, id) for id in wanted.volume_ids]
        if len({volume.backend for volume in volumes}) > 1:
            raise InvalidRequest(
                "source_volume_ids", "are on different back ends; a consistent group snapshot is not possible"
            )
        members = [member(self._ids.member_id(wanted.id, volume.id), wanted, volume) for volume in volumes]
        record = replace(wanted, backend=volumes[0].backend)
        backend = home(self._backends, record)
        with retried(self._store, record.backend, GroupSnapshot, record.id):
            return self._state(backend.create_group_snapshot(record, members))

    def _resume(self, found: GroupSnapshot, wanted: GroupSnapshot) -> GroupSnapshotState:
        backend = home(self._backends, found)
        try:
            with self._hold_members(found), retried(self._store, found.backend, GroupSnapshot, found.id):
                return self._state(backend.resume_create_group_snapshot(found))
        except NotFound:  # it died before all its members were written down, and is gone now
            return self._take(wanted)

    def _state(self, found: GroupSnapshot) -> GroupSnapshotState:
        where = {"group_snapshot_id": found.id}
        return GroupSnapshotState(found, all_of(self._store, Snapshot, where))


def member(id: str, record: GroupSnapshot, volume: Volume) -> Snapshot:
    """The snapshot of one volume in it."""
    return Snapshot(
        id=id,
        name=f"{record.name}/{volume.name}",
        backend=volume.backend,
        volume_id=volume.id,
        size=volume.size,
        group_snapshot_id=record.id,
        created_at=record.created_at,
    )


def check_same(found: GroupSnapshot, wanted: GroupSnapshot) -> None:
    """Raises AlreadyExists when a group snapshot is not the one asked for again."""
    if set(found.volume_ids) != set(wanted.volume_ids):
        raise AlreadyExists(
            "group snapshot", wanted.name, f"it is a snapshot of the volumes {', '.join(found.volume_ids)}"
        )
    if keys := mapping_difference(found.parameters, wanted.parameters):
        raise AlreadyExists("group snapshot", wanted.name, f"parameters differ in {keys}")


def check_members(found: GroupSnapshot, snapshot_ids: Sequence[str]) -> None:
    """Raises InvalidRequest when a list is given and does not name exactly the members."""
    if snapshot_ids and set(snapshot_ids) != set(found.snapshot_ids):
        raise InvalidRequest("snapshot_ids", f"are not the members of group snapshot {found.id!r}")
