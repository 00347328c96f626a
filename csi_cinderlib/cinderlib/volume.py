"""Volumes, with the API of cinderlib."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from csi_cinderlib import brick
from csi_cinderlib.cinder import rows, versioned
from csi_cinderlib.cinderlib import arguments, checks, connection_record, default, exception, fields, restoring
from csi_cinderlib.cinderlib.attributes import VolumeFields
from csi_cinderlib.cinderlib.class_attributes import ovo_class
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.creations import let_go
from csi_cinderlib.cinderlib.keywords import CopiedVolume, NewConnection, NewSnapshot, VolumeArguments
from csi_cinderlib.cinderlib.named import NamedObject
from csi_cinderlib.cinderlib.properties import get_connector_properties
from csi_cinderlib.cinderlib.results import JsonSource
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.errors import InvalidRequest, NotFound
from csi_cinderlib.model import records
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, VolumeType
from csi_cinderlib.model.size import to_bytes
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.optimistic import change

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.listed import ListedAttachments
    from csi_cinderlib.cinderlib.types import Backend, Library


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
    _IN_JSON: ClassVar[tuple[str, ...]] = (
        *("name", "host", "pool", "source", "type", "multiattach", "provider", "metadata", "admin_metadata", "fields"),
    )
    local_attach: Connection | None = None
    """The connection with which this object has attached the volume to this host."""

    def __init__(
        self, backend_or_vol: Backend | Volume | str, pool_name: str | None = None, **kwargs: Unpack[VolumeArguments]
    ) -> None:
        given: dict[str, Any] = dict(kwargs)
        if restoring.is_stored(given):
            self._begin(*restoring.restored(records.Volume, backend_or_vol, given))
            restoring.mark(self, given)
            return
        if isinstance(backend_or_vol, Volume):
            given = {**arguments.like(backend_or_vol._with_unsaved()), **given}
            pool_name = pool_name or backend_or_vol._record.pool
            backend_or_vol = default.loaded_backend(backend_or_vol.backend)
        backend = default.loaded_backend(backend_or_vol, "backend_or_vol")
        with exception.about(None):
            record = arguments.volume_record(backend._library, backend, pool_name or "", given)
        self._begin(backend._library, record, backend)
        self._snapshots: list[Snapshot] | None = []
        self._connections: list[Connection] | None = []

    def _begin(self, library: Library, record: records.Volume, backend: Backend | str) -> None:
        super().__init__(library, record, backend)
        self._snapshots = None
        self._connections = None
        self._listed: ListedAttachments | None = None
        """Its attachments when it was listed."""

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
        return int(self._record.size if self._object is None else self._object.size)

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

    def _attached(self) -> Sequence[Attachment] | None:
        if self._outcome == "deleted":  # was refused with attachments
            return []
        if self._connections is not None:
            return [connection._record for connection in self._connections]
        return None if self._listed is None else self._listed.of(self._record)

    def _versioned(self) -> Any:
        return versioned.volume(self._library.store, self._record, self._attached())

    def _primitive(self, without: Iterable[str] = (), but: str = "") -> dict[str, Any]:
        """
        Args:
            but: the id of a snapshot or connection to omit from the lists, because the volume is part of its JSON.
        """
        primitive = super()._primitive({*without, *self.SIMPLE_JSON_IGNORE})
        for name, kind, loaded in (
            ("snapshots", "SnapshotList", self._snapshots),
            ("volume_attachment", "VolumeAttachmentList", self._connections),
        ):
            if name not in without and loaded is not None:
                items = [child._primitive(("volume",)) for child in loaded if child.id != but]
                head = {"versioned_object.name": kind, "versioned_object.namespace": "cinder"}
                version = versioned.version(kind)
                body = {"versioned_object.version": version, "versioned_object.data": {"objects": items}}
                primitive["versioned_object.data"][name] = {**head, **body}
        return primitive

    def _changed(self, record: records.Volume, given: Mapping[str, Any]) -> records.Volume:
        in_use = "status" in given and bool(
            self._library.store.page(Attachment, limit=1, where={"volume_id": self.id}).records
        )
        return fields.set_volume(record, given, in_use=in_use)

    def _unsaved(self) -> dict[str, Any]:
        if self._object is None:
            return {}
        given = super()._unsaved()
        if self._has_other_type():
            given["volume_type"] = self._type()
        return given

    def _unsaved_fields(self) -> set[str]:
        return super()._unsaved_fields() | ({"volume_type"} if self._has_other_type() else set())

    def _has_other_type(self) -> bool:
        return self._type() != rows.served_type(self._record)

    def _type(self) -> VolumeType | None:
        return versioned.type_of(self._object, (self._record.type or VolumeType()).qos_consumer)

    def _store_all(self) -> records.Volume:
        stored = self._put(self._record)
        for child in (*(self._snapshots or ()), *(self._connections or ())):
            if child._outcome != "deleted":
                child._take(child._put(child._record))
        return stored

    def _over(self, stored: records.Volume, record: records.Volume) -> records.Volume:
        """Volumes only grow: with a smaller size from older JSON, an extension would shrink the volume on some back ends."""
        return replace(super()._over(stored, record), size=max(stored.size, record.size))

    def _reload(self) -> None:
        """Read the record again after a change of a connection, for its status and the driver's updates."""
        try:
            store = self._library.store
            self._wrote(change(store, store.get(records.Volume, self.id), fields.without_results))
        except NotFound:
            self._take(self._record)

    def refresh(self) -> None:
        """Read the volume again, and its snapshots and connections if they were loaded."""
        loaded = self._snapshots is not None, self._connections is not None
        self._snapshots = self._connections = self._listed = None
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
            given = self._unsaved()
            wanted = self._record = self._to_create()
            try:
                record = self._core.create_volume(wanted)
            except Exception:
                self._after_failed_creation()
                raise
            self._saved(record, given)
            self._library.handles.volume_created(self)

    def delete(self) -> None:
        """Delete the volume. Does nothing if it was deleted already. A failed deletion can be repeated.

        Raises:
            InvalidVolume: it has snapshots or connections.
        """
        with exception.about(self), self._library.busy(self.id):
            if (record := self._doomed()) is not None:
                try:
                    self._core.delete_volume(record, has_no_snapshots=True)  # as cinderlib does
                except Exception:
                    self._after_failed_deletion()
                    raise
            self._gone()
            self._library.handles.volume_deleted(self)

    def extend(self, size: int) -> int:
        """Grow the volume to `size` GiB, and its device if attached here.

        Returns:
            The size in bytes, of the device if there is one.

        Raises:
            InvalidRequest: `size` is not a whole number of GiB, or the volume is larger.
        """
        with exception.about(self), self._library.busy(self.id):
            wanted, record = fields.whole(size), self._current()
            if wanted < record.size:
                raise InvalidRequest("size", f"must be at least the present size of {record.size} GiB (got {size!r})")
            grown = self._core.extend_volume(record, wanted)
            if grown.fields.get("status") == "extending":  # loaded from JSON that was written during an extension
                grown = change(self._library.store, grown, fields.without_results)
            self._wrote(grown)
            if self.local_attach is not None:
                return self.local_attach.extend()
            return to_bytes(grown.size)

    def clone(self, **new_vol_attrs: Unpack[CopiedVolume]) -> Volume:
        """Create a volume with the same content. Other attributes default to those of this volume."""
        new_vol_attrs.setdefault("size", self.size)
        volume = Volume(self, source_volid=self.id, **new_vol_attrs)
        with exception.about(self):
            self._as_source()
        volume.create()
        return volume

    def create_snapshot(self, name: str = "", description: str = "", **kwargs: Unpack[NewSnapshot]) -> Snapshot:
        """Take a snapshot. The volume may be attached."""
        snapshot = Snapshot(self, name=name, description=description, **kwargs)
        snapshot.create()
        return snapshot

    def revert_to_snapshot(self, snapshot: Snapshot) -> None:
        """Revert the volume to its snapshot. It must not be attached. Not part of cinderlib."""
        checks.check_object("snapshot", snapshot, records.Snapshot)
        with exception.about(self), self._library.busy(self.id):
            self._wrote(self._core.revert_volume(self._current(), snapshot._current()))

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
                `attach_time` and `detach_time`, which are stored; `use_multipath` and `device_scan_attempts`, for the attachment;
                `ciphertext`, to connect a volume that nodes encrypt as it is.

        Raises:
            InvalidRequest: a field is not supported.
            PreconditionFailed: nodes encrypt the volume, and `ciphertext` is not set.
        """
        checks.mapping("connector_dict", connector_dict)
        with exception.about(self), self._library.busy(self.id):
            wanted = connection_record.new(self._record, connector_dict, ovo_fields, Connection.new_uuid())
            try:
                current = self._current()
                connection_record.refuse_encrypted(current, wanted)
                record = self._core.connect(current, wanted)
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
        checks.check_object("connection", connection, Attachment)
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

    def attach(self, *, ciphertext: bool = False) -> Connection:
        """Connect the volume to this host and attach it. `path` of the returned connection is the block device.

        Args:
            ciphertext: attach a volume that nodes encrypt as it is; otherwise it is refused. Not part of cinderlib.
        """
        configuration = default.loaded_backend(self.backend).driver.configuration
        connection = self.connect(
            get_connector_properties(
                self._library._root_helper,
                str(self._library.cinder_options.get("my_ip") or ""),
                multipath=bool(configuration.safe_get("use_multipath_for_image_xfer")),
                enforce_multipath=bool(configuration.safe_get("enforce_multipath_for_image_xfer")),
                host=self._library.host_name,
            ),
            ciphertext=ciphertext,
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
