"""What the fuzzer knows of the driver's objects, so that its requests can name real ones."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 1024**3
SLOTS = 8
NAMES = 6
"""Of snapshots, and of group snapshots."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A volume that may be there: what a caller that does everything right says of it."""

    number: int
    fs_type: str
    staging: str
    target: str

    @property
    def name(self) -> str:
        return f"fuzz-{self.number}"

    @property
    def size(self) -> int:
        return (1 + self.number % 2) * GIB


class World:
    """Names and the ids that the driver gave for them. Thread-safe.

    An id of what is not there follows from its name, so that a seed gives the same requests wherever the driver gave none.
    """

    def __init__(self, kubelet: Path, node_id: str) -> None:
        self.kubelet = kubelet
        self.node_id = node_id
        kinds = ("ext4", "xfs", "", "ext4", "btrfs", "", "ext4", "xfs")
        self.slots = tuple(
            Slot(
                number,
                kinds[number],
                f"{kubelet}/plugins/{number}/globalmount",
                f"{kubelet}/pods/{number}/volumes/mount",
            )
            for number in range(SLOTS)
        )
        self._ids: dict[tuple[str, str], str] = {}
        self._contexts: dict[str, str] = {}
        self._guard = threading.Lock()

    def id(self, kind: str, name: str) -> str:
        """Of a "volume", "snapshot" or "group"."""
        with self._guard:
            return self._ids.get((kind, name)) or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {name}"))

    def context(self, volume_id: str) -> str:
        """What publishing that volume answered; "" when it did not."""
        with self._guard:
            return self._contexts.get(volume_id, "")

    def forget(self) -> None:
        """Everything was deleted."""
        with self._guard:
            self._ids.clear()
            self._contexts.clear()

    def learn(self, method: str, request: Any, response: Any) -> None:
        """Take note of what was created."""
        with self._guard:
            match method:
                case "CreateVolume":
                    self._ids["volume", request.name] = response.volume.volume_id
                case "CreateSnapshot":
                    self._ids["snapshot", request.name] = response.snapshot.snapshot_id
                case "CreateVolumeGroupSnapshot":
                    self._ids["group", request.name] = response.group_snapshot.group_snapshot_id
                case "ControllerPublishVolume":
                    self._contexts[request.volume_id] = _connection(response.publish_context)


def _connection(context: Mapping[str, str]) -> str:
    return context.get("connection", "")
