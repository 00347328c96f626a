"""The base class of persistence plugins written for cinderlib, and the replacement of Cinder's database for them.

Cinder is imported by calls only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from csi_cinderlib.cinderlib.persistence.fields import changed_fields, fields_of

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Connection, KeyValue, Snapshot, Volume

    Resource: TypeAlias = Volume | Snapshot | Connection

__all__ = ["DB", "PersistenceDriverBase", "vol_type_to_dict"]


class PersistenceDriverBase:
    """A persistence plugin as in cinderlib: subclass it and implement the methods that raise NotImplementedError.

    Pass the class or an instance as `storage` of `persistence_config`, or register the class as an entry point of the group
    `cinderlib.persistence.storage`. Other keys of `persistence_config` are arguments of the class.

    A plugin gets objects of its own, which no program holds. They have one more key, `csi-cinderlib`, in `admin_metadata` of a
    volume, `metadata` of a snapshot and `connection_info` of a connection, with the values that cinderlib's objects have no
    field for. A plugin must keep them; a write is read back and refused otherwise.
    """

    durable: ClassVar[bool] = True
    """Whether objects survive the process. Otherwise a set-up has a single object for each volume, snapshot and connection."""
    shared: ClassVar[bool] = False
    """Whether several processes use the plugin's storage at the same time. The plugin must then keep key-values, because each
    process stores its heartbeat in one."""
    patience: ClassVar[float] = 60.0
    """How long a call of the plugin may take while other threads wait for it, in seconds. After that they raise StoreUnavailable."""

    def __init__(self, **kwargs: Any) -> None:
        pass

    @property
    def db(self) -> Any:
        raise NotImplementedError

    def get_volumes(
        self, volume_id: str | None = None, volume_name: str | None = None, backend_name: str | None = None
    ) -> Sequence[Volume]:
        raise NotImplementedError

    def get_snapshots(
        self, snapshot_id: str | None = None, snapshot_name: str | None = None, volume_id: str | None = None
    ) -> Sequence[Snapshot]:
        raise NotImplementedError

    def get_connections(self, connection_id: str | None = None, volume_id: str | None = None) -> Sequence[Connection]:
        raise NotImplementedError

    def get_key_values(self, key: Any = None) -> Sequence[KeyValue]:
        raise NotImplementedError

    def set_volume(self, volume: Volume) -> None:
        """Store the volume, then call this method, which marks it and its type as unchanged."""
        self.reset_change_tracker(volume)
        kind: Any = volume.volume_type  # Cinder's object
        if kind:
            kind.obj_reset_changes()
            if kind.qos_specs_id:
                kind.qos_specs.obj_reset_changes()

    def set_snapshot(self, snapshot: Snapshot) -> None:
        self.reset_change_tracker(snapshot)

    def set_connection(self, connection: Connection) -> None:
        self.reset_change_tracker(connection)

    def set_key_value(self, key_value: KeyValue) -> None:
        """Does nothing here."""

    def delete_volume(self, volume: Volume) -> None:
        self._set_deleted(volume)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        self._set_deleted(snapshot)

    def delete_connection(self, connection: Connection) -> None:
        self._set_deleted(connection)

    def delete_key_value(self, key_value: KeyValue) -> None:
        """Does nothing here."""

    def reset_change_tracker(self, resource: Resource, fields: str | Iterable[str] | None = None) -> None:
        """Mark fields of the object as unchanged; without `fields`, all."""
        resource._ovo.obj_reset_changes((fields,) if isinstance(fields, str) else fields)

    def get_changed_fields(self, resource: Resource) -> dict[str, Any]:
        """The changed values, by field of Cinder's object. A new object has changed in all. Changed specs of a volume's type are
        `extra_specs` and `qos_specs`."""
        return changed_fields(resource)

    def get_fields(self, resource: Resource) -> dict[str, Any]:
        """All values, as `get_changed_fields`."""
        return fields_of(resource)

    def _set_deleted(self, resource: Resource) -> None:
        versioned = resource._ovo
        versioned.deleted, versioned.deleted_at = True, datetime.now(UTC)
        if "status" in versioned.fields:
            versioned.status = "deleted"
        self.reset_change_tracker(resource)


class DB:
    """Look-ups in a plugin, with the methods of Cinder's database. Drivers use the database of the set-up instead.

    Args:
        persistence_driver: the plugin.
    """

    def __init__(self, persistence_driver: PersistenceDriverBase) -> None:
        self.persistence = persistence_driver

    def volume_get(self, context: object, volume_id: str, *_args: object, **_kwargs: object) -> Any:  # noqa: ARG002  # Cinder's signature
        return self.persistence.get_volumes(volume_id=volume_id)[0]._ovo

    def snapshot_get(self, context: object, snapshot_id: str, *_args: object, **_kwargs: object) -> Any:  # noqa: ARG002  # Cinder's signature
        return self.persistence.get_snapshots(snapshot_id=snapshot_id)[0]._ovo

    def volume_type_get(self, context: object, id: str, *_args: object, **_kwargs: object) -> dict[str, Any] | None:
        """The type of a volume; its id is that of the volume."""
        kind = self.volume_get(context, id).volume_type
        return vol_type_to_dict(kind) if kind else None

    def qos_specs_get(self, context: object, qos_specs_id: str, *_args: object, **_kwargs: object) -> Any:
        kind = self.volume_type_get(context, qos_specs_id)
        return kind and kind.get("qos_specs")

    def volume_get_all_by_host(self, context: object, host: str, filters: object = None) -> list[Any]:  # noqa: ARG002  # Cinder's signature
        name = host.partition("#")[0].rpartition("@")[2]
        return [volume._ovo for volume in self.persistence.get_volumes(backend_name=name)]

    @classmethod
    def image_volume_cache_get_by_volume_id(cls, context: object, volume_id: str) -> None:  # Cinder's signature
        """There is no cache of images."""

    def get_by_id(self, context: object, model: Any, id: str, *_args: object, **_kwargs: object) -> Any:
        """The object of a model of Cinder's database: Volume, Snapshot, VolumeType or QualityOfServiceSpecs."""
        calls: dict[str, Callable[[object, str], Any]] = {
            "Volume": self.volume_get,
            "Snapshot": self.snapshot_get,
            "VolumeType": self.volume_type_get,
            "VolumeTypes": self.volume_type_get,
            "QualityOfServiceSpecs": self.qos_specs_get,
        }
        return calls[getattr(model, "__name__", model)](context, id)


def vol_type_to_dict(volume_type: Any) -> dict[str, Any]:
    """Cinder's volume type as JSON values, with its QoS specs."""
    from csi_cinderlib.cinder import versioned

    data: dict[str, Any] = versioned.primitive(volume_type)["versioned_object.data"]
    if data.get("qos_specs"):
        data["qos_specs"] = data["qos_specs"]["versioned_object.data"]
    return data
