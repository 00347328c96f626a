"""What this driver says it can do, and what a caller asks a volume to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.capability import FILE_SYSTEMS, AccessMode, Block, Capability, Mount, find_unsupported
from csi_cinderlib.pages import JOURNAL_PAGE

CONTROLLER: Sequence[csi_pb2.ControllerServiceCapability.RPC.Type.ValueType] = (
    csi_pb2.ControllerServiceCapability.RPC.CREATE_DELETE_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.PUBLISH_UNPUBLISH_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.LIST_VOLUMES,
    csi_pb2.ControllerServiceCapability.RPC.GET_CAPACITY,
    csi_pb2.ControllerServiceCapability.RPC.CREATE_DELETE_SNAPSHOT,
    csi_pb2.ControllerServiceCapability.RPC.LIST_SNAPSHOTS,
    csi_pb2.ControllerServiceCapability.RPC.CLONE_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.PUBLISH_READONLY,
    csi_pb2.ControllerServiceCapability.RPC.EXPAND_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.LIST_VOLUMES_PUBLISHED_NODES,
    csi_pb2.ControllerServiceCapability.RPC.VOLUME_CONDITION,
    csi_pb2.ControllerServiceCapability.RPC.GET_VOLUME,
    csi_pb2.ControllerServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER,
    csi_pb2.ControllerServiceCapability.RPC.GET_SNAPSHOT,
)

NODE: Sequence[csi_pb2.NodeServiceCapability.RPC.Type.ValueType] = (
    csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_STATS,
    csi_pb2.NodeServiceCapability.RPC.EXPAND_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.VOLUME_CONDITION,
    csi_pb2.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER,
)
"""VOLUME_MOUNT_GROUP is left out: the kubelet sets the ownership of files itself then, which is right for all our file systems."""

GROUP: Sequence[csi_pb2.GroupControllerServiceCapability.RPC.Type.ValueType] = (
    csi_pb2.GroupControllerServiceCapability.RPC.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT,
)

OWN_FLAGS = frozenset({"bind", "rbind", "move", "remount", "loop"})
PROPAGATION = frozenset(
    f"{recursive}{kind}" for recursive in ("", "r") for kind in ("shared", "slave", "private", "unbindable")
)
OTHER_DEVICES = frozenset({"device", "journal_dev", "journal_path", "logdev", "rtdev"})
"""Options of btrfs, ext4 and XFS that take another device of the node into the file system."""
OLDER_STATES = frozenset({"noload", "norecovery", "nologreplay", "recovery", "rescue", "sb", "usebackuproot"})
"""Options that mount an older state than the newest on stable storage: they skip a journal or a log, or use a spare superblock. Files
are missing then, for good where the mount is writable: ext4 with `sb` empties the journal that it did not replay.
"""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_FLAGS = 4096


class CapabilityRefused(InvalidRequest):
    """Well-formed, but nothing that this driver does. ValidateVolumeCapabilities answers it with a message instead."""


def capabilities(
    values: Iterable[csi_pb2.VolumeCapability], field: str = "volume_capabilities"
) -> tuple[Capability, ...]:
    """All of them, at least one.

    Raises:
        InvalidRequest: there is none, or one lacks its access type or mode.
        CapabilityRefused: one is nothing that this driver does.
    """
    found = tuple(capability(value, f"{field}[{index}]") for index, value in enumerate(values))
    if not found:
        raise InvalidRequest(field, "must not be empty")
    return found


def capability(value: csi_pb2.VolumeCapability, field: str = "volume_capability") -> Capability:
    """One VolumeCapability."""
    access_type: Mount | Block
    match value.WhichOneof("access_type"):
        case "mount":
            access_type = _mount(value.mount, f"{field}.mount")
        case "block":
            access_type = Block()
        case _:
            raise InvalidRequest(field, "must have an access type: block or mount")
    mode = _mode(value, field)
    if isinstance(access_type, Mount) and mode.multi_node and not mode.read_only:
        raise CapabilityRefused(
            f"{field}.access_mode",
            f"{mode}: no file system of {', '.join(FILE_SYSTEMS)} can be written from several nodes; use block",
        )
    return Capability(access_type, mode)


def _mode(value: csi_pb2.VolumeCapability, field: str) -> AccessMode:
    path = f"{field}.access_mode.mode"
    if not value.HasField("access_mode") or not value.access_mode.mode:
        raise InvalidRequest(path, "must be set")
    try:
        return AccessMode(csi_pb2.VolumeCapability.AccessMode.Mode.Name(value.access_mode.mode))
    except ValueError:
        raise CapabilityRefused(path, f"{value.access_mode.mode} is no access mode of CSI 1.12") from None


def _mount(value: csi_pb2.VolumeCapability.MountVolume, field: str) -> Mount:
    if why := find_unsupported(value.fs_type):
        raise CapabilityRefused(f"{field}.fs_type", why)
    if value.volume_mount_group:
        raise CapabilityRefused(
            f"{field}.volume_mount_group", "this driver leaves ownership to the container orchestrator"
        )
    return Mount(fs_type=value.fs_type, flags=_flags(value.mount_flags, f"{field}.mount_flags"))


def _flags(flags: Sequence[str], field: str) -> tuple[str, ...]:
    """Flags go to the kernel as they are, but for those that would undo what this driver does. Only names are repeated in messages."""
    if (size := sum(len(flag.encode()) for flag in flags)) > MAX_FLAGS:
        raise InvalidRequest(field, f"holds {size} bytes in all, and {MAX_FLAGS} are allowed")
    names: set[str] = set()
    for index, flag in enumerate(flags):
        if not flag.strip() or flag.startswith("-") or CONTROL.search(flag):
            raise InvalidRequest(
                f"{field}[{index}]", "is no mount flag: empty, begins with '-' or holds control characters"
            )
        names.update(part.partition("=")[0].strip() for part in flag.split(","))
    if taken := sorted(names & (OWN_FLAGS | PROPAGATION)):
        raise CapabilityRefused(field, f"{', '.join(taken)}: how a volume is mounted is for the driver to say")
    if others := sorted(names & OTHER_DEVICES):
        raise CapabilityRefused(field, f"{', '.join(others)}: other devices of a node may not be named")
    if older := sorted(names & OLDER_STATES):
        raise CapabilityRefused(
            field, f"{', '.join(older)}: files that were on stable storage would be missing; see {JOURNAL_PAGE}"
        )
    if {"ro", "rw"} <= names:
        raise InvalidRequest(field, "has both ro and rw")
    return tuple(flags)
