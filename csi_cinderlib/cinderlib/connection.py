"""Connections: a volume exported to a host, and possibly attached to this host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Unpack, cast

from csi_cinderlib import brick
from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import connection_record, default, exception
from csi_cinderlib.cinderlib.attributes import ConnectionFields, MaybeNone
from csi_cinderlib.cinderlib.class_attributes import Late, ovo_class
from csi_cinderlib.cinderlib.handle import Object, let_go
from csi_cinderlib.cinderlib.keywords import NewConnection
from csi_cinderlib.cinderlib.lazy_volume import LazyVolumeAttr
from csi_cinderlib.cinderlib.results import Attached, ConnectionInfo, ConnectorProperties, Device, JsonSource
from csi_cinderlib.errors import NotFound, PreconditionFailed
from csi_cinderlib.model import connection as connections
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.model.size import GiB, to_bytes
from csi_cinderlib.persistence.iteration import walk

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library, Volume


class Connection(ConnectionFields, LazyVolumeAttr[Attachment]):
    """A volume exported to a host; created by `Volume.connect`."""

    OVO_CLASS: Late[Any] = ovo_class("VolumeAttachment")
    _set_here: dict[str, Any]
    """Values set on this object and not stored yet, by name."""

    @classmethod
    def connect(cls, volume: Volume, connector: Mapping[str, object], **kwargs: Unpack[NewConnection]) -> Connection:
        """See `Volume.connect`."""
        return volume.connect(connector, **kwargs)

    @classmethod
    def _of(
        cls, library: Library, record: Attachment, backend: Backend | str, volume: Volume | None = None
    ) -> Connection:
        """A handle for an existing record."""
        connection = cls.__new__(cls)
        Object.__init__(connection, library, record, backend)
        connection._volume = volume
        connection._set_here = {}
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
    def conn_info(self) -> ConnectionInfo:
        """The driver's connection info: `driver_volume_type` and `data`; empty if disconnected. It contains credentials."""
        info = cast("ConnectionInfo", connection_record.driver_answer(self._record))
        data = info.get("data")
        if self._record.read_only and isinstance(data, Mapping):
            info["data"] = {**data, "access_mode": "ro"}
        return info

    @conn_info.setter
    def conn_info(self, value: Mapping[str, object] | None) -> None:
        """Stored by `save`."""
        self._set("conn_info", value)

    @property
    def connector_info(self) -> ConnectorProperties:
        """The host's connector properties."""
        return cast("ConnectorProperties", dict(self._record.connector))

    @connector_info.setter
    def connector_info(self, value: Mapping[str, object]) -> None:
        """Stored by `save`."""
        self._set("connector_info", value)

    @property
    def connection_info(self) -> Attached:
        """`conn`, `connector` and, if attached, `device`."""
        device = {"device": self.device} if self.device else {}
        return cast("Attached", {"conn": self.conn_info, "connector": self.connector_info, **device})

    @property
    def device(self) -> Device | MaybeNone:
        """os-brick's description of the device on the host, or None."""
        return connection_record.device(self._record)

    @device.setter
    def device(self, value: Mapping[str, object] | None) -> None:
        """Stored by `save`."""
        self._set("device", value)

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
    def protocol(self) -> str | None:
        return self.conn_info.get("driver_volume_type")

    @property
    def attach_mode(self) -> str:
        """`rw` or `ro`."""
        return str((self.conn_info.get("data") or {}).get("access_mode") or ("ro" if self._record.read_only else "rw"))

    @property
    def use_multipath(self) -> bool:
        """The option of `connect`, else of the host's connector properties, else derived from the connection info."""
        if (given := connection_record.given(self._record).get("use_multipath")) is not None:
            return bool(given)
        if "multipath" in self._record.connector:
            return bool(self._record.connector["multipath"])
        data = self.conn_info.get("data") or {}
        several = {"target_iqns", "target_portals"} <= data.keys()
        return several or not isinstance(data.get("target_wwn", ""), str)

    @use_multipath.setter
    def use_multipath(self, value: bool) -> None:
        """Stored by `save`."""
        self._set("use_multipath", value)

    @property
    def scan_attempts(self) -> int:
        """The number of device scans on the host: `device_scan_attempts` of `connect`, or os-brick's default."""
        return int(connection_record.given(self._record).get("device_scan_attempts", brick.SCAN_ATTEMPTS))

    @scan_attempts.setter
    def scan_attempts(self, value: int) -> None:
        """Stored by `save`."""
        self._set("device_scan_attempts", value)

    @property
    def connector(self) -> Any:
        """os-brick's connector for the protocol, or None if disconnected."""
        if not self.connected:
            return None
        from cinder.volume import volume_utils

        return volume_utils.brick_get_connector(
            self.protocol,
            use_multipath=self.use_multipath,
            device_scan_attempts=self.scan_attempts,
            conn=self.conn_info,
            do_local_attach=True,
        )

    def _versioned(self) -> Any:
        attachment = versioned.attachment(self._record, self.connection_info)
        for name, value in connection_record.given(self._record).items():
            if name in connection_record.COLUMNS:
                setattr(attachment, name, value)
        attachment.obj_reset_changes(connection_record.COLUMNS)
        return attachment

    # --- unsaved values

    def _set(self, name: str, value: Any) -> None:
        self._set_here = {**self._unsaved(), name: value}
        self._take(connection_record.changed(self._record, self._set_here))

    def _unsaved(self) -> dict[str, Any]:
        return {**self._set_here, **super()._unsaved()}

    def _changed(self, record: Attachment, given: Mapping[str, Any]) -> Attachment:
        return connection_record.changed(record, given)

    def save(self) -> None:
        """Store the values set here and keep concurrent changes of other fields. Raises ConnectionNotFound after `disconnect`."""
        super().save()
        self._set_here = {}

    def refresh(self) -> None:
        """Read the connection again, and its volume if loaded. Unsaved values are discarded."""
        self._set_here = {}
        super().refresh()

    # --- on this host

    def _reachable(self) -> connections.Connection:
        if not self.connected:
            raise PreconditionFailed(f"connection {self.id!r} is disconnected; connect the volume again")
        info = self.conn_info
        return connections.Connection(
            volume_id=self.volume_id,
            protocol=str(info["driver_volume_type"]).lower(),
            data=info.get("data") or {},
            size=to_bytes(self.volume._record.size) if self._volume else to_bytes(GiB(0)),
            read_only=self.attach_mode == "ro",
        )

    def _initiator(self) -> brick.Initiator:
        return self._library.initiator(multipath=self.use_multipath, scan_attempts=self.scan_attempts)

    def attach(self) -> None:
        """Attach the volume to this host. `path` is then the block device."""
        with exception.about(self), self._library.busy(self.volume_id):
            self._current()
            shared = self._shares_device()
            device = self._initiator().connect(self._reachable())
            try:
                self.device_attached({"type": "block", **asdict(device), "info": dict(device.info)})
            except Exception:
                if not shared:
                    self._initiator().disconnect(self._reachable(), device)
                raise
            self.volume.local_attach = self

    def device_attached(self, device: Mapping[str, object]) -> None:
        """Store the device as described by another program's os-brick on the host."""
        with exception.about(self):
            self._current()
            self.device = device
            self.save()

    def detach(
        self,
        force: bool = False,
        ignore_errors: bool = False,
        exc: Callable[..., object] | None = None,  # noqa: ARG002
    ) -> None:
        """Remove the device from this host, unless another attached connection of the volume uses it.

        Args:
            force: continue if a flush fails.
            ignore_errors: do not raise errors.
            exc: accepted, not used.
        """
        with exception.about(self), self._library.busy(self.volume_id):
            self._current()
            device, shared = self._as_device(), self._shares_device()
            if not shared:
                self._take_off(device, force=force, ignore_errors=ignore_errors)
            self.device = None
            self.save()
            if shared and not self._shares_device():  # another process has detached its connection at the same time
                self._take_off(device, force=force, ignore_errors=ignore_errors)
            if self._volume is not None:
                self._volume._detached(self)

    def _take_off(self, device: brick.Device | None, *, force: bool, ignore_errors: bool) -> None:
        try:
            self._initiator().disconnect(self._reachable(), device, force=force)
        except Exception:
            if not ignore_errors:
                raise

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

    def _as_device(self) -> brick.Device | None:
        """The device of `attach`, or of another program's os-brick."""
        known = self.device
        if not known:
            return None
        if "wwid" not in known:
            return brick.Device(path=str(known.get("path", "")), info=dict(known))
        fields: dict[str, Any] = {
            name: known[name] for name in ("path", "wwid", "multipath", "file", "info") if name in known
        }
        return brick.Device(**fields)

    def extend(self) -> int:
        """Update the device to the volume's new size.

        Returns:
            The size of the device, in bytes.
        """
        with exception.about(self):
            device = self._as_device()
            if device is None:
                raise PreconditionFailed(f"connection {self.id!r} is not attached to this host; attach it first")
            return self._initiator().extend(self._reachable(), device)

    def disconnect(self, force: bool = False) -> None:  # noqa: ARG002  # its effect varies by driver; fencing is always done
        """Disconnect the volume from the host; the export ends with the last connection. Idempotent."""
        with exception.about(self), self._library.busy(self.volume_id):
            try:
                with contextlib.suppress(NotFound):
                    self._core.disconnect(self._current() if self.connected else self._record)
            except Exception:
                let_go(self._library, self._record)
                raise
            self._take(replace(self._record, connection_info={}))
            self._library.handles.connection_deleted(self)
