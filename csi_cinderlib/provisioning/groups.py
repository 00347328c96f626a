"""Calls of the group controller: consistent snapshots of several volumes (spec: Group Controller Service)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.lookup import find, get_source_volume
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.answers import GroupSnapshotState
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.times import stamp, utc_now
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import all_of
from csi_cinderlib.provisioning import locking
from csi_cinderlib.provisioning.comparison import check_same_group_snapshot
from csi_cinderlib.provisioning.idempotency import CreateCall, create_once


class Groups:
    """Every call can be repeated, wherever an earlier call ended."""

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
        """Create the group snapshot of that name, find it, or finish an interrupted creation.

        Raises:
            AlreadyExists: a group snapshot of that name has other volumes or parameters.
            NotFound: a volume does not exist.
            InvalidRequest: the volumes are on different back ends.
            Unsupported: the back end cannot take consistent group snapshots.
        """
        wanted = GroupSnapshot(
            id=self._ids.group_snapshot_id(name),
            name=name,
            backend="",
            volume_ids=tuple(sorted(set(volume_ids))),
            parameters=parameters,
            created_at=stamp(self._clock()),
        )
        call = CreateCall(
            kind=GroupSnapshot,
            id=wanted.id,
            check_same=lambda record: check_same_group_snapshot(record, wanted),
            create=lambda: self._create(wanted),
            resume=self._resume,
            delete=self._delete,
        )
        shared = [locking.volume(id) for id in wanted.volume_ids]
        grouping = [locking.grouping(id) for id in wanted.volume_ids]
        with self._locks.hold(locking.group_snapshot(wanted.id), *grouping, shared=shared):
            return self._state(create_once(self._store, self._backends, call))

    def delete(self, group_snapshot_id: str, snapshot_ids: Sequence[str]) -> None:
        """Delete it with all its members, or finish its deletion. Succeeds if it does not exist.

        Raises:
            InvalidRequest: `snapshot_ids` are not its members.
            InUse: volumes depend on a member.
        """
        with self._locks.hold(locking.group_snapshot(group_snapshot_id)):
            found = find(self._store, GroupSnapshot, group_snapshot_id)
            if found is None:
                return
            check_members(found, snapshot_ids)
            self._delete(self._backends.get(found.backend), found)

    def get(self, group_snapshot_id: str, snapshot_ids: Sequence[str]) -> GroupSnapshotState:
        """Raises NotFound, or InvalidRequest if `snapshot_ids` are not its members."""
        found = self._store.get(GroupSnapshot, group_snapshot_id)
        check_members(found, snapshot_ids)
        return self._state(found)

    def _resume(self, backend: Backend, found: GroupSnapshot) -> GroupSnapshot:
        with self._hold_members(found):
            return backend.resume_create_group_snapshot(found)

    def _delete(self, backend: Backend, found: GroupSnapshot) -> None:
        with self._hold_members(found):
            backend.delete_group_snapshot(found)

    def _hold_members(self, found: GroupSnapshot) -> AbstractContextManager[None]:
        """Prevents a deletion while a volume is created from a member: the record of a member does not show the state of the group."""
        return self._locks.hold(*(locking.snapshot(id) for id in found.snapshot_ids))

    def _create(self, wanted: GroupSnapshot) -> GroupSnapshot:
        volumes = [get_source_volume(self._store, id) for id in wanted.volume_ids]
        if len({volume.backend for volume in volumes}) > 1:
            raise InvalidRequest(
                "source_volume_ids", "are on different back ends; a consistent group snapshot is not possible"
            )
        members = [member(self._ids.member_id(wanted.id, volume.id), wanted, volume) for volume in volumes]
        record = replace(wanted, backend=volumes[0].backend)
        return self._backends.get(record.backend).create_group_snapshot(record, members)

    def _state(self, found: GroupSnapshot) -> GroupSnapshotState:
        where = {"group_snapshot_id": found.id}
        return GroupSnapshotState(found, all_of(self._store, Snapshot, where))


def member(id: str, record: GroupSnapshot, volume: Volume) -> Snapshot:
    """The record of the snapshot of one volume in the group."""
    return Snapshot(
        id=id,
        name=f"{record.name}/{volume.name}",
        backend=volume.backend,
        volume_id=volume.id,
        size=volume.size,
        group_snapshot_id=record.id,
        created_at=record.created_at,
    )


def check_members(found: GroupSnapshot, snapshot_ids: Sequence[str]) -> None:
    """Raises InvalidRequest if the list is not empty and does not match the members."""
    if snapshot_ids and set(snapshot_ids) != set(found.snapshot_ids):
        raise InvalidRequest("snapshot_ids", f"must be exactly the members of group snapshot {found.id!r}")
