"""Answers of the controller; `csi.responses` converts them to protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.requests import Condition
from csi_cinderlib.model.size import Bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list; `next` is the token of the next page, "" at the end."""

    records: tuple[T, ...]
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeState:
    """A volume as ListVolumes and ControllerGetVolume show it.

    Attributes:
        record: an unreadable record is represented by one of size 0 (CSI: unknown) in status ERROR.
        nodes: ids of the nodes to which the volume is published, sorted.
    """

    record: Volume
    nodes: tuple[str, ...] = ()
    condition: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityAnswer:
    """The answer to GetCapacity in bytes: `available` is the size of the largest possible next volume. None: not reported."""

    available: Bytes
    maximum: Bytes | None = None
    minimum: Bytes | None = None


@dataclass(frozen=True, slots=True)
class GroupSnapshotState:
    """A group snapshot with the records of its members."""

    record: GroupSnapshot
    members: tuple[Snapshot, ...]
