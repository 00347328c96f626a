"""Every setting of a process, with its unit, default and reason. Read by `config.load`, used through constructors only."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from csi_cinderlib.model.records import EMPTY, NOTHING, VolumeType


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
        options: the driver's options by their Cinder names. Holds passwords.
        max_concurrent_calls: calls into the driver at one time; 0 is no limit. Arrays with fragile management interfaces want 2 to 10.
        stats_seconds: how long capacity figures are reused.
        topology: segments from which this back end can be reached; empty is everywhere.
    """

    name: str
    driver: str
    options: Mapping[str, object] = field(default=NOTHING, repr=False)
    max_concurrent_calls: int = 0
    stats_seconds: float = 30.0
    topology: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The metadata store: a plugin's name (entry point group `csi_cinderlib.persistence`) and its options."""

    plugin: str = "sql"
    options: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """A key that seals secrets (Fernet's 32 bytes, url-safe base64). The first of several writes, all of them read."""

    id: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    format: str = "auto"
    """"json", "text", or "auto": text on a terminal, JSON elsewhere."""
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it.

    Attributes:
        endpoint: `unix://PATH` or a bare path; "" is STATE_DIR/csi.sock.
        state_dir: everything durable of this process lies under it.
        workers: threads of the gRPC server for storage calls: the provisioner alone runs 100 at once, and slow arrays hold them.
        max_volumes_per_node: 0 leaves it to the container orchestrator.
        page_limit: the most entries of one list answer, also when the caller sets no limit (gRPC's 4 MiB message).
        node_name: this node's name; "" is the host's name. Given, together with `kubernetes`, it is the node id.
        metrics_address: HOST:PORT for Prometheus, or "".
    """

    mode: Mode = Mode.ALL
    driver_name: str = DRIVER_NAME
    endpoint: str = ""
    state_dir: Path
    backends: tuple[BackendSettings, ...] = ()
    volume_types: Mapping[str, VolumeType] = field(default_factory=dict)
    store: StoreSettings = StoreSettings()
    sealing_keys: tuple[SealingKey, ...] = ()
    log: LogSettings = LogSettings()
    workers: int = 128
    max_volumes_per_node: int = 0
    page_limit: int = 1000
    node_name: str = ""
    kubernetes: bool = False
    multipath: bool = False
    topology: Mapping[str, str] = EMPTY
    metrics_address: str = ""
