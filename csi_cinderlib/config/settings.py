"""Every setting of a process, with its unit, default and reason. Read by `config.load`, used through constructors only."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

from csi_cinderlib.model.records import EMPTY, NOTHING, VolumeType

Written: TypeAlias = Annotated[object, "written"]
"""The text of a scalar as it is written, or lists and mappings of such texts. None is not set."""
FilePath: TypeAlias = Annotated[str, "file"]
"""A relative one starts at the directory of the file that holds it."""
NOT_A_KEY: Mapping[str, object] = {"is_key": False}
"""Marks a field that the reader fills in."""


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
        driver: the Cinder driver's class path (Cinder's `volume_driver`).
        options: the driver's options by their Cinder names, as they are written. Holds passwords.
        max_concurrent_calls: calls into the driver at one time; 0 is no limit (drivers on shares: one). Creations take half of them at most, and one call more runs if it detaches or deletes. Arrays with fragile management interfaces want 2 to 10.
        stats_seconds: how long capacity figures are reused.
        topology: segments from which this back end can be reached; empty is everywhere.
        directory: of the file that configures it: relative paths in options start there; "" is not known.
    """

    name: str
    driver: str
    options: Mapping[str, Written] = field(default=NOTHING, repr=False)
    max_concurrent_calls: int = 0
    stats_seconds: float = 30.0
    topology: Mapping[str, str] = EMPTY
    directory: str = field(default="", metadata=NOT_A_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The metadata store.

    Attributes:
        plugin: its name: `sql`, `kubernetes` or `memory`, or another of the entry point group `csi_cinderlib.persistence`.
        options: the plugin's own; for `sql` a `url`, say.
        take_over_from: in Kubernetes, the UID of the namespace kube-system of a cluster that is gone, and whose store this one goes on with.
    """

    plugin: str = "sql"
    options: Mapping[str, object] = field(default=NOTHING, repr=False)
    take_over_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """A key that seals secrets. The first of several writes, all of them read.

    Attributes:
        id: any word; it stands in front of what the key has sealed.
        key: Fernet's 32 bytes in url-safe base64; `csi-cinderlib new-key` makes one.
    """

    id: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged.

    Attributes:
        format: `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
        level: `debug`, `info`, `warning` or `error`.
    """

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it.

    Attributes:
        mode: `controller`, `node`, or `all`: the services of this process.
        driver_name: by which the container orchestrator knows the driver; the same in all its processes, for ever.
        endpoint: `unix://PATH` or a bare path; "" is STATE_DIR/csi.sock.
        state_dir: everything durable of this process lies under it.
        backends: by name; none is one back end `local` in STATE_DIR/volumes.
        cinder_defaults: options of Cinder's own section [DEFAULT], `my_ip` say, for all back ends of this process; those of the `cinder_conf` are added.
        backends_directory: a directory whose *.yaml, *.yml and *.json files hold more of them; a change is picked up while running.
        volume_types: by name, which a StorageClass gives as `type`.
        store: where the metadata lies.
        sealing_keys: what seals credentials in the store and on their way to a node; none leaves them in plain, for one machine.
        sealing_keys_file: a YAML file with more of them, a list of `{id, key}` in front of `sealing_keys`; read again when it changes.
        shared_keys_file: such a file with the keys that nodes have, too, as all had before each had a key of its own. It may be missing. They open what was sealed with them, and seal for nodes that have no key of their own yet; nothing else.
        log: what is logged and how; it goes to standard error.
        workers: threads of the gRPC server for storage calls: the provisioner alone runs 100 at once, and slow arrays hold them.
        max_volumes_per_node: 0 leaves it to the container orchestrator.
        page_limit: the most entries of one list answer, also when the caller sets no limit (gRPC's 4 MiB message).
        node_name: this node's name; "" is the host's name. Given, together with `kubernetes`, it is the node id.
        kubernetes: this process runs in Kubernetes: nodes register their connector properties there.
        multipath: nodes attach by all paths, and use the map on top.
        topology: this node's segments; a key without a slash gets `topology.DRIVER_NAME/` in front.
        topology_labels: labels of this node's Node object that are segments of it, too; in Kubernetes.
        metrics_address: HOST:PORT for Prometheus, or ""; `:PORT` is every address of this host.
        metrics_certificate_file: a PEM file with the certificate, and its chain, for /metrics by TLS; "" is plain HTTP. Read again when it changes.
        metrics_key_file: a PEM file with the certificate's private key, without a password. Read again when it changes.
        metrics_token_file: a file with the bearer token that /metrics asks for; "" asks for none. Without TLS at a loopback address only. Read for each request.
        health_address: HOST:PORT where /healthz and /readyz answer, or "".
        local_paths: absolute paths at which this node attaches volumes that a connection names by path (protocols `local` and `gpfs`): directories, and devices as `/dev/vg1` or `/dev/drbd*`. STATE_DIR/volumes and the directories of the driver loopfile in this configuration are allowed anyway; everything else is refused.
        kubelet_directory: the kubelet's directory: a node refuses staging and target paths elsewhere. Links below it are refused; "" allows every path without links.
        kubelet_registration: the kubelet's plugins_registry directory, in which a node registers itself, or "".
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
