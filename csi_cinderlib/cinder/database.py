"""An implementation of `cinder.db.api` for Cinder's objects and drivers, based on csi-cinderlib's records.

`standins.database_module` makes the module that the runtime installs. Each public method of `Database` is a function of Cinder's
database interface, with Cinder's parameter order. A call that is not implemented raises `NotServed` with its name, and is added
to `Database.refused`, so that a test finds it even if a driver hides the error.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from csi_cinderlib.backend.columns import update_attachment, update_snapshot, update_volume
from csi_cinderlib.cinder import conditions, rows, volume_groups, volume_types
from csi_cinderlib.cinder.rows import Row, matching
from csi_cinderlib.cinder.work import Routes, Work
from csi_cinderlib.errors import AlreadyExists, NotFound, Unsupported
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, InitiatorData, Snapshot, Status, Volume
from csi_cinderlib.persistence.iteration import all_of, walk
from csi_cinderlib.persistence.optimistic import change


class NotServed(Unsupported):
    """A driver made a database call that is not implemented here or is meaningless without Cinder."""

    def __init__(self, call: str) -> None:
        super().__init__(f"unsupported Cinder database call {call!r}")
        self.call = call


class Database:
    """Cinder's database functions over the stores of all back ends."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.refused: set[str] = set()

    # --- any object

    def get_model_for_versioned_object(self, versioned_object: Any) -> str:
        return versioned_object if isinstance(versioned_object, str) else str(versioned_object.obj_name())

    def dispose_engine(self) -> None:
        """Called by remotefs before it forks."""

    def is_orm_value(self, _value: object) -> bool:
        return False

    def get_by_id(self, context: Any, model: str, id: str, *_args: Any, **_kwargs: Any) -> Row:
        getters: Mapping[str, Callable[[Any, str], Row]] = {
            "Volume": self.volume_get,
            "Snapshot": self.snapshot_get,
            "VolumeType": self.volume_type_get,
            "VolumeAttachment": self.volume_attachment_get,
            "QualityOfServiceSpecs": self.qos_specs_get,
            "Group": self.group_get,
            "GroupType": self.group_type_get,
            "GroupSnapshot": self.group_snapshot_get,
        }
        if model not in getters:
            self.refuse(f"get_by_id({model})")
        return getters[model](context, id)

    def resource_exists(self, context: Any, model: str, resource_id: str, _conditions: Any = None) -> bool:
        from cinder import exception

        try:
            self.get_by_id(context, model, resource_id)
        except exception.NotFound:
            return False
        return True

    def conditional_update(
        self,
        _context: Any,
        model: str,
        values: Mapping[str, Any],
        expected_values: Mapping[str, Any],
        filters: Iterable[Any] = (),
        *_: Any,
        **__: Any,
    ) -> bool:
        """Compare and swap of stored columns; only plain values, no database expressions."""
        swaps: Mapping[str, tuple[Callable[[str], tuple[Work, Any]], conditions.Swap]] = {
            "Volume": (self._volume, conditions.swap_volume),
            "Snapshot": (self._snapshot, conditions.swap_snapshot),
        }
        if model not in swaps:
            self.refuse(f"conditional_update({model})")
        find, swap = swaps[model]
        work, _ = find(expected_values["id"])
        try:
            return swap(work, expected_values, values, filters)
        except conditions.NotServable as problem:
            self.refuse(f"conditional_update({model}, {problem})")

    # --- volumes

    def volume_get(self, _context: Any, volume_id: str) -> Row:
        work, volume = self._volume(volume_id)
        return rows.volume_row(volume, work.attachments(volume_id))

    def volume_get_all_by_host(self, _context: Any, host: str, filters: Mapping[str, Any] | None = None) -> list[Row]:
        """Without static imports: their names prove nothing, and drivers take a name for that of the id."""
        pool = host.partition("#")[2]
        found = [
            rows.volume_row(volume, work.attachments(volume.id))
            for route in self._routes.of_host(host)
            for work in (route.work().learn_all_attachments(),)
            for volume in walk(route.store, Volume, {"backend": route.backend})
            if volume.status is not Status.DELETED and (not pool or volume.pool == pool) and not rows.is_static(volume)
        ]
        return matching(found, filters)

    def volume_get_all(
        self, context: Any, *_args: Any, filters: Mapping[str, Any] | None = None, **_: Any
    ) -> list[Row]:
        hosts = [route.host for route in self._routes.all()]
        return [row for host in hosts for row in self.volume_get_all_by_host(context, host, filters)]

    def volume_get_all_by_generic_group(
        self, _context: Any, group_id: str, filters: Mapping[str, Any] | None = None
    ) -> list[Row]:
        try:
            work, _ = self._routes.record(Group, group_id)
        except NotFound:
            return []
        found = [
            rows.volume_row(volume, work.attachments(volume.id))
            for volume in all_of(work.store, Volume, {"group_id": group_id})
        ]
        return matching(found, filters)

    volume_get_all_by_group = volume_get_all_by_generic_group

    def volume_update(self, _context: Any, volume_id: str, values: Mapping[str, Any]) -> None:
        work, _ = self._volume(volume_id)
        work.change_volume(volume_id, lambda record: update_volume(record, values))

    def volume_metadata_get(self, _context: Any, volume_id: str) -> dict[str, str]:
        return dict(self._volume(volume_id)[1].metadata)

    def volume_metadata_update(
        self, context: Any, volume_id: str, metadata: Mapping[str, str], delete: bool, *_: Any
    ) -> dict[str, str]:
        return self._merge_metadata(context, volume_id, "metadata", metadata, delete)

    def volume_metadata_delete(self, context: Any, volume_id: str, key: str, *_: Any) -> None:
        self._drop_metadata(context, volume_id, "metadata", key)

    def volume_admin_metadata_get(self, _context: Any, volume_id: str) -> dict[str, str]:
        return dict(self._volume(volume_id)[1].admin_metadata)

    def volume_admin_metadata_update(
        self, context: Any, volume_id: str, metadata: Mapping[str, str], delete: bool, *_: Any, **__: Any
    ) -> dict[str, str]:
        return self._merge_metadata(context, volume_id, "admin_metadata", metadata, delete)

    def volume_admin_metadata_delete(self, context: Any, volume_id: str, key: str) -> None:
        self._drop_metadata(context, volume_id, "admin_metadata", key)

    def volume_glance_metadata_get(self, _context: Any, _volume_id: str) -> list[Row]:
        return []

    def volume_glance_metadata_delete_by_snapshot(self, _context: Any, _snapshot_id: str) -> None:
        """Does nothing: there are no images."""

    def image_volume_cache_get_by_volume_id(self, _context: Any, _volume_id: str) -> None:
        return None

    def volume_encryption_metadata_get(self, _context: Any, _volume_id: str) -> dict[str, Any]:
        """Empty: the node encrypts (LUKS), the back end is not involved."""
        return {"encryption_key_id": None}

    # --- snapshots

    def snapshot_get(self, _context: Any, snapshot_id: str) -> Row:
        work, snapshot = self._snapshot(snapshot_id)
        return rows.snapshot_row(snapshot, work.volume(snapshot.volume_id))

    def snapshot_get_all_for_volume(self, _context: Any, volume_id: str) -> list[Row]:
        work, volume = self._volume(volume_id)
        return [
            rows.snapshot_row(snapshot, volume) for snapshot in all_of(work.store, Snapshot, {"volume_id": volume_id})
        ]

    def snapshot_get_latest_for_volume(self, context: Any, volume_id: str) -> Row:
        from cinder import exception

        found = self.snapshot_get_all_for_volume(context, volume_id)
        if not found:
            raise exception.VolumeSnapshotNotFound(volume_id=volume_id)
        return max(found, key=lambda row: str(row.created_at))

    def snapshot_get_all_by_host(self, _context: Any, host: str, filters: Mapping[str, Any] | None = None) -> list[Row]:
        found = [
            rows.snapshot_row(snapshot, work.volume(snapshot.volume_id))
            for route in self._routes.of_host(host)
            for work in (route.work(),)
            for snapshot in walk(route.store, Snapshot, {"backend": route.backend})
        ]
        return matching(found, filters)

    def snapshot_get_all_for_group_snapshot(self, _context: Any, group_snapshot_id: str) -> list[Row]:
        try:
            work, _ = self._routes.record(GroupSnapshot, group_snapshot_id)
        except NotFound:
            return []
        members = all_of(work.store, Snapshot, {"group_snapshot_id": group_snapshot_id})
        return [rows.snapshot_row(snapshot, work.volume(snapshot.volume_id)) for snapshot in members]

    def snapshot_create(self, _context: Any, values: Mapping[str, Any]) -> Row:
        """A temporary snapshot that a driver takes for a clone. Recorded, so that a crash leaves no unknown orphan."""
        work, volume = self._volume(values["volume_id"])
        record = Snapshot(
            id=values.get("id") or str(uuid.uuid4()),
            name=values.get("display_name") or "",
            backend=volume.backend,
            volume_id=volume.id,
            size=volume.size,
            created_at=times.stamp(times.utc_now()),
        )
        snapshot = work.snapshots[record.id] = work.store.add(record)
        return rows.snapshot_row(snapshot, volume)

    def snapshot_destroy(self, _context: Any, snapshot_id: str) -> dict[str, Any]:
        work, snapshot = self._snapshot(snapshot_id)
        work.store.remove(snapshot)
        work.snapshots.pop(snapshot_id, None)
        return {"status": "deleted", "deleted": True}

    def snapshot_update(self, _context: Any, snapshot_id: str, values: Mapping[str, Any]) -> None:
        work, _ = self._snapshot(snapshot_id)
        work.change_snapshot(snapshot_id, lambda record: update_snapshot(record, values))

    def snapshot_metadata_get(self, _context: Any, snapshot_id: str) -> dict[str, str]:
        return dict(self._snapshot(snapshot_id)[1].metadata)

    def snapshot_metadata_update(
        self, context: Any, snapshot_id: str, metadata: Mapping[str, str], delete: bool
    ) -> dict[str, str]:
        have = {} if delete else self.snapshot_metadata_get(context, snapshot_id)
        self.snapshot_update(context, snapshot_id, {"metadata": {**have, **metadata}})
        return self.snapshot_metadata_get(context, snapshot_id)

    def snapshot_metadata_delete(self, context: Any, snapshot_id: str, key: str) -> None:
        have = self.snapshot_metadata_get(context, snapshot_id)
        have.pop(key, None)
        self.snapshot_update(context, snapshot_id, {"metadata": have})

    # --- attachments

    def volume_attachment_get(self, _context: Any, attachment_id: str) -> Row:
        with _missing_as("VolumeAttachmentNotFound", filter=f"attachment_id = {attachment_id}"):
            return rows.attachment_row(self._routes.record(Attachment, attachment_id)[1])

    def volume_attachment_get_all_by_volume_id(self, _context: Any, volume_id: str) -> list[Row]:
        work, _ = self._volume(volume_id)
        return [rows.attachment_row(attachment) for attachment in work.attachments(volume_id)]

    def volume_attachment_get_all_by_host(self, _context: Any, host: str, _filters: Any = None) -> list[Row]:
        """Attachments to the node with the host name `host`."""
        store = self._routes.current(f"the attachments of node {host!r}").store
        rows_of_all = (rows.attachment_row(attachment) for attachment in walk(store, Attachment, {}))
        return [row for row in rows_of_all if row.attached_host == host]

    def volume_attachment_update(self, _context: Any, attachment_id: str, values: Mapping[str, Any]) -> None:
        work, attachment = self._routes.record(Attachment, attachment_id)
        changed = change(work.store, attachment, lambda record: update_attachment(record, values))
        work.forget_attachments(changed.volume_id)

    def attachment_specs_get(self, _context: Any, _attachment_id: str) -> dict[str, str]:
        return {}

    # --- types and QoS

    def volume_type_get(self, _context: Any, id: str, *_: Any, **__: Any) -> Row:
        return volume_types.find_type(self._routes, id)

    def volume_type_get_by_name(self, _context: Any, name: str) -> Row:
        return volume_types.find_type_by_name(self._routes, name)

    def volume_type_extra_specs_get(self, context: Any, volume_type_id: str) -> dict[str, str]:
        return dict(self.volume_type_get(context, volume_type_id)["extra_specs"])

    def volume_type_qos_specs_get(self, context: Any, type_id: str) -> dict[str, Any]:
        return {"qos_specs": volume_types.qos_of(self.volume_type_get(context, type_id))}

    def volume_type_encryption_get(self, _context: Any, _volume_type_id: str, *_: Any) -> None:
        return None

    def volume_type_access_get_all(self, _context: Any, _type_id: str) -> list[Row]:
        return []

    def volume_type_get_all_by_group(self, context: Any, group_id: str) -> list[Row]:
        volumes = self.volume_get_all_by_generic_group(context, group_id)
        return [row["volume_type"] for row in volumes if row["volume_type"]]

    def qos_specs_get(self, _context: Any, qos_specs_id: str, *_: Any, **__: Any) -> Row:
        return volume_types.find_qos(self._routes, qos_specs_id)

    # --- groups

    def group_get(self, _context: Any, group_id: str) -> Row:
        return volume_groups.find_group(self._routes, group_id)

    def group_get_all(self, _context: Any, filters: Mapping[str, Any] | None = None, **paging: Any) -> list[Row]:
        self._refuse_paging("group_get_all", paging)
        return volume_groups.find_groups(self._routes, filters)

    def group_snapshot_get_all_by_group(
        self, _context: Any, group_id: str, filters: Mapping[str, Any] | None = None, **paging: Any
    ) -> list[Row]:
        self._refuse_paging("group_snapshot_get_all_by_group", paging)
        return volume_groups.find_group_snapshots(self._routes, group_id, filters)

    def group_update(self, _context: Any, group_id: str, values: Mapping[str, Any]) -> None:
        work, group = self._routes.record(Group, group_id)
        kept = {key: value for key, value in values.items() if key == "replication_status"}
        change(work.store, group, lambda record: replace(record, fields={**record.fields, **kept}))

    def group_type_get(self, _context: Any, id: str, *_: Any, **__: Any) -> Row:
        return rows.group_type_row(self._group(id))

    def group_snapshot_get(self, _context: Any, group_snapshot_id: str) -> Row:
        with _missing_as("GroupSnapshotNotFound", group_snapshot_id=group_snapshot_id):
            return rows.group_snapshot_row(self._routes.record(GroupSnapshot, group_snapshot_id)[1])

    # --- driver data per initiator (Pure's CHAP passwords)

    def driver_initiator_data_get(self, _context: Any, initiator: str, namespace: str) -> list[Row]:
        store = self._routes.current(f"the data of initiator {initiator!r}").store
        found = walk(store, InitiatorData, {"initiator": initiator, "namespace": namespace})
        return [
            Row(initiator=data.initiator, namespace=data.namespace, key=data.key, value=data.value) for data in found
        ]

    def driver_initiator_data_insert_by_key(
        self, _context: Any, initiator: str, namespace: str, key: str, value: str
    ) -> bool:
        from cinder import exception

        id = "\x1f".join((initiator, namespace, key))
        record = InitiatorData(id=id, initiator=initiator, namespace=namespace, key=key, value=value)
        try:
            self._routes.current(f"the data of initiator {initiator!r}").store.add(record)
        except AlreadyExists:
            raise exception.DriverInitiatorDataExists(initiator=initiator, namespace=namespace, key=key) from None
        return True

    # --- internal

    def refuse(self, call: str) -> NoReturn:
        self.refused.add(call)
        raise NotServed(call)

    def _refuse_paging(self, call: str, paging: Mapping[str, Any]) -> None:
        if given := [name for name, value in paging.items() if value is not None]:
            self.refuse(f"{call}({', '.join(given)})")

    def _volume(self, id: str) -> tuple[Work, Volume]:
        with _missing_as("VolumeNotFound", volume_id=id):
            return self._routes.volume(id)

    def _snapshot(self, id: str) -> tuple[Work, Snapshot]:
        with _missing_as("SnapshotNotFound", snapshot_id=id):
            return self._routes.snapshot(id)

    def _group(self, id: str) -> Group:
        with _missing_as("GroupNotFound", group_id=id):
            return self._routes.record(Group, id)[1]

    def _merge_metadata(
        self, context: Any, volume_id: str, column: str, metadata: Mapping[str, str], delete: bool
    ) -> dict[str, str]:
        have = {} if delete else dict(getattr(self._volume(volume_id)[1], column))
        self.volume_update(context, volume_id, {column: {**have, **metadata}})
        return dict(getattr(self._volume(volume_id)[1], column))

    def _drop_metadata(self, context: Any, volume_id: str, column: str, key: str) -> None:
        have = dict(getattr(self._volume(volume_id)[1], column))
        have.pop(key, None)
        self.volume_update(context, volume_id, {column: have})


@contextmanager
def _missing_as(error: str, **details: str) -> Iterator[None]:
    """Raise the exception of Cinder's database for a missing record."""
    from cinder import exception

    try:
        yield
    except NotFound:
        raise getattr(exception, error)(**details) from None
