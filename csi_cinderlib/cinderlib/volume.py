"""Volumes, with the API of cinderlib."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from csi_cinderlib import brick
from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import connection_record, default, exception
from csi_cinderlib.cinderlib.attributes import VolumeFields
from csi_cinderlib.cinderlib.class_attributes import ovo_class
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.handle import NamedObject, columns, let_go, new_status, now, tenant, updated_volume
from csi_cinderlib.cinderlib.keywords import CopiedVolume, NewConnection, NewSnapshot, VolumeArguments
from csi_cinderlib.cinderlib.properties import get_connector_properties
from csi_cinderlib.cinderlib.results import JsonSource
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.errors import InUse, InvalidRequest, NotFound
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Attachment, Source, SourceKind, VolumeType
from csi_cinderlib.model.size import GiB, to_bytes
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.optimistic import change

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library

_OWN = ("name", "description", "extra_specs", "qos_specs")
_SPENT = ("id", "size", "host", "name", "display_name", "extra_specs", "qos_specs", "snapshot_id", "source_volid")


class Volume(VolumeFields, NamedObject[records.Volume]):
    """A volume.

    Args:
        backend_or_vol: the back end or its name, or a volume whose attributes are the defaults.
        pool_name: a pool of the back end; by default the pool with the most free space.
        kwargs: `size` in whole GiB (1), `id`, `name`, `description`, `metadata`, `extra_specs`, `qos_specs`, and any other field of
            Cinder's volume.
    """

    OVO_CLASS: ClassVar[Any] = ovo_class("Volume")
    SIMPLE_JSON_IGNORE: ClassVar[tuple[str, ...]] = ("snapshots", "volume_attachment")
    LAZY_PROPERTIES: ClassVar[tuple[str, ...]] = ("snapshots", "connections")

    def __init__(
        self, backend_or_vol: Backend | Volume | str, pool_name: str | None = None, **kwargs: Unpack[VolumeArguments]
    ) -> None:
        fields: dict[str, Any] = dict(kwargs)
        if isinstance(backend_or_vol, Volume):
            fields = {**_like(backend_or_vol._record), **fields}
            pool_name = pool_name or backend_or_vol._record.pool
            backend_or_vol = default.loaded_backend(backend_or_vol.backend)
        backend = default.loaded_backend(backend_or_vol)
        with exception.about(None):
            record = _record(backend._library, backend, pool_name or "", fields)
        self._begin(backend._library, record, backend)
        self._snapshots: list[Snapshot] | None = []
        self._connections: list[Connection] | None = []

    def _begin(self, library: Library, record: records.Volume, backend: Backend | str) -> None:
        super().__init__(library, record, backend)
        self._snapshots = None
        self._connections = None
        self.local_attach: Connection | None = None
        """The connection with which this object has attached the volume to this host."""

    @classmethod
    def _of(cls, library: Library, record: records.Volume, backend: Backend | str) -> Volume:
        """A handle for an existing record."""
        volume = cls.__new__(cls)
        volume._begin(library, record, backend)
        return volume

    # --- finding

    @classmethod
    def get_by_id(cls, volume_id: str) -> Volume:
        """Raises VolumeNotFound."""
        return default.library().volume(volume_id)

    @classmethod
    def get_by_name(cls, volume_name: str) -> list[Volume]:
        return default.library().persistence.get_volumes(volume_name=volume_name)

    @classmethod
    def load(cls, json_src: JsonSource, save: bool = False) -> Volume:
        """Load a volume, its snapshots and connections from the output of `json` or `dump`. `save` stores them."""
        return default.library().load_object(cls, json_src, save)

    # --- related objects

    @property
    def size(self) -> int:
        """In GiB."""
        return int(self._record.size)

    @property
    def snapshots(self) -> list[Snapshot]:
        if self._snapshots is None:
            stored = walk(self._library.store, records.Snapshot, {"volume_id": self.id})
            self._snapshots = [self._library.handles.snapshot(snapshot, volume=self) for snapshot in stored]
        return self._snapshots

    @property
    def connections(self) -> list[Connection]:
        if self._connections is None:
            stored = walk(self._library.store, Attachment, {"volume_id": self.id})
            self._connections = [self._library.handles.connection(attachment, volume=self) for attachment in stored]
        return self._connections

    def _attached(self) -> list[Attachment] | None:
        return None if self._connections is None else [connection._record for connection in self._connections]

    def _versioned(self) -> Any:
        return versioned.volume(self._library.store, self._record, self._attached())

    def _primitive(self, without: Iterable[str] = ()) -> dict[str, Any]:
        primitive = versioned.primitive(self._ovo, {*without, *self.SIMPLE_JSON_IGNORE})
        for name, kind, loaded in (
            ("snapshots", "SnapshotList", self._snapshots),
            ("volume_attachment", "VolumeAttachmentList", self._connections),
        ):
            if name not in without and loaded is not None:
                items = [child._primitive(("volume",)) for child in loaded]
                head = {"versioned_object.name": kind, "versioned_object.namespace": "cinder"}
                body = {"versioned_object.version": "1.0", "versioned_object.data": {"objects": items}}
                primitive["versioned_object.data"][name] = {**head, **body}
        return primitive

    def _changed(self, record: records.Volume, given: Mapping[str, Any]) -> records.Volume:
        return replace(updated_volume(record, given), status=new_status(record, given))

    def _store_all(self) -> records.Volume:
        stored = self._put(self._record)
        for child in (*(self._snapshots or ()), *(self._connections or ())):
            child._take(child._put(child._record))
        return stored

    def _reload(self) -> None:
        """Read the record again after a change of a connection, for its status and the driver's updates."""
        try:
            self._take(self._library.store.get(records.Volume, self.id))
        except NotFound:
            self._take(self._record)

    def refresh(self) -> None:
        """Read the volume again, and its snapshots and connections if they were loaded."""
        loaded = self._snapshots is not None, self._connections is not None
        self._snapshots = self._connections = None
        super().refresh()
        for was_loaded, name in zip(loaded, self.LAZY_PROPERTIES, strict=True):
            if was_loaded:
                getattr(self, name)

    # --- life cycle

    def create(self) -> None:
        """Create the volume on the storage.

        After a failure the exception has this object as `resource`. If the clean-up failed too, or the storage did not
        answer, a record in status `error` is left. `delete` is correct in both cases.
        """
        with exception.about(self), self._library.busy(self.id):
            try:
                record = self._core.create_volume(self._record)
            except Exception:
                self._after_failed_creation()
                raise
            self._take(record)
            self._library.handles.volume_created(self)

    def delete(self) -> None:
        """Delete the volume. A failed deletion can be repeated. Raises InvalidVolume if it has snapshots or connections."""
        with exception.about(self), self._library.busy(self.id):
            if (record := self._doomed()) is not None:
                self._refuse_snapshots()
                try:
                    self._core.delete_volume(record)
                except Exception:
                    self._after_failed_deletion()
                    raise
            self._take(self._record, "deleted")
            self._library.handles.volume_deleted(self)

    def _refuse_snapshots(self) -> None:
        """Refuse snapshots on every back end, as cinderlib does, even if they could outlive the volume."""
        page = self._library.store.page(records.Snapshot, limit=1, where={"volume_id": self.id})
        if page.records or page.corrupt:
            raise InUse(f"volume {self.id!r} has snapshots; delete them first")

    def extend(self, size: int) -> int:
        """Grow the volume to `size` GiB, and its device if attached here.

        Returns:
            The size in bytes, of the device if there is one.

        Raises:
            InvalidRequest: `size` is not a whole number of GiB.
        """
        with exception.about(self), self._library.busy(self.id):
            self._take(self._core.extend_volume(self._current(), _whole(size)))
            if self.local_attach is not None:
                return self.local_attach.extend()
            return to_bytes(self._record.size)

    def clone(self, **new_vol_attrs: Unpack[CopiedVolume]) -> Volume:
        """Create a volume with the same content. Other attributes default to those of this volume."""
        new_vol_attrs.setdefault("size", self.size)
        volume = Volume(self, source_volid=self.id, **new_vol_attrs)
        with exception.about(self):
            self._current()
        volume.create()
        return volume

    def create_snapshot(self, name: str = "", description: str = "", **kwargs: Unpack[NewSnapshot]) -> Snapshot:
        """Take a snapshot. The volume may be attached."""
        snapshot = Snapshot(self, name=name, description=description, **kwargs)
        snapshot.create()
        return snapshot

    def revert_to_snapshot(self, snapshot: Snapshot) -> None:
        """Revert the volume to its snapshot. It must not be attached. Not part of cinderlib."""
        with exception.about(self), self._library.busy(self.id):
            self._take(self._core.revert_volume(self._current(), snapshot._current()))

    def _restored(self, snapshot: Snapshot, **new_vol_attrs: Unpack[CopiedVolume]) -> Volume:
        """Create a volume from a snapshot of this volume. Other attributes default to those of this volume."""
        new_vol_attrs.setdefault("size", int(snapshot._record.size))
        volume = Volume(self, snapshot_id=snapshot.id, **new_vol_attrs)
        volume.create()
        return volume

    # --- connections

    def connect(self, connector_dict: Mapping[str, object], **ovo_fields: Unpack[NewConnection]) -> Connection:
        """Export the volume to the host with these connector properties.

        Args:
            ovo_fields: `id`, `attach_mode` (`rw` or `ro`), `attached_host`, `instance_uuid`, `mountpoint`, `attach_status`,
                `attach_time` and `detach_time`, which are stored; `use_multipath` and `device_scan_attempts`, for the attachment.

        Raises:
            InvalidRequest: a field is not supported.
        """
        with exception.about(self), self._library.busy(self.id):
            wanted = connection_record.new(self._record, connector_dict, ovo_fields, Connection.new_uuid())
            try:
                record = self._core.connect(self._current(), wanted)
            except Exception:
                let_go(self._library, wanted)
                raise
            given = connection_record.given(wanted)
            record = change(self._library.store, record, lambda current: connection_record.with_given(current, given))
            connection = self._library.handles.connection(record, volume=self)
            if self._connections is not None:
                self._connections.append(connection)
            self._reload()
            return connection

    def disconnect(self, connection: Connection, force: bool = False) -> None:
        """Disconnect the volume from that host; the export ends with the last connection."""
        connection.disconnect(force)

    def _disconnected(self, connection: Connection) -> None:
        if self._connections is not None:
            self._connections = [known for known in self._connections if known.id != connection.id]
        self._detached(connection)
        self._reload()

    def _detached(self, connection: Connection) -> None:
        """Replace `local_attach` by another connection that is attached here, if there is one."""
        if self.local_attach is not None and self.local_attach.id == connection.id:
            others = (other for other in self._connections or () if other.id != connection.id)
            self.local_attach = next((other for other in others if other.attached and other._is_here), None)

    def attach(self) -> Connection:
        """Connect the volume to this host and attach it. `path` of the returned connection is the block device."""
        configuration = default.loaded_backend(self.backend).driver.configuration
        connection = self.connect(
            get_connector_properties(
                self._library._root_helper,
                str(self._library.cinder_options.get("my_ip") or ""),
                multipath=bool(configuration.safe_get("use_multipath_for_image_xfer")),
                enforce_multipath=bool(configuration.safe_get("enforce_multipath_for_image_xfer")),
                host=self._library.host_name,
            )
        )
        try:
            connection.attach()
        except BaseException:
            self.disconnect(connection)
            raise
        return connection

    def detach(self, force: bool = False, ignore_errors: bool = False) -> None:
        """Undo `attach`.

        Args:
            force: disconnect even if the device cannot be flushed. The data that was not flushed is lost.
            ignore_errors: with `force`, do not raise errors.

        Raises:
            os_brick.exception.ExceptionChainer: with `force`, all errors.
            os_brick.exception.BrickException: without `force`, the first error, by os-brick's own class.
        """
        connection = self.local_attach
        if connection is None:
            raise exception.NotLocal(self.id)
        errors = brick.exception_chainer()
        with contextlib.suppress(*(Exception,) if force else ()):
            connection.detach(force, ignore_errors, errors)
        with exception.about(self):
            with errors.context(force, "Unable to disconnect"):
                connection.disconnect(force)
            if errors and not ignore_errors:
                raise errors

    def cleanup(self) -> None:
        """Detach the volume from this host and disconnect all hosts. Other hosts must detach it themselves."""
        mine = self.local_attach and self.local_attach.id
        for connection in self.connections:
            if connection.attached and (connection._is_here or connection.id == mine):
                with contextlib.suppress(exception.ConnectionNotFound):  # already deleted by another process
                    connection.detach()
            connection.disconnect()


