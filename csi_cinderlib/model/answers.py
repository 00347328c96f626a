"""What the controller answers, before `csi.responses` puts it on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.requests import Condition
from csi_cinderlib.model.size import Bytes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """One page of a list; `next` is the token for the page after it, "" at the end."""

    records: tuple[T, ...]
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeState:
    """A volume as ListVolumes and ControllerGetVolume show it.

    Attributes:
        record: a record that cannot be read is shown as one of size 0 (CSI: unknown) in status ERROR.
        nodes: the ids of the nodes on which it is published, sorted.
    """

    record: Volume
    nodes: tuple[str, ...] = ()
    condition: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityAnswer:
    """Bytes that the largest possible next volume may take; None: no statement."""

    available: Bytes
    maximum: Bytes | None = None
    minimum: Bytes | None = None


@dataclass(frozen=True, slots=True)
class GroupSnapshotState:
    """A group snapshot with its members' records."""

    record: GroupSnapshot
    members: tuple[Snapshot, ...]
