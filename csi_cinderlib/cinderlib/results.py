"""The dictionaries that the library returns, with the types of their keys.

At run time they are plain dictionaries; these classes only declare keys, for type checkers and editors. Drivers, os-brick and programs add
keys of their own, so every other key is allowed and has the type `Any`. Sources: os-brick's connectors, and "Volume Stats" in Cinder's guide
for developers of drivers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict, overload

Json: TypeAlias = dict[str, Any]
"""What `json` returns: text, numbers, None, lists and mappings of them. `Any`, as in `json.loads`, so that it can be indexed."""
JsonSource: TypeAlias = str | Mapping[str, Any]
"""The output of `json` or `dump`, as text or parsed."""


class ConnectorProperties(dict[str, Any]):
    """What a driver needs to know about a host. A key is missing if the host does not have the property."""

    @overload
    def __getitem__(
        self,
        key: Literal[
            "host",
            "ip",
            "platform",
            "os_type",
            "initiator",
            "nqn",
            "nvme_hostid",
            "uuid",
            "system uuid",
            "found_dsc",
            "mountpoint",
        ],
    ) -> str: ...

    @overload
    def __getitem__(
        self, key: Literal["multipath", "enforce_multipath", "do_local_attach", "nvme_native_multipath"]
    ) -> bool: ...

    @overload
    def __getitem__(self, key: Literal["wwpns", "wwnns", "host_ips"]) -> list[str]: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)


class ConnectionInfo(dict[str, Any]):
    """A driver's connection info: the protocol (`iscsi`, `fibre_channel`, `nvmeof`, `rbd`, `nfs`, `local` ...) and the driver's data."""

    @overload
    def __getitem__(self, key: Literal["driver_volume_type"]) -> str: ...

    @overload
    def __getitem__(self, key: Literal["data"]) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)


class Device(dict[str, Any]):
    """A device as described by os-brick or by this library. Some keys depend on the protocol."""

    @overload
    def __getitem__(self, key: Literal["type", "path", "scsi_wwn", "multipath_id", "wwid", "file"]) -> str: ...

    @overload
    def __getitem__(self, key: Literal["multipath"]) -> bool: ...

    @overload
    def __getitem__(self, key: Literal["info"]) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)


class Attached(dict[str, Any]):
    """`Connection.connection_info`; `device` exists if it is attached."""

    @overload
    def __getitem__(self, key: Literal["conn"]) -> ConnectionInfo: ...

    @overload
    def __getitem__(self, key: Literal["connector"]) -> ConnectorProperties: ...

    @overload
    def __getitem__(self, key: Literal["device"]) -> Device: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)


class Pool(dict[str, Any]):
    """A pool of `Stats`. Capacities are in GiB, or `unknown` or `infinite`."""

    @overload
    def __getitem__(self, key: Literal["pool_name", "backend_state"]) -> str: ...

    @overload
    def __getitem__(self, key: Literal["provisioned_capacity_gb", "allocated_capacity_gb"]) -> float: ...

    @overload
    def __getitem__(self, key: Literal["total_volumes", "reserved_percentage", "replication_count"]) -> int: ...

    @overload
    def __getitem__(
        self,
        key: Literal[
            "thin_provisioning_support",
            "thick_provisioning_support",
            "multiattach",
            "QoS_support",
            "online_extend_support",
            "consistencygroup_support",
            "consistent_group_snapshot_enabled",
            "consistent_group_replication_enabled",
            "replication_enabled",
        ],
    ) -> bool: ...

    @overload
    def __getitem__(
        self, key: Literal["total_capacity_gb", "free_capacity_gb", "max_over_subscription_ratio"]
    ) -> float | str: ...

    @overload
    def __getitem__(self, key: Literal["location_info", "filter_function", "goodness_function"]) -> str | None: ...

    @overload
    def __getitem__(self, key: Literal["storage_protocol"]) -> str | list[str]: ...

    @overload
    def __getitem__(self, key: Literal["replication_type", "replication_targets"]) -> list[str]: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)


class Stats(dict[str, Any]):
    """`Backend.stats`: a driver's report."""

    @overload
    def __getitem__(
        self, key: Literal["volume_backend_name", "vendor_name", "driver_version", "backend_state"]
    ) -> str: ...

    @overload
    def __getitem__(self, key: Literal["pools"]) -> list[Pool]: ...

    @overload
    def __getitem__(self, key: Literal["sparse_copy_volume", "shared_targets"]) -> bool: ...

    @overload
    def __getitem__(self, key: Literal["provisioned_capacity_gb", "allocated_capacity_gb"]) -> float: ...

    @overload
    def __getitem__(self, key: Literal["total_volumes", "reserved_percentage", "replication_count"]) -> int: ...

    @overload
    def __getitem__(
        self,
        key: Literal[
            "thin_provisioning_support",
            "thick_provisioning_support",
            "multiattach",
            "QoS_support",
            "online_extend_support",
            "consistencygroup_support",
            "consistent_group_snapshot_enabled",
            "consistent_group_replication_enabled",
            "replication_enabled",
        ],
    ) -> bool: ...

    @overload
    def __getitem__(
        self, key: Literal["total_capacity_gb", "free_capacity_gb", "max_over_subscription_ratio"]
    ) -> float | str: ...

    @overload
    def __getitem__(self, key: Literal["location_info", "filter_function", "goodness_function"]) -> str | None: ...

    @overload
    def __getitem__(self, key: Literal["storage_protocol"]) -> str | list[str]: ...

    @overload
    def __getitem__(self, key: Literal["replication_type", "replication_targets"]) -> list[str]: ...

    @overload
    def __getitem__(self, key: str) -> Any: ...

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)


class DriverDescription(TypedDict):
    """A driver in `list_supported_drivers`."""

    class_name: str
    class_fqn: str
    version: str | None
    ci_wiki_name: str | None
    desc: str | None
    supported: bool
    driver_options: list[dict[str, Any]]
    """The options' attributes in oslo.config, as text in version 1 and with their types in version 2."""
