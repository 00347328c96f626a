"""The node's flows in this process, with short names: stage, unstage, grow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from csi_cinderlib.brick import ANYWHERE, Initiator
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.records import EMPTY
from csi_cinderlib.model.requests import NodeExpandVolume, StageVolume
from csi_cinderlib.model.size import Bytes, SizeRange
from csi_cinderlib.node.expansion import Expansion
from csi_cinderlib.node.reconcile import Reconciled, reconcile
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.node.staging import Staging
from csi_cinderlib.sealing import Sealer

WRITER = AccessMode.SINGLE_NODE_WRITER


class Node:
    """A node's state below a folder. Making another one on the same folder is a restart."""

    def __init__(self, folder: Path, *, multipath: bool = False) -> None:
        self.folder = folder
        self.records = StageRecords(folder / "state")
        self._sealer = Sealer()
        self._locks = KeyedLocks()
        initiator = Initiator(folder / "state", multipath=multipath, allowed=ANYWHERE)
        self._staging = Staging(self.records, initiator, self._sealer, self._locks)
        self._expansion = Expansion(self.records, initiator, self._locks)

    def path(self, volume: str) -> Path:
        """Its staging path."""
        return self.folder / "staging" / volume

    def stage(
        self, connection: Connection, *, fs_type: str = "ext4", block: bool = False, secrets: Mapping[str, str] = EMPTY
    ) -> Path:
        """Returns the staging path, made as the kubelet makes it."""
        path = self.path(connection.volume_id)
        path.mkdir(parents=True, exist_ok=True)
        request = StageVolume(
            volume_id=connection.volume_id,
            staging_path=str(path),
            capability=Capability(Block() if block else Mount(fs_type=fs_type), WRITER),
            publish_context={"connection": self._sealer.seal(connection.to_bytes())},
            secrets=secrets,
        )
        self._staging.stage(request)
        return path

    def unstage(self, volume: str) -> None:
        self._staging.unstage(volume, str(self.path(volume)))

    def expand(self, volume: str, size: int) -> Bytes:
        request = NodeExpandVolume(
            volume_id=volume,
            volume_path=str(self.path(volume)),
            staging_path=str(self.path(volume)),
            size=SizeRange(required=Bytes(size)),
        )
        return self._expansion.expand(request)

    def device(self, volume: str) -> str:
        """The device on which it is staged."""
        record = self.records.find(volume)
        assert record is not None
        assert record.device is not None
        return record.device.path

    def reconcile(self) -> Reconciled:
        """What a node does when it starts."""
        return reconcile(self.records, self._staging, self._locks)