def _like(record: records.Volume) -> dict[str, Any]:
    """The attributes that a new volume takes from another volume."""
    taken = {name: value for name, value in record.fields.items() if name in ("bootable", "availability_zone")}
    kind = record.type or VolumeType()
    return {
        **taken,
        "name": record.name,
        "description": record.fields.get("display_description"),
        "size": int(record.size),
        "metadata": dict(record.metadata),
        "multiattach": record.multiattach,
        "extra_specs": dict(kind.extra_specs),
        "qos_specs": dict(kind.qos_specs),
        "project_id": record.fields.get("project_id"),
        "user_id": record.fields.get("user_id"),
    }


def _record(library: Library, backend: Backend, pool: str, kwargs: dict[str, Any]) -> records.Volume:
    if "description" in kwargs:
        kwargs["display_description"] = kwargs.pop("description")
    given = columns(records.Volume, kwargs, _OWN)
    kind = _type(given)
    host = str(given.get("host", ""))
    record = records.Volume(
        id=str(given.get("id") or Volume.new_uuid()),
        name=str(given.get("name") or given.get("display_name") or ""),
        backend=backend.id,
        pool=host.partition("#")[2] or pool,
        host=host or (f"{library.host}@{backend.id}#{pool}" if pool else ""),
        size=_whole(given.get("size", 1)),
        source=_source(given),
        type=kind,
        multiattach=bool(given.get("multiattach")) or bool(kind and kind.extra_specs.get("multiattach") == "<is> True"),
        created_at=now(),
    )
    rest = {name: value for name, value in given.items() if name not in _SPENT}
    updated = updated_volume(record, {"display_name": record.name, **rest})
    return replace(updated, fields={**updated.fields, **tenant(library, given)})


def _whole(size: Any) -> GiB:
    """Parse a size in whole GiB, given as a number or digits. Raises InvalidRequest."""
    text = str(size).removesuffix(".0") if isinstance(size, float) else str(size)
    if isinstance(size, bool) or not (text.isascii() and text.isdigit() and int(text)):
        raise InvalidRequest("size", f"must be a whole number of GiB of at least 1 (got {size!r})")
    return GiB(int(text))


def _type(given: Mapping[str, Any]) -> VolumeType | None:
    extra, qos = given.get("extra_specs"), given.get("qos_specs")
    if not extra and not qos:
        return None
    return VolumeType(extra_specs=dict(extra or {}), qos_specs=dict(qos or {}))


def _source(given: Mapping[str, Any]) -> Source | None:
    if given.get("snapshot_id"):
        return Source(SourceKind.SNAPSHOT, str(given["snapshot_id"]))
    if given.get("source_volid"):
        return Source(SourceKind.VOLUME, str(given["source_volid"]))
    return None
