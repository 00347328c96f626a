"""Whether a file system may be made on a device (promise 1). Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from csi_cinderlib.errors import PreconditionFailed, UnsafeToFormat, Unsupported
from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import Signature
from csi_cinderlib.model.capability import DEFAULT_FILE_SYSTEM
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.pages import REFUSAL_PAGE

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
    marked: bool = False,
    interrupted: str = "",
    is_blank: Callable[[], bool],
) -> Decision:
    """What to do with a device that is to be mounted.

    Args:
        found: what it carries, all of head and tail having been read.
        wanted: the file system asked for, or "" for any.
        rule: what the controller allows.
        marked: this node has noted a file system for this very attachment.
        interrupted: the file system that mkfs was making on this very device, for this very attachment, when the process
            ended, or "". It never overrules a controller that forbids formatting.
        is_blank: reads the device and says whether it is proven to hold nothing.

    Raises:
        UnsafeToFormat: it may hold data.
        PreconditionFailed: it carries another file system than the one asked for (names both).
        Unsupported: it carries one that this node does not mount.
    """
    make = wanted or DEFAULT_FILE_SYSTEM
    interrupted = "" if rule is Formatting.FORBIDDEN else interrupted
    if found is None:
        if not interrupted:
            _may_format(rule, marked, is_blank)
        return Decision(Action.MAKE, make)
    if interrupted and found.name == interrupted:
        return Decision(Action.MAKE_AGAIN, make)
    if found.kind is not Kind.FILE_SYSTEM:
        raise UnsafeToFormat(
            f"the device carries {found.name} ({found.kind}) and no file system: nothing was changed; see {REFUSAL_PAGE}"
        )
    if found.unfinished:
        raise UnsafeToFormat(
            f"the device carries the beginning of {found.name}, whose mkfs did not finish: nothing was changed; see {REFUSAL_PAGE}"
        )
    if wanted and found.name != wanted:
        raise PreconditionFailed(f"the device carries {found.name}, but {wanted} was requested: nothing was changed")
    if found.name not in MOUNTABLE:
        raise Unsupported(f"the device carries {found.name}, which this node does not mount")
    return Decision(Action.USE, found.name)


def _may_format(rule: Formatting, marked: bool, is_blank: Callable[[], bool]) -> None:
    if rule is Formatting.FORBIDDEN:
        raise UnsafeToFormat(
            "the volume must carry a file system already, and none is found on the device: it was made from a source, is attached "
            f"read-only, or has been staged or attached as a raw device before. Nothing was changed; see {REFUSAL_PAGE}"
        )
    if marked:
        raise UnsafeToFormat(
            "no file system is found on the device, and it has had one since it was attached to this node: nothing was changed; "
            f"see {REFUSAL_PAGE}"
        )
    if rule is Formatting.UNKNOWN and not is_blank():
        raise UnsafeToFormat(
            "no file system is found, but the device is not blank and another node had it before: nothing was changed; "
            f"see {REFUSAL_PAGE}"
        )
