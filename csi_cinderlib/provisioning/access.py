"""Which access modes and types a volume can honour. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.capability import DEFAULT_FILE_SYSTEM, AccessMode, Capability, Mount, find_unsupported
from csi_cinderlib.model.records import Volume


def many_nodes(capabilities: Sequence[Capability]) -> bool:
    """Whether the volume must be reachable from several nodes at once."""
    return any(capability.access_mode.multi_node for capability in capabilities)


def find_obstacle(capability: Capability) -> str:
    """Why no volume of this driver can be used so, or "" if one can.

    A file system on a block device is written by one node at a time: a second writer, or a reader whose cache a
    writer elsewhere outdates, destroys it.
    """
    mode = capability.access_mode
    if not isinstance(capability.access_type, Mount):
        return ""
    if mode.multi_node and not mode.read_only:
        return (
            f"access mode {mode} with a file system would destroy it, since each node caches it on its own: "
            "use a raw block volume (volumeMode: Block), or one node at a time"
        )
    return find_unsupported(capability.access_type.fs_type)


def check_possible(capabilities: Sequence[Capability]) -> None:
    """Raises InvalidRequest when one of them cannot be honoured by any back end."""
    for index, capability in enumerate(capabilities):
        if why := find_obstacle(capability):
            raise InvalidRequest(f"volume_capabilities[{index}]", why)


def unsupported(volume: Volume, capabilities: Sequence[Capability]) -> str:
    """Why this volume cannot be used so, or "" if it can."""
    for capability in capabilities:
        if why := find_obstacle(capability):
            return why
        if capability.access_mode.multi_node and not volume.multiattach:
            return f"access mode {capability.access_mode}: the volume was not made for several nodes"
    return ""


def read_only(mode: AccessMode, *, asked: bool) -> bool:
    """Whether an attachment in this mode may only be read from."""
    return asked or mode.read_only


def asked_file_system(capabilities: Sequence[Capability], default: str = "") -> str:
    """The file system that is asked for by name, `default` being the class's; "" when none is."""
    kinds = [item.access_type for item in capabilities]
    return next((kind.fs_type for kind in kinds if isinstance(kind, Mount) and kind.fs_type), default)


def file_system(capability: Capability, *, default: str = "") -> str:
    """The file system to be used, `default` being the class's; "" for a raw block volume."""
    if not isinstance(capability.access_type, Mount):
        return ""
    return capability.access_type.fs_type or default or DEFAULT_FILE_SYSTEM
