"""All settings of a process, with units and defaults. `config.load` reads them; components get them through their constructors."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

from csi_cinderlib.model.records import EMPTY, NOTHING, VolumeType

Written: TypeAlias = Annotated[object, "written"]
"""The text of a scalar as written, or lists and mappings of such texts. None is not set."""
FilePath: TypeAlias = Annotated[str, "file"]
"""The path of a file. A relative path starts at the directory of the configuration file."""
NOT_A_KEY: Mapping[str, object] = {"is_key": False}
"""Marks a field that the reader sets."""


class Mode(enum.StrEnum):
    """The services of this process: the controller's, the node's, or both."""

    CONTROLLER = "controller"
    NODE = "node"
    ALL = "all"


DRIVER_NAME = "csi.cinderlib.io"
"""The default of `Settings.driver_name`."""

TOPOLOGY_PREFIX = "topology."


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """One back end.

    Attributes:
        driver: class path of the Cinder driver (Cinder's `volume_driver`).
        options: the driver's options by their Cinder names, as written. Holds passwords.
        max_concurrent_calls: limit of concurrent calls into the driver; 0 is no limit (one call for drivers on shares). Creations take at most half of it, and one additional call may detach or delete. Use 2 to 10 for arrays with slow management interfaces.
        stats_seconds: how long capacity figures are cached.
        topology: segments that can reach this back end; empty is everywhere.
        pools: pools for new volumes, by the names that the driver reports; empty is all. Volumes in other pools stay usable.
        paused: create, delete, extend, revert and snapshot nothing; attach and detach as usual. Changes take effect without a restart of the driver.
        drained: accept no new volumes; existing ones stay usable in every way. Changes take effect without a restart of the driver.
        directory: directory of the back end's file, at which relative paths in options start; "" is unknown.
        origins: the Secret and key of each option that comes from one. Its value is never shown, whatever the name of the option.
    """

    name: str
    driver: str
    options: Mapping[str, Written] = field(default=NOTHING, repr=False)
    max_concurrent_calls: int = 0
    stats_seconds: float = 30.0
    topology: Mapping[str, str] = EMPTY
    pools: tuple[str, ...] = ()
    paused: bool = False
    drained: bool = False
    directory: str = field(default="", metadata=NOT_A_KEY)
    origins: Mapping[str, str] = field(default=EMPTY, metadata=NOT_A_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The metadata store.

    Attributes:
        plugin: `sql`, `kubernetes`, `memory`, or another plugin of the entry point group `csi_cinderlib.persistence`.
        options: options of the plugin, for example `url` for `sql`.
        take_over_from: in Kubernetes, the UID of the namespace kube-system of a removed cluster whose store this cluster takes over.
    """

    plugin: str = "sql"
    options: Mapping[str, object] = field(default=NOTHING, repr=False)
    take_over_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """A key that seals secrets. The first of several keys encrypts, all of them decrypt.

    Attributes:
        id: any word; prefix of everything that the key seals.
        key: a Fernet key, 32 bytes in URL-safe base64; `csi-cinderlib new-key` generates one.
    """

    id: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The log.

    Attributes:
        format: `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
        level: `debug`, `info`, `warning` or `error`.
    """

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings.

    Attributes:
        mode: `controller`, `node`, or `all`: the services of this process.
        driver_name: name of the driver for the container orchestrator. It must be the same in all processes, and must not change while volumes exist.
        endpoint: `unix://PATH` or a bare path; "" is STATE_DIR/csi.sock.
        state_dir: directory of all durable state of this process.
        backends: back ends by name. The default is one back end `local` in STATE_DIR/volumes.
        cinder_defaults: options of Cinder's section [DEFAULT] for all back ends of this process, for example `my_ip`; those of `cinder_conf` are added.
        backends_directory: directory with *.yaml, *.yml and *.json files of further back ends. Changes take effect without a restart.
        volume_types: volume types by name, for the StorageClass parameter `type`.
        store: the metadata store.
        sealing_keys: keys that seal credentials in the store and on their way to a node. Without keys they are in plain text, which is acceptable on one machine only.
        sealing_keys_file: YAML file with a list of `{id, key}`, which precede `sealing_keys`. Reloaded when it changes.
        shared_keys_file: such a file with the former keys of all nodes. It may be missing. These keys decrypt what was sealed with them, and seal only for nodes that have no key of their own yet.
        log: format and level of the log on standard error.
        workers: threads of the gRPC server for storage calls. The provisioner alone makes 100 concurrent calls, which slow arrays hold up.
        max_volumes_per_node: limit of volumes per node; 0 is no limit of the driver.
        page_limit: maximum of entries in a list response, even if the caller sets no limit (gRPC's limit is 4 MiB per message).
        node_name: name of this node; "" is the host's name. With `kubernetes`, a given name is the node id.
        kubernetes: whether this process runs in Kubernetes, where nodes register their connector properties.
        multipath: whether nodes attach volumes over all paths and use the multipath map.
        topology: topology segments of this node; a key without a slash gets the prefix `topology.DRIVER_NAME/`.
        topology_labels: in Kubernetes, labels of the Node object that are further segments of this node.
        metrics_address: HOST:PORT of /metrics for Prometheus; "" disables it; `:PORT` is every address of this host.
        metrics_certificate_file: PEM file with the certificate and its chain for /metrics over TLS; "" is plain HTTP. Reloaded when it changes.
        metrics_key_file: PEM file with the private key of the certificate, without a password. Reloaded when it changes.
        metrics_token_file: file with the bearer token for /metrics; "" is no token. Without TLS, allowed at a loopback address only. Read for each request.
        health_address: HOST:PORT of /healthz and /readyz; "" disables them.
        local_paths: absolute paths of directories, and of devices such as `/dev/vg1` or `/dev/drbd*`, that this node may attach for connections with a path (protocols `local` and `gpfs`). STATE_DIR/volumes and the directories of the driver loopfile in this configuration are always allowed; all other paths are refused.
        kubelet_directory: directory of the kubelet. A node refuses staging and target paths outside it, and links below it; "" allows every path without links.
        kubelet_registration: the kubelet's directory plugins_registry, in which a node registers itself; "" disables it.
    """

    mode: Mode = Mode.ALL
    driver_name: str = DRIVER_NAME
    endpoint: FilePath = ""
    state_dir: Path
    backends: tuple[BackendSettings, ...] = ()
    cinder_defaults: Mapping[str, Written] = field(default=NOTHING, repr=False)
    backends_directory: FilePath = ""
    volume_types: Mapping[str, VolumeType] = field(default_factory=dict)
    store: StoreSettings = StoreSettings()
    sealing_keys: tuple[SealingKey, ...] = ()
    sealing_keys_file: FilePath = ""
    shared_keys_file: FilePath = ""
    log: LogSettings = LogSettings()
    workers: int = 128
    max_volumes_per_node: int = 0
    page_limit: int = 1000
    node_name: str = ""
    kubernetes: bool = False
    multipath: bool = False
    topology: Mapping[str, str] = EMPTY
    topology_labels: tuple[str, ...] = ()
    metrics_address: str = ""
    metrics_certificate_file: FilePath = ""
    metrics_key_file: FilePath = ""
    metrics_token_file: FilePath = ""
    health_address: str = ""
    local_paths: tuple[str, ...] = ()
    kubelet_directory: str = ""
    kubelet_registration: str = ""

    @property
    def in_kubernetes(self) -> bool:
        """Whether this process uses the Kubernetes API: for the registration of nodes, or for its records."""
        return self.kubernetes or self.store.plugin == "kubernetes"
