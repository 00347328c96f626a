"""Connections: a volume exported to a host, and possibly attached to this host."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from csi_cinderlib import brick
from csi_cinderlib.cinderlib import checks, connection_device, connection_record, default, exception, restoring
from csi_cinderlib.cinderlib.attributes import MaybeNone
from csi_cinderlib.cinderlib.class_attributes import ovo_class
from csi_cinderlib.cinderlib.connection_values import ConnectionValues
from csi_cinderlib.cinderlib.creations import let_go
from csi_cinderlib.cinderlib.keywords import ConstructedConnection, NewConnection
from csi_cinderlib.cinderlib.results import JsonSource
from csi_cinderlib.errors import NotFound, PreconditionFailed, StaleRecord
from csi_cinderlib.lifecycle import attachments, lookup
from csi_cinderlib.model import connection as connections
from csi_cinderlib.model import records
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.model.size import GiB, to_bytes
from csi_cinderlib.persistence.iteration import walk

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library, Volume


class Connection(ConnectionValues):
    """A volume exported to a host; created by `Volume.connect`.

    The constructor describes a connection that exists on the storage already; `save` stores it. `connection_info` and the
    dictionaries in it may be changed in place; `save` stores the changes.

    Args:
        backend: the back end or its name; by default the volume's.
        volume: the volume; or pass `volume_id`.
        fields: `connector` (the host's connector properties), `connection_info` (`conn`, `connector`, `device`), `attach_mode`, `id`,
            `use_multipath`, `device_scan_attempts` and other fields of Cinder's attachment.

    Raises:
        InvalidRequest: a field is not supported.
    """

    OVO_CLASS: ClassVar[Any] = ovo_class("VolumeAttachment")
    _IN_JSON: ClassVar[tuple[str, ...]] = ("connector", "connection_info", "node_id", "read_only", "access_mode")
    _connector: tuple[tuple[Any, ...], Any]
    """os-brick's connector with the values that it was made from."""

    def __init__(
        self,
        backend: Backend | str | None = None,
        *,
        volume: Volume | None = None,
        **kwargs: Unpack[ConstructedConnection],
    ) -> None:
        fields: dict[str, Any] = dict(kwargs)
        if restoring.is_stored(fields):
            self._begin(*restoring.restored(Attachment, backend or volume, fields), volume)
            restoring.mark(self, fields)
            return
        if volume is not None:
            checks.check_object("volume", volume, records.Volume)
        given_id = checks.optional_text("volume_id", fields.pop("volume_id", None)) or ""
        volume_id = given_id if volume is None else volume.id
        wanted: Any = volume.backend if volume is not None and backend is None else backend
        loaded = default.loaded_backend(wanted)
        with exception.about(None):
            record = connection_record.constructed(volume_id, loaded.id, fields, self.new_uuid())
        self._begin(loaded._library, record, loaded, volume)

    def _begin(self, library: Library, record: Attachment, backend: Backend | str, volume: Volume | None) -> None:
        self._start(library, record, backend, volume)
        self._connector = ((), None)

    @classmethod
    def connect(cls, volume: Volume, connector: Mapping[str, object], **kwargs: Unpack[NewConnection]) -> Connection:
        """See `Volume.connect`."""
        checks.check_object("volume", volume, records.Volume)
        return volume.connect(connector, **kwargs)

    @classmethod
    def _of(
        cls, library: Library, record: Attachment, backend: Backend | str, volume: Volume | None = None
    ) -> Connection:
        """A handle for an existing record."""
        connection = cls.__new__(cls)
        connection._begin(library, record, backend, volume)
        return connection

    # --- finding

    @classmethod
    def get_by_id(cls, connection_id: str) -> Connection:
        """Raises ConnectionNotFound."""
        return default.library().connection(connection_id)

    @classmethod
    def load(cls, json_src: JsonSource, save: bool = False) -> Connection:
        """Load a connection from the output of `json` or `dump`. `save` stores it, with its volume if included."""
        return default.library().load_object(cls, json_src, save)

    # --- properties

    @property
    def path(self) -> str | MaybeNone:
        """The block device on the host, or None."""
        return self.device["path"] if self.device else None

    @property
    def attached(self) -> bool:
        return bool(self.device)

    @property
    def connected(self) -> bool:
        return bool(self.conn_info)

    @property
    def status(self) -> str:
        """`attached` until the volume is disconnected from the host, then `deleted`."""
        return self._outcome or "attached"

    @property
    def protocol(self) -> str | None:
        return self.conn_info.get("driver_volume_type")

    @property
    def connector(self) -> Any:
        """os-brick's connector for the protocol, or None if disconnected.

        Its `connect_volume(conn_info["data"])` attaches the volume without this object; pass the result to `device_attached`.

        Raises:
            os_brick.exception.InvalidConnectorProtocol: os-brick does not support the protocol.
        """
        if not self.connected:
            return None
        made_of = (self.protocol, self.use_multipath, self.scan_attempts)
        if self._connector[0] != made_of:
            with exception.about(self):
                self._connector = (made_of, self._initiator().os_brick_connector(str(self.protocol), self.conn_info))
        return self._connector[1]

    def _primitive(self, without: Iterable[str] = ()) -> dict[str, Any]:
        """With the value that Cinder's objects lack: the caller has asked for the ciphertext of an encrypted volume."""
        primitive = super()._primitive(without)
        if self._record.ciphertext:
            primitive["versioned_object.data"][connection_record.CIPHERTEXT] = True
        return primitive

    def _put(self, record: Attachment) -> Attachment:
        self._note_use(lookup.find(self._library.store, Attachment, record.id), record)
        return super()._put(record)

    def _store_changes(self, stored: Attachment, unsaved: Mapping[str, Any], base: Attachment) -> Attachment:
        self._note_use(stored, self._changed(stored, unsaved))
        return super()._store_changes(stored, unsaved, base)

    def _note_use(self, known: Attachment | None, wanted: Attachment) -> None:
        """Before this connection becomes writable without `connect`: no node may take the volume for unused then."""
        if (known is None or known.read_only) and not wanted.read_only:
            attachments.note_raw_use(self._library.store, self.volume_id)

    # --- on this host

    def _reachable(self) -> connections.Connection:
        if not self.connected:
            raise PreconditionFailed(f"connection {self.id!r} is disconnected; connect the volume again")
        info = self.conn_info
        return connections.Connection(
            volume_id=self.volume_id,
            protocol=str(info["driver_volume_type"]).lower(),
            data=info.get("data") or {},
            size=to_bytes(self._volume._record.size) if self._volume else to_bytes(GiB(0)),
            read_only=self.attach_mode == "ro",
        )

    def _initiator(self) -> brick.Initiator:
        return self._library.initiator(multipath=self.use_multipath, scan_attempts=self.scan_attempts)

    def attach(self) -> None:
        """Attach the volume to this host. `path` is then the block device.

        Raises:
            PreconditionFailed: nodes encrypt the volume, and the connection was made without `ciphertext`.
            os_brick.exception.BrickException: the device did not appear, or another failure of os-brick, by its own class.
            cinder.exception.DeviceUnavailable: the device did not appear or cannot be read.
        """
        with exception.about(self, on_host=exception.no_device), self._library.busy(self.volume_id):
            connection_record.refuse_encrypted(self.volume._record, self._current())
            shared = self._shares_device()
            device = self._initiator().connect(self._reachable())
            try:
                brick.check_readable(device)
                self.device_attached(connection_device.stored(device))
            except Exception:
                if not shared:  # nothing was written to it yet
                    with contextlib.suppress(Exception):
                        self._initiator().disconnect(self._reachable(), device, force=True)
                raise
            self.volume.local_attach = self

    def device_attached(self, device: Mapping[str, object]) -> None:
        """Store the device as described by another program's os-brick on the host."""
        with exception.about(self):
            self._current()
            self.device = device
            self.save()

    def detach(self, force: bool = False, ignore_errors: bool = False, exc: Any = None) -> None:
        """Remove the device from this host, unless another attached connection of the volume uses it.

        Args:
            force: continue after a failed flush or another error. The data that was not flushed is lost.
            ignore_errors: with `force`, do not raise these errors, and forget the device.
            exc: an os-brick ExceptionChainer, to which errors are added.

        Raises:
            os_brick.exception.ExceptionChainer: with `force`, all errors; `exc` if it is given. The device stays recorded.
            os_brick.exception.BrickException: without `force`, the first error, by os-brick's own class.
        """
        errors = brick.exception_chainer() if exc is None else exc
        with exception.about(self), self._library.busy(self.volume_id):
            self._current_anyway()
            device, shared = connection_device.loaded(self.device), self._shares_device()
            if not shared:
                self._take_off(device, force=force, ignore_errors=ignore_errors, errors=errors)
            if not errors or ignore_errors:
                self._forget_device()
                if shared and not self._shares_device():  # another process has detached its connection at the same time
                    self._take_off(device, force=force, ignore_errors=ignore_errors, errors=errors)
            if errors and not ignore_errors:
                raise errors

    def _current_anyway(self) -> Attachment:
        """As `_current`, without unsaved values that conflict with stored ones: they must not keep a volume attached."""
        try:
            return self._current()
        except StaleRecord:
            self._start_over()
            return self._current()

    def _take_off(self, device: brick.Device | None, *, force: bool, ignore_errors: bool, errors: Any) -> None:
        if force and device:
            with errors.context(force, "Flush failed"), exception.about(self):
                brick.flush(device)
        with errors.context(force, "Disconnect failed"), exception.about(self):
            self._initiator().disconnect(self._reachable(), device, force=force, ignore_errors=force and ignore_errors)

    def _forget_device(self) -> None:
        self.device = None
        self.save()
        if self._volume is not None:
            self._volume._detached(self)

    def _shares_device(self) -> bool:
        """Whether another connection of this volume is attached on the same host, so that both use the same device."""
        others = walk(self._library.store, Attachment, {"volume_id": self.volume_id})
        return any(
            other.id != self.id and self._is_beside(other) and connection_record.device(other) for other in others
        )

    def _is_beside(self, other: Attachment) -> bool:
        return bool(other.connector.get("host") == self._record.connector.get("host"))

    @property
    def _is_here(self) -> bool:
        """Whether this is a connection to this host."""
        return bool(self._record.connector.get("host") == self._library.host_name)

    def extend(self) -> int:
        """Update the device to the volume's new size.

        Returns:
            The size of the device, in bytes.
        """
        with exception.about(self):
            device = connection_device.loaded(self.device)
            if device is None:
                raise PreconditionFailed(f"connection {self.id!r} is not attached to this host; attach it first")
            return self._initiator().extend(self._reachable(), device)

    def disconnect(self, force: bool = False) -> None:  # noqa: ARG002  # its effect varies by driver; fencing is always done
        """Disconnect the volume from the host; the export ends with the last connection. Idempotent."""
        with exception.about(self), self._library.busy(self.volume_id):
            try:
                with contextlib.suppress(NotFound):
                    self._core.disconnect(self._current_anyway() if self.connected else self._record)
            except Exception:
                let_go(self._library, self._record)
                raise
            self._take(replace(self._record, connection_info={}), "deleted")
            self._start_over()
            self._library.handles.connection_deleted(self)

    _disconnect = disconnect
