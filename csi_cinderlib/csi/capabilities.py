"""Capabilities of this driver, and the volume capabilities of a request."""

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
"""Those of every controller."""


def controller(*, modifies: bool) -> Sequence[csi_pb2.ControllerServiceCapability.RPC.Type.ValueType]:
    """The capabilities of a controller.

    Args:
        modifies: whether any back end may be able to modify volumes. The sidecars ask once, when they start.
    """
    return (*CONTROLLER, csi_pb2.ControllerServiceCapability.RPC.MODIFY_VOLUME) if modifies else CONTROLLER


NODE: Sequence[csi_pb2.NodeServiceCapability.RPC.Type.ValueType] = (
    csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_STATS,
    csi_pb2.NodeServiceCapability.RPC.EXPAND_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.VOLUME_CONDITION,
    csi_pb2.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER,
)
"""Without VOLUME_MOUNT_GROUP the kubelet sets the ownership of files, which is correct for all supported file systems."""

GROUP: Sequence[csi_pb2.GroupControllerServiceCapability.RPC.Type.ValueType] = (
    csi_pb2.GroupControllerServiceCapability.RPC.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT,
)

OWN_FLAGS = frozenset({"bind", "rbind", "move", "remount", "loop"})
PROPAGATION = frozenset(
    f"{recursive}{kind}" for recursive in ("", "r") for kind in ("shared", "slave", "private", "unbindable")
)
OTHER_DEVICES = frozenset({"device", "journal_dev", "journal_path", "logdev", "rtdev"})
"""Options of btrfs, ext4 and XFS that add another device of the node to the file system."""
OLDER_STATES = frozenset({"noload", "norecovery", "nologreplay", "recovery", "rescue", "sb", "usebackuproot"})
"""Options that mount an older state than the latest one on stable storage: they skip a journal or log, or use a backup superblock. Files
are missing then. On a writable mount the loss is permanent: ext4 with `sb` clears the journal without replaying it.
"""
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_FLAGS = 4096


class CapabilityRefused(InvalidRequest):
    """The request is well-formed but unsupported. ValidateVolumeCapabilities answers with a message instead."""


def capabilities(
    values: Iterable[csi_pb2.VolumeCapability], field: str = "volume_capabilities"
) -> tuple[Capability, ...]:
    """All capabilities; at least one is required.

    Raises:
        InvalidRequest: the list is empty, or an entry has no access type or mode.
        CapabilityRefused: an entry is not supported.
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
            f"unsupported access mode {mode} for a file system: {', '.join(FILE_SYSTEMS)} cannot be written from several nodes; "
            "use a raw block volume (volumeMode: Block)",
        )
    return Capability(access_type, mode)


def _mode(value: csi_pb2.VolumeCapability, field: str) -> AccessMode:
    path = f"{field}.access_mode.mode"
    if not value.HasField("access_mode") or not value.access_mode.mode:
        raise InvalidRequest(path, "must be set")
    try:
        return AccessMode(csi_pb2.VolumeCapability.AccessMode.Mode.Name(value.access_mode.mode))
    except ValueError:
        raise CapabilityRefused(
            path, f"unsupported access mode {value.access_mode.mode}; this driver supports CSI 1.12"
        ) from None


def _mount(value: csi_pb2.VolumeCapability.MountVolume, field: str) -> Mount:
    if why := find_unsupported(value.fs_type):
        raise CapabilityRefused(f"{field}.fs_type", why)
    if value.volume_mount_group:
        raise CapabilityRefused(
            f"{field}.volume_mount_group", "not supported; the container orchestrator sets the ownership of files"
        )
    return Mount(fs_type=value.fs_type, flags=_flags(value.mount_flags, f"{field}.mount_flags"))


def _flags(flags: Sequence[str], field: str) -> tuple[str, ...]:
    """Flags are passed to the kernel unchanged, except those that interfere with the driver. Messages contain names only, no values."""
    if (size := sum(len(flag.encode()) for flag in flags)) > MAX_FLAGS:
        raise InvalidRequest(field, f"is {size} bytes in total; the limit is {MAX_FLAGS}")
    names: set[str] = set()
    for index, flag in enumerate(flags):
        if not flag.strip() or flag.startswith("-") or CONTROL.search(flag):
            raise InvalidRequest(
                f"{field}[{index}]", "must be a mount flag: not empty, no leading '-', no control characters"
            )
        names.update(part.partition("=")[0].strip() for part in flag.split(","))
    if taken := sorted(names & (OWN_FLAGS | PROPAGATION)):
        raise CapabilityRefused(field, f"not allowed: {', '.join(taken)}; the driver controls how a volume is mounted")
    if others := sorted(names & OTHER_DEVICES):
        raise CapabilityRefused(field, f"not allowed: {', '.join(others)}; a volume cannot use other devices of a node")
    if older := sorted(names & OLDER_STATES):
        raise CapabilityRefused(
            field,
            f"not allowed: {', '.join(older)}; files on stable storage would be missing; see {JOURNAL_PAGE}",
        )
    if {"ro", "rw"} <= names:
        raise InvalidRequest(field, "must not contain both ro and rw")
    return tuple(flags)
