"""Connections: a volume made reachable from a host, and attached to this one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

from csi_cinderlib import brick
from csi_cinderlib.backend import versioned
from csi_cinderlib.cinderlib import default, exception
from csi_cinderlib.cinderlib.handle import Object, now
from csi_cinderlib.errors import InvalidRequest, NotFound, PreconditionFailed
from csi_cinderlib.model import connection as connections
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.model.size import GiB, to_bytes

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.backends import Backend
    from csi_cinderlib.cinderlib.library import Library
    from csi_cinderlib.cinderlib.volume import Volume

_DEVICE = "device"
"""Kept beside the driver's answer in the record's `connection_info`."""
_FIELDS = frozenset({"id", "attach_mode", "mountpoint", "instance_uuid"})


class Connection(Object[Attachment]):
    """A volume that a host can reach; made by `Volume.connect`."""

    SIMPLE_JSON_IGNORE: ClassVar[tuple[str, ...]] = ("volume",)
    LAZY_PROPERTIES: ClassVar[tuple[str, ...]] = ("volume",)
    _volume: Volume | None

    @classmethod
    def connect(cls, volume: Volume, connector: Mapping[str, Any], **kwargs: Any) -> Connection:
        """As `Volume.connect`."""
        return volume.connect(connector, **kwargs)

    @classmethod
    def _of(
        cls, library: Library, record: Attachment, backend: Backend | str, volume: Volume | None = None
    ) -> Connection:
        """A handle of a record that exists."""
        made = cls.__new__(cls)
        Object.__init__(made, library, record, backend)
        made._volume = volume
        return made

    @staticmethod
    def _new_record(volume: Volume, connector: Mapping[str, Any], fields: Mapping[str, Any]) -> Attachment:
        for name in fields:
            if name not in _FIELDS:
                raise InvalidRequest(name, f"is not a field of a connection; there are {', '.join(sorted(_FIELDS))}")
        mode = fields.get("attach_mode") or "rw"
        return Attachment(
            id=str(fields.get("id") or Object.new_uuid()),
            volume_id=volume.id,
            backend=volume._record.backend,
            node_id=str(connector.get("host", "")),
            access_mode=AccessMode.SINGLE_NODE_READER_ONLY if mode == "ro" else AccessMode.SINGLE_NODE_WRITER,
            read_only=mode == "ro",
            connector=dict(connector),
            created_at=now(),
        )

    # --- finding

    @classmethod
    def get_by_id(cls, connection_id: str) -> Connection:
        """Raises ConnectionNotFound."""
        return default.library().connection(connection_id)

    @classmethod
    def load(cls, json_src: Any, save: bool = False) -> Connection:
        """The connection that `json` or `dump` described; stored, with its volume if that is in there, only with `save`."""
        return default.library().load_object(cls, json_src, save)

    @property
    def volume(self) -> Volume:
        """Looked up when it is first asked for. Raises VolumeNotFound."""
        if self._volume is None:
            self._volume = self._library.volume(self._record.volume_id)
        return self._volume

    @volume.setter
    def volume(self, value: Volume) -> None:
        self._volume = value

    @property
    def volume_id(self) -> str:
        return self._record.volume_id

    # --- what it is

    @property
    def conn_info(self) -> dict[str, Any]:
        """The driver's answer: `driver_volume_type` and `data`; empty when disconnected. Holds credentials."""
        info = {name: value for name, value in self._record.connection_info.items() if name != _DEVICE}
        data = info.get("data")
        if self._record.read_only and isinstance(data, Mapping):
            info["data"] = {**data, "access_mode": "ro"}
        return info

    @conn_info.setter
    def conn_info(self, value: Mapping[str, Any] | None) -> None:
        """Kept by `save`."""
        device = {_DEVICE: self.device} if self.device else {}
        self._take(replace(self._record, connection_info={**(value or {}), **device}))

    @property
    def connector_info(self) -> dict[str, Any]:
        """The host's connector properties."""
        return dict(self._record.connector)

    @connector_info.setter
    def connector_info(self, value: Mapping[str, Any]) -> None:
        """Kept by `save`."""
        self._take(replace(self._record, connector=dict(value)))

    @property
    def connection_info(self) -> dict[str, Any]:
        """`conn`, `connector` and, when attached, `device`."""
        device = {_DEVICE: self.device} if self.device else {}
        return {"conn": self.conn_info, "connector": self.connector_info, **device}

    @property
    def device(self) -> Any:
        """What os-brick said about the device on the host, or None."""
        return self._record.connection_info.get(_DEVICE)

    @device.setter
    def device(self, value: Mapping[str, Any] | None) -> None:
        """Kept by `save`."""
        info = {name: one for name, one in self._record.connection_info.items() if name != _DEVICE}
        self._take(replace(self._record, connection_info={**info, _DEVICE: dict(value)} if value else info))

    @property
    def path(self) -> str | None:
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
        """As the host's connector properties say, or the driver's answer shows."""
        if "multipath" in self._record.connector:
            return bool(self._record.connector["multipath"])
        data = self.conn_info.get("data") or {}
        several = {"target_iqns", "target_portals"} <= data.keys()
        return several or not isinstance(data.get("target_wwn", ""), str)

    @property
    def connector(self) -> Any:
        """os-brick's connector for the protocol, or None when disconnected."""
        if not self.connected:
            return None
        from cinder.volume import volume_utils

        return volume_utils.brick_get_connector(
            self.protocol, use_multipath=self.use_multipath, conn=self.conn_info, do_local_attach=True
        )

    def _versioned(self) -> Any:
        return versioned.attachment(self._record, self.connection_info)

    def _primitive(self, without: Iterable[str] = ()) -> dict[str, Any]:
        made = versioned.primitive(self._ovo, {"volume", *without})
        if "volume" not in without and self._volume is not None:
            made["versioned_object.data"]["volume"] = self._volume._primitive(self._volume.SIMPLE_JSON_IGNORE)
        return made

    def _store_all(self) -> Attachment:
        if self._volume is not None:
            self._volume._current()
        return self._put(self._record)

    def refresh(self) -> None:
        """Read the connection again, and its volume if that was loaded."""
        had_volume, self._volume = self._volume is not None, None
        super().refresh()
        if had_volume:
            self._volume = self._library.volume(self._record.volume_id)

    # --- on this host

    def _reachable(self) -> connections.Connection:
        if not self.connected:
            raise PreconditionFailed(f"connection {self.id!r} was disconnected")
        info = self.conn_info
        return connections.Connection(
            volume_id=self.volume_id,
            protocol=str(info["driver_volume_type"]).lower(),
            data=info.get("data") or {},
            size=to_bytes(self.volume._record.size) if self._volume else to_bytes(GiB(0)),
            read_only=self.attach_mode == "ro",
        )

    def _initiator(self) -> brick.Initiator:
        return self._library.initiator(multipath=self.use_multipath)

    def attach(self) -> None:
        """Attach the volume to this host: `path` is the block device then."""
        with exception.about(self):
            device = self._initiator().connect(self._reachable())
            self.device_attached({"type": "block", **asdict(device), "info": dict(device.info)})
            self.volume.local_attach = self

    def device_attached(self, device: Mapping[str, Any]) -> None:
        """Keep what somebody else's os-brick said about the device that the volume is on its host."""
        with exception.about(self):
            self._current()
            self.device = device
            self._take(self._put(self._record))

    def detach(
        self,
        force: bool = False,
        ignore_errors: bool = False,
        exc: Callable[..., Any] | None = None,  # noqa: ARG002
    ) -> None:
        """Take the device off this host.

        Args:
            force: go on when a flush fails.
            ignore_errors: do not tell.
            exc: accepted, not needed.
        """
        with exception.about(self):
            try:
                self._initiator().disconnect(self._reachable(), self._as_device(), force=force)
            except Exception:
                if not ignore_errors:
                    raise
            self.device = None
            self._take(self._put(self._record))
            if self._volume is not None:
                self._volume.local_attach = None

    def _as_device(self) -> brick.Device | None:
        """Of `attach`, or of somebody else's os-brick."""
        known = self.device
        if not known:
            return None
        if "wwid" not in known:
            return brick.Device(path=str(known.get("path", "")), info=dict(known))
        fields = {name: known[name] for name in ("path", "wwid", "multipath", "file", "info") if name in known}
        return brick.Device(**fields)

    def extend(self) -> int:
        """Let the device show the volume's new size.

        Returns:
            what it shows, in bytes.
        """
        with exception.about(self):
            device = self._as_device()
            if device is None:
                raise PreconditionFailed(f"connection {self.id!r} is not attached to this host")
            return self._initiator().extend(self._reachable(), device)

    def disconnect(self, force: bool = False) -> None:  # noqa: ARG002  # what a driver does with it differs; fencing is always done
        """Take the volume away from the host; the export goes with the last connection. Done already is fine."""
        with exception.about(self), self._library.busy(self.volume_id):
            with contextlib.suppress(NotFound):
                self._core.disconnect(self._current() if self.connected else self._record)
            self._take(replace(self._record, connection_info={}))
            self._library.handles.connection_deleted(self)


def connector_properties(*, host: str, multipath: bool, enforce_multipath: bool) -> dict[str, object]:
    """This host's."""
    return brick.connector_properties(host=host, multipath=multipath, enforce_multipath=enforce_multipath)
