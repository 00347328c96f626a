"""A whole controller behind a socket: real services, real stores, and Cinder drivers that do nothing or use loop files."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config.settings import BackendSettings, SealingKey
from csi_cinderlib.csi.controller import Controller
from csi_cinderlib.csi.group_controller import GroupController
from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import nodes
from csi_cinderlib.observe.metrics import Metrics
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning import installation
from csi_cinderlib.provisioning.attachments import Attachments
from csi_cinderlib.provisioning.contexts import Contexts
from csi_cinderlib.provisioning.groups import Groups
from csi_cinderlib.provisioning.snapshots import Snapshots
from csi_cinderlib.provisioning.volumes import Volumes
from csi_cinderlib.sealing import Sealer
from tests.component.csi.harness import Client, Serve

GIB = 1024**3
MIB = 1024**2
NOTHING = "tests.support.fakes.nothing.NothingDriver"
RETYPING = "tests.support.fakes.retyping.RetypingDriver"
GROUPS = "tests.support.fakes.nothing.GroupDriver"
LOOP_FILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
KEY = SealingKey(id="k1", key="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
MODE = pb.VolumeCapability.AccessMode
PAGE_LIMIT = 5

_names = itertools.count(1)


def mount(fs_type: str = "", *, mode: MODE.Mode.ValueType = MODE.SINGLE_NODE_WRITER) -> pb.VolumeCapability:
    return pb.VolumeCapability(mount=pb.VolumeCapability.MountVolume(fs_type=fs_type), access_mode=MODE(mode=mode))


def block(mode: MODE.Mode.ValueType = MODE.SINGLE_NODE_WRITER) -> pb.VolumeCapability:
    return pb.VolumeCapability(block=pb.VolumeCapability.BlockVolume(), access_mode=MODE(mode=mode))


def node_id(host: str) -> str:
    return nodes.encode({"host": host, "ip": "127.0.0.1", "initiator": f"iqn.2010-10.test:{host}"})


@dataclass
class Site:
    """The parts of one controller, which a test may reach around the socket."""

    store: Store
    runtime: Runtime
    sealer: Sealer = field(default_factory=lambda: Sealer([KEY]))
    backends: Backends = field(default_factory=Backends)
    locks: KeyedLocks = field(default_factory=KeyedLocks)
    topologies: dict[str, Mapping[str, str]] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=lambda: Metrics(version="1", mode="controller", driver_name="d"))
    client: Client = field(init=False)

    def serve(self, serve: Serve) -> None:
        common, ids = (self.store, self.backends, self.locks), installation.namespace(self.store)
        controller = Controller(
            Volumes(*common, ids=ids, page_limit=PAGE_LIMIT),
            Snapshots(*common, ids=ids, page_limit=PAGE_LIMIT),
            Attachments(*common, ids=ids, contexts=Contexts(self.sealer, nodes=self.store)),
            topologies=self.topologies,
            modifies=self.backends.may_retype,
        )
        self.client = serve(controller, GroupController(Groups(*common, ids=ids)), workers=32).client

    def add_nothing(
        self, *, name: str = "", driver: str = NOTHING, topology: Mapping[str, str] | None = None, **options: Any
    ) -> Any:
        """A back end whose driver does nothing, slowly if told so; the driver. Names differ, since Cinder keeps the options of a name."""
        return self._add(
            name or f"array{next(_names)}",
            driver,
            {f"nothing_{key}": value for key, value in options.items()},
            topology,
        )

    def add_loop_files(self, directories: Sequence[Path]) -> Any:
        return self._add(
            f"files{next(_names)}", LOOP_FILE, {"loopfile_directories": [str(path) for path in directories]}, None
        )

    def _add(self, name: str, driver: str, options: Mapping[str, object], topology: Mapping[str, str] | None) -> Any:
        settings = BackendSettings(name=name, driver=driver, options=options, topology=topology or {})
        backend = LocalBackend(settings, store=self.store, runtime=self.runtime, owner="here", meter=self.metrics)
        self.backends.add(backend)
        backend.start()
        backend.wait_for_exports()
        if topology:
            self.topologies[name] = topology
        return backend.driver

    # --- the calls, with what tests rarely change

    def create(self, name: str = "pvc-1", **more: Any) -> pb.Volume:
        return self.client.controller.CreateVolume(creation(name, **more), timeout=60).volume

    def snapshot(self, volume: pb.Volume, name: str = "snap-1") -> pb.Snapshot:
        request = pb.CreateSnapshotRequest(name=name, source_volume_id=volume.volume_id)
        return self.client.controller.CreateSnapshot(request, timeout=60).snapshot

    def publish(self, volume: pb.Volume, host: str, capability: pb.VolumeCapability | None = None) -> dict[str, str]:
        request = publication(volume, host, capability)
        return dict(self.client.controller.ControllerPublishVolume(request, timeout=60).publish_context)

    def delete(self, volume: pb.Volume) -> None:
        self.client.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id=volume.volume_id), timeout=60)


def creation(
    name: str = "pvc-1",
    *,
    required: int = GIB,
    limit: int = 0,
    capability: pb.VolumeCapability | None = None,
    parameters: Mapping[str, str] | None = None,
    snapshot: str = "",
    clone: str = "",
) -> pb.CreateVolumeRequest:
    request = pb.CreateVolumeRequest(
        name=name, volume_capabilities=[capability or mount()], parameters=parameters or {}
    )
    request.capacity_range.required_bytes = required
    request.capacity_range.limit_bytes = limit
    if snapshot:
        request.volume_content_source.snapshot.snapshot_id = snapshot
    if clone:
        request.volume_content_source.volume.volume_id = clone
    return request


def publication(
    volume: pb.Volume, host: str, capability: pb.VolumeCapability | None = None, *, read_only: bool = False
) -> pb.ControllerPublishVolumeRequest:
    return pb.ControllerPublishVolumeRequest(
        volume_id=volume.volume_id,
        node_id=node_id(host),
        volume_capability=capability or mount(),
        readonly=read_only,
        volume_context=volume.volume_context,
    )
