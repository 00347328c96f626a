"""A node on a directory: the real flows over files on loop devices. Run as a program, it does one step in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from csi_cinderlib.brick import ANYWHERE, Initiator
from csi_cinderlib.brick.device import Device
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.host import mounts
from csi_cinderlib.host.patience import Patience
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.requests import NodeExpandVolume, NodePublishVolume, NodeStats, StageVolume
from csi_cinderlib.model.size import Bytes, SizeRange
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.expansion import Expansion
from csi_cinderlib.node.publishing import Publishing
from csi_cinderlib.node.reconcile import Reconciled, reconcile
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.node.staging import Staging
from csi_cinderlib.node.statistics import Statistics
from csi_cinderlib.sealing import Sealer

MIB = 1024 * 1024
SIZE = 320 * MIB
WRITER = AccessMode.SINGLE_NODE_WRITER
BLOCK = Capability(Block(), WRITER)


def mount_capability(fs_type: str = "ext4", *flags: str, mode: AccessMode = WRITER) -> Capability:
    return Capability(Mount(fs_type=fs_type, flags=flags), mode)


EXT4 = mount_capability("ext4")
NO_HEADER_YET = (
    "stage.header-intent",
    "stage.content-mapped",
    "stage.device-marked",
    "stage.header-marked",
    "stage.content-made",
    "stage.header-hidden",
)
"""Until these steps, nothing shows that the device is encrypted."""
NEW_HEADER = (*NO_HEADER_YET, "stage.header-copy", "stage.header-written", "stage.header-opened")
CHANGED_KEY = ("stage.key-added", "stage.key-removed")
ENCRYPTION = (*NEW_HEADER, *CHANGED_KEY)
"""The fault points of encrypted volumes, for which tests in a guest kill the node."""


@dataclass
class Volume:
    """A volume's file, and what the controller would say of it."""

    id: str
    file: Path
    formatting: Formatting = Formatting.NEVER_FORMATTED
    read_only: bool = False
    alone: bool = False
    fs_type: str = ""
    mkfs_options: tuple[str, ...] = ()
    attachment: str = "of-this-node@1"
    encryption: str = ""
    header: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    """Bytes; 0 is that of the file, which a share may not tell."""

    @property
    def connection(self) -> Connection:
        return Connection(
            volume_id=self.id,
            attachment=self.attachment,
            protocol="local",
            data={"device_path": str(self.file)},
            size=Bytes(self.size or self.file.stat().st_size),
            formatting=self.formatting,
            read_only=self.read_only,
            alone=self.alone,
            fs_type=self.fs_type,
            encryption=self.encryption,
            header=self.header,
            mkfs_options=self.mkfs_options,
        )

    def resize(self, size: int) -> None:
        with self.file.open("r+b") as file:
            file.truncate(size)


@dataclass
class Node:
    """One node process. A second one on the same directory is the node after a restart."""

    base: Path
    locks: KeyedLocks = field(default_factory=KeyedLocks)
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        state_dir = self.base / "state"
        self.records = StageRecords(state_dir)
        self.initiator = Initiator(state_dir, allowed=ANYWHERE)
        self.sealer = Sealer()
        self.calls = Calls(self.records, self.patience)
        self.staging = Staging(self.records, self.initiator, self.sealer, self.locks, calls=self.calls)
        self.publishing = Publishing(self.records, self.locks, calls=self.calls)
        self.expansion = Expansion(self.records, self.initiator, self.locks, calls=self.calls)
        self.statistics = Statistics(self.records, calls=self.calls)

    def volume(self, name: str = "vol", size: int = SIZE, **what: object) -> Volume:
        file = self.base / f"volume-{name}"
        if not file.exists():
            with file.open("wb") as made:
                made.truncate(size)
        return replace(Volume(id=name, file=file), **what)  # type: ignore[arg-type] # test data

    def staging_path(self, volume: Volume) -> str:
        path = self.base / "staging" / volume.id
        if not mounts.find(str(path)) and not path.exists():  # what is mounted there may not answer any more
            path.mkdir(parents=True)
        return str(path)

    def target(self, name: str = "pod1") -> str:
        (self.base / "pods" / name).mkdir(parents=True, exist_ok=True)
        return str(self.base / "pods" / name / "mount")

    def note(self, volume: Volume, target: str = "") -> None:
        """What the kubelet notes beside the target of a mounted volume."""
        Path(target or self.target()).with_name("vol_data.json").write_text(json.dumps({"volumeHandle": volume.id}))

    def stage(self, volume: Volume, capability: Capability = EXT4, path: str = "") -> str:
        path = path or self.staging_path(volume)
        context = {"connection": self.sealer.seal(volume.connection.to_bytes())}
        self.staging.stage(
            StageVolume(
                volume_id=volume.id,
                staging_path=path,
                capability=capability,
                publish_context=context,
                volume_context=volume.context,
                secrets=volume.secrets,
            )
        )
        return path

    def unstage(self, volume: Volume) -> None:
        self.staging.unstage(volume.id, self.staging_path(volume))

    def publish(
        self, volume: Volume, capability: Capability = EXT4, target: str = "", *, read_only: bool = False
    ) -> str:
        target = target or self.target()
        request = NodePublishVolume(
            volume_id=volume.id,
            staging_path=self.staging_path(volume),
            target_path=target,
            capability=capability,
            read_only=read_only,
        )
        self.publishing.publish(request)
        return target

    def unpublish(self, volume: Volume, target: str = "") -> None:
        self.publishing.unpublish(volume.id, target or self.target())

    def expand(self, volume: Volume, path: str, required: int = 0, limit: int = 0) -> int:
        size = SizeRange(Bytes(required), Bytes(limit))
        return self.expansion.expand(NodeExpandVolume(volume_id=volume.id, volume_path=path, size=size))

    def stats(self, volume: Volume, path: str) -> NodeStats:
        return self.statistics.stats(volume.id, path, self.staging_path(volume))

    def reconcile(self) -> Reconciled:
        return reconcile(self.records, self.staging, self.locks, self.calls)


class WatchedInitiator(Initiator):
    """Notes the calls that a loop device does not show: how a dead device is let go."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir, allowed=ANYWHERE)
        self.calls: list[str] = []

    def give_up(self, device: Device) -> None:
        self.calls.append(f"give up {device.path}")
        super().give_up(device)

    def disconnect(
        self,
        connection: Connection,
        device: Device | None = None,
        *,
        force: bool = False,
        ignore_errors: bool | None = None,
    ) -> None:
        self.calls.append(f"disconnect {device.path if device else '?'}{' by force' if force else ''}")
        super().disconnect(connection, device, force=force)


def main(argv: Sequence[str]) -> None:
    base, step, spec = Path(argv[0]), argv[1], json.loads(argv[2])
    node = Node(base)
    volume = node.volume()
    volume.formatting = Formatting(spec.get("formatting", volume.formatting))
    volume.encryption = spec.get("encryption", "")
    volume.header = spec.get("header", "")
    volume.secrets = spec.get("secrets", {})
    capability = BLOCK if spec["kind"] == "block" else mount_capability(spec["kind"])
    read_only = bool(spec.get("read_only"))
    match step:
        case "stage":
            node.stage(volume, capability)
        case "publish":
            node.publish(volume, capability, read_only=read_only)
        case "unpublish":
            node.unpublish(volume)
        case "unstage":
            node.unstage(volume)
        case _:
            raise ValueError(step)


if __name__ == "__main__":
    main(sys.argv[1:])
