"""Access modes and access types that a volume supports. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.capability import DEFAULT_FILE_SYSTEM, AccessMode, Capability, Mount, find_unsupported
from csi_cinderlib.model.records import Volume


def many_nodes(capabilities: Sequence[Capability]) -> bool:
    """Whether the volume must be reachable from several nodes at once."""
    return any(capability.access_mode.multi_node for capability in capabilities)


def find_obstacle(capability: Capability) -> str:
    """Why no volume of this driver supports the capability, or "".

    Only one node at a time may write to a file system on a block device. A second writer, or a reader with an outdated cache,
    would corrupt it.
    """
    mode = capability.access_mode
    if not isinstance(capability.access_type, Mount):
        return ""
    if mode.multi_node and not mode.read_only:
        return (
            f"unsupported access mode {mode} for a file system: each node caches it, so several nodes would corrupt it; "
            "use a raw block volume (volumeMode: Block) or a single-node access mode"
        )
    return find_unsupported(capability.access_type.fs_type)


def check_possible(capabilities: Sequence[Capability]) -> None:
    """Raises InvalidRequest if no back end can support one of them."""
    for index, capability in enumerate(capabilities):
        if why := find_obstacle(capability):
            raise InvalidRequest(f"volume_capabilities[{index}]", why)


def find_encryption_obstacle(capabilities: Sequence[Capability]) -> str:
    """Why an encrypted volume does not support the capabilities, or "". Several writers could each create or change its header."""
    for capability in capabilities:
        mode = capability.access_mode
        if mode.multi_node and not mode.read_only:
            return f"unsupported access mode {mode} for an encrypted volume: only one node may change its header"
    return ""


def unsupported(volume: Volume, capabilities: Sequence[Capability]) -> str:
    """Why this volume does not support the capabilities, or ""."""
    for capability in capabilities:
        if why := find_obstacle(capability):
            return why
        if capability.access_mode.multi_node and not volume.multiattach:
            return f"access mode {capability.access_mode}: the volume was not created for several nodes"
    return find_encryption_obstacle(capabilities) if volume.encryption else ""


def read_only(mode: AccessMode, *, asked: bool) -> bool:
    """Whether an attachment in this mode is read-only."""
    return asked or mode.read_only


def asked_file_system(capabilities: Sequence[Capability], default: str = "") -> str:
    """The requested file system; `default` is that of the class. "" if none is requested."""
    kinds = [item.access_type for item in capabilities]
    return next((kind.fs_type for kind in kinds if isinstance(kind, Mount) and kind.fs_type), default)


def file_system(capability: Capability, *, default: str = "") -> str:
    """The file system to use; `default` is that of the class. "" for a raw block volume."""
    if not isinstance(capability.access_type, Mount):
        return ""
    return capability.access_type.fs_type or default or DEFAULT_FILE_SYSTEM
