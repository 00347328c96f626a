"""The values of a connection: what its record contains, and what the caller has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from csi_cinderlib import brick
from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import checks, connection_record, exception
from csi_cinderlib.cinderlib.attributes import ConnectionFields, MaybeNone
from csi_cinderlib.cinderlib.lazy_volume import LazyVolumeAttr
from csi_cinderlib.cinderlib.results import Attached, ConnectionInfo, ConnectorProperties, Device
from csi_cinderlib.model.records import Attachment

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library, Volume


class ConnectionValues(ConnectionFields, LazyVolumeAttr[Attachment]):
    """The base of `Connection`: the values of a connection.

    `connection_info` and the dictionaries in it are the caller's to change in place; they are also those of Cinder's object. `save`
    compares them with the record, so that it stores every change, and only changes.
    """

    _set_here: dict[str, Any]
    """Options set on this object and not stored yet, by name."""
    _info: dict[str, Any]
    """`connection_info`, which the caller may change in place."""

    def _start(self, library: Library, record: Attachment, backend: Backend | str, volume: Volume | None) -> None:
        super().__init__(library, record, backend)
        self._volume = volume
        self._set_here = {}
        self._info = connection_record.info(record)

    @property
    def connection_info(self) -> Attached:
        """`conn`, `connector`, `device` if attached, and your own keys."""
        self._adopt()
        return cast("Attached", self._info)

    @connection_info.setter
    def connection_info(self, value: Mapping[str, object] | None) -> None:
        """Stored by `save`."""
        connection_record.refill(self.connection_info, _dictionary("connection_info", value))

    def _part(self, name: str) -> dict[str, Any]:
        if not isinstance(self.connection_info.get(name), dict):
            self._info[name] = {}
        part: dict[str, Any] = self._info[name]
        return part

    @property
    def conn_info(self) -> ConnectionInfo:
        """The driver's connection info: `driver_volume_type` and `data`; empty if disconnected. It contains credentials."""
        return cast("ConnectionInfo", self._part("conn"))

    @conn_info.setter
    def conn_info(self, value: Mapping[str, object] | None) -> None:
        """Stored by `save`."""
        self.connection_info["conn"] = _dictionary("conn_info", value)

    @property
    def connector_info(self) -> ConnectorProperties:
        """The host's connector properties."""
        return cast("ConnectorProperties", self._part("connector"))

    @connector_info.setter
    def connector_info(self, value: Mapping[str, object] | None) -> None:
        """Stored by `save`."""
        self.connection_info["connector"] = _dictionary("connector_info", value)

    @property
    def device(self) -> Device | MaybeNone:
        """os-brick's description of the device on the host, or None."""
        return self.connection_info.get("device") or None

    @device.setter
    def device(self, value: Mapping[str, object] | None) -> None:
        """Stored by `save`."""
        device = _dictionary("device", value)
        self.connection_info.pop("device", None)
        if device:
            self._info["device"] = device

    @property
    def attach_mode(self) -> str:
        """`rw` or `ro`."""
        return connection_record.mode(self._wanted())

    @attach_mode.setter
    def attach_mode(self, value: str) -> None:
        """Stored by `save`."""
        with exception.about(self):
            connection_record.changed(self._record, {"attach_mode": value})  # refuses an unsupported value at once
        self._ovo.attach_mode = value

    @property
    def use_multipath(self) -> bool:
        """The option of `connect`, else of the host's connector properties, else derived from the connection info."""
        if (given := self._option("use_multipath")) is not None:
            return bool(given)
        if "multipath" in self.connector_info:
            return bool(self.connector_info["multipath"])
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
        return int(self._option("device_scan_attempts") or brick.SCAN_ATTEMPTS)

    @scan_attempts.setter
    def scan_attempts(self, value: int) -> None:
        """Stored by `save`."""
        self._set("device_scan_attempts", value)

    def _versioned(self) -> Any:
        attachment = versioned.attachment(self._record, self._info)
        for name, value in connection_record.given(self._record).items():
            if name in connection_record.COLUMNS:
                setattr(attachment, name, value)
        attachment.attach_mode = connection_record.mode(self._record)
        attachment.status = self._outcome or "attached"  # not a field of Cinder's class, but cinderlib sets it
        if self._outcome:
            attachment.deleted, attachment.attach_status = True, "detached"
        attachment.obj_reset_changes()
        self._share_info(attachment)
        return attachment

    def _adopt(self) -> None:
        """Take over the dictionaries that the caller has assigned to Cinder's object, which has copied them."""
        if self._object is None:
            return
        assigned = self._object.obj_what_changed() & {"connection_info", "connector"}
        if "connection_info" in assigned:
            connection_record.refill(self._info, self._object.connection_info or {})
        if "connector" in assigned:
            self._info["connector"] = dict(self._object.connector or {})
        if assigned:  # an empty set would reset every field
            self._object.obj_reset_changes(assigned)
        self._share_info(self._object)

    def _share_info(self, attachment: Any) -> None:
        """Let Cinder's object contain the same dictionaries. Its setters would copy them."""
        self._info["connector"] = self._info.get("connector") or {}
        vars(attachment).update(_obj_connection_info=self._info, _obj_connector=self._info["connector"])

    # --- unsaved values

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field of Cinder's class on Cinder's object, from which `save` stores it."""
        if name in connection_record.FIXED:
            raise AttributeError(f"{name} of a connection cannot be changed")
        if name in connection_record.COLUMNS:
            setattr(self._ovo, name, value)
        else:
            super().__setattr__(name, value)

    def _set(self, name: str, value: Any) -> None:
        with exception.about(self):
            connection_record.changed(self._record, {name: value})  # refuses an unsupported value at once
            self._set_here = {**self._set_here, name: value}

    def _option(self, name: str) -> Any:
        return self._set_here.get(name, connection_record.given(self._record).get(name))

    def _unsaved(self) -> dict[str, Any]:
        changed = connection_record.differences(self._record, self.connection_info)
        return {**super()._unsaved(), **changed, **self._set_here}

    def _changed(self, record: Attachment, given: Mapping[str, Any]) -> Attachment:
        return connection_record.changed(record, given)

    def _wanted(self) -> Attachment:
        """The record with the unsaved values."""
        return self._changed(self._record, self._unsaved())

    def _take(self, record: Attachment, outcome: str = "") -> None:
        """Set the record, and keep the unsaved values."""
        base = self._base_on(record, self._unsaved())
        changed = connection_record.differences(self._record, self.connection_info)
        columns = super()._unsaved()
        connection_record.refill(self._info, connection_record.info(self._changed(record, changed)))
        super()._take(record, outcome)
        for name in columns.keys() & {*connection_record.COLUMNS, "attach_mode"}:
            setattr(self._object, name, columns[name])
        self._base = base

    def _start_over(self) -> None:
        """Forget the unsaved values."""
        self._base = None
        self._set_here = {}
        connection_record.refill(self.connection_info, connection_record.info(self._record))
        if self._object is not None:
            self._object.obj_reset_changes()
            self._take(self._record, self._outcome)

    def _current(self) -> Attachment:
        """The stored record, after storing the unsaved values."""
        if self._record.revision and self._unsaved():
            self.save()
        return super()._current()

    def _store_all(self) -> Attachment:
        self._record = self._wanted()
        return super()._store_all()

    def save(self) -> None:
        """Store the values set here and keep concurrent changes of other fields. Raises ConnectionNotFound after `disconnect`."""
        super().save()
        self._start_over()

    def refresh(self) -> None:
        """Read the connection again, and its volume if loaded. Unsaved values are discarded."""
        self._start_over()
        super().refresh()


def _dictionary(name: str, value: Mapping[str, object] | None) -> dict[str, Any]:
    return {} if value is None else dict(checks.mapping(name, value))
