"""Whether a file system may be made on a device (promise 1). The decision is pure; the deeds are below it."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass

from csi_cinderlib.errors import PreconditionFailed, UnsafeToFormat, Unsupported
from csi_cinderlib.host import devices, kernel
from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import SPAN, Signature
from csi_cinderlib.model.connection import Formatting

DEFAULT_FILE_SYSTEM = "ext4"
MOUNTABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})


class Action(enum.Enum):
    USE = "use what is there"
    MAKE = "make a file system"
    MAKE_AGAIN = "remove what an interrupted mkfs left, then make a file system"


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    fs_type: str


def decide(
    found: Signature | None,
    wanted: str,
    rule: Formatting,
    *,
    interrupted: str = "",
    is_blank: Callable[[], bool],
) -> Decision:
    """What to do with a device that is to be mounted.

    Args:
        found: what it carries, all of head and tail having been read.
        wanted: the file system asked for, or "" for any.
        rule: what the controller allows, made stricter by what this node knows.
        interrupted: the file system that mkfs was making on this very device, for this very attachment, when the process
            ended, or "". It never overrules a controller that forbids formatting.
        is_blank: reads head and tail and says whether they are all zeros.

    Raises:
        UnsafeToFormat: it may hold data.
        PreconditionFailed: it carries another file system than the one asked for (names both).
        Unsupported: it carries one that this node does not mount.
    """
    make = wanted or DEFAULT_FILE_SYSTEM
    interrupted = "" if rule is Formatting.FORBIDDEN else interrupted
    if found is None:
        if not interrupted:
            _may_format(rule, is_blank)
        return Decision(Action.MAKE, make)
    if interrupted and found.name == interrupted:
        return Decision(Action.MAKE_AGAIN, make)
    if found.kind is not Kind.FILE_SYSTEM:
        raise UnsafeToFormat(f"the device carries {found.name} ({found.kind}) and no file system: it is left as it is")
    if found.unfinished:
        raise UnsafeToFormat(
            f"the device carries the beginning of {found.name}, whose mkfs never ended: it is left as it is"
        )
    if wanted and found.name != wanted:
        raise PreconditionFailed(f"the device carries {found.name}, and {wanted} was asked for: it is left as it is")
    if found.name not in MOUNTABLE:
        raise Unsupported(f"the device carries {found.name}, which is not mounted here")
    return Decision(Action.USE, found.name)


def _may_format(rule: Formatting, is_blank: Callable[[], bool]) -> None:
    if rule is Formatting.FORBIDDEN:
        raise UnsafeToFormat(
            "the volume must carry a file system already, and none is found on the device: it is left as it is"
        )
    if rule is Formatting.UNKNOWN and not is_blank():
        raise UnsafeToFormat(
            "no file system is found, but the device is not blank and another node had it before: it is left as it is"
        )


def wipe(device: str) -> None:
    """Write zeros over both ends of a device that nobody uses, so that no superblock of an interrupted mkfs is left.

    Raises:
        HostError: mounted or otherwise in use (O_EXCL), or the write failed.
    """
    with kernel.named(f"clearing {device}"), kernel.opened(device, os.O_RDWR | os.O_EXCL) as fd:
        size = devices.open_size(fd, device)
        length = min(SPAN, size)
        for offset in (0, size - length):
            os.pwrite(fd, bytes(length), offset)
        os.fsync(fd)
