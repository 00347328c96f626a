"""CSI's VolumeCapability (spec: CreateVolume), parsed."""

from __future__ import annotations

import enum
from dataclasses import dataclass

FILE_SYSTEMS = ("ext4", "xfs", "btrfs")
DEFAULT_FILE_SYSTEM = "ext4"


def find_unsupported(fs_type: str) -> str:
    """Why the file system is not supported; "" if it is, or if the driver chooses it."""
    if not fs_type or fs_type in FILE_SYSTEMS:
        return ""
    return f"unsupported file system {fs_type!r}; supported: {', '.join(FILE_SYSTEMS)}"


class AccessMode(enum.StrEnum):
    """The access modes of CSI by their names in the specification. UNKNOWN is rejected earlier."""

    SINGLE_NODE_WRITER = "SINGLE_NODE_WRITER"
    SINGLE_NODE_READER_ONLY = "SINGLE_NODE_READER_ONLY"
    MULTI_NODE_READER_ONLY = "MULTI_NODE_READER_ONLY"
    MULTI_NODE_SINGLE_WRITER = "MULTI_NODE_SINGLE_WRITER"
    MULTI_NODE_MULTI_WRITER = "MULTI_NODE_MULTI_WRITER"
    SINGLE_NODE_SINGLE_WRITER = "SINGLE_NODE_SINGLE_WRITER"
    SINGLE_NODE_MULTI_WRITER = "SINGLE_NODE_MULTI_WRITER"

    @property
    def multi_node(self) -> bool:
        return self.value.startswith("MULTI_NODE")

    @property
    def read_only(self) -> bool:
        return self.value.endswith("READER_ONLY")


@dataclass(frozen=True, slots=True)
class Mount:
    """The volume is used through a file system.

    Attributes:
        fs_type: one of FILE_SYSTEMS; with "" the driver chooses.
        flags: mount options in the given order. They may contain private data, so they have no repr.
        group: gid as text, or "".
    """

    fs_type: str = ""
    flags: tuple[str, ...] = ()
    group: str = ""

    def __repr__(self) -> str:
        return f"Mount(fs_type={self.fs_type!r}, {len(self.flags)} flags)"


@dataclass(frozen=True, slots=True)
class Block:
    """The volume is used as a raw block device."""


@dataclass(frozen=True, slots=True)
class Capability:
    access_type: Mount | Block
    access_mode: AccessMode

    @property
    def is_block(self) -> bool:
        return isinstance(self.access_type, Block)
