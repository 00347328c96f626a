"""The decision whether a device may be formatted (promise 1). Pure."""

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
    USE = "use the existing file system"
    MAKE = "create a file system"
    MAKE_AGAIN = "remove the remains of an interrupted mkfs, then create a file system"


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
    never_mounted: Callable[[], bool] = lambda: False,
    is_blank: Callable[[], bool],
) -> Decision:
    """Decide how to prepare a device for mounting.

    Args:
        found: the content of the device, from reading its whole head and tail.
        wanted: the requested file system, or "" for any.
        rule: what the controller allows.
        marked: this node has recorded a file system for this attachment.
        interrupted: the file system that mkfs was creating on this device, for this attachment, when the process ended, or "".
            It never overrides a controller that forbids formatting.
        never_mounted: returns whether it is certain that the file system found was never mounted, so that it holds no files.
        is_blank: reads the device and returns whether it is proven to be empty.

    Raises:
        UnsafeToFormat: the device may hold data.
        PreconditionFailed: the device has another file system than requested (names both).
        Unsupported: the device has a file system that this node does not mount.
    """
    make = wanted or DEFAULT_FILE_SYSTEM
    interrupted = "" if rule is Formatting.FORBIDDEN else interrupted
    if found is None:
        if not interrupted:
            _may_format(rule, marked, is_blank)
        return Decision(Action.MAKE, make)
    if interrupted and found.name == interrupted and (found.unfinished or never_mounted()):
        return Decision(Action.MAKE_AGAIN, make)
    if found.kind is not Kind.FILE_SYSTEM:
        raise UnsafeToFormat(
            f"the device contains {found.name} ({found.kind}), not a file system; nothing was changed. See {REFUSAL_PAGE}"
        )
    if found.unfinished:
        raise UnsafeToFormat(
            f"the device contains an unfinished {found.name} file system, whose mkfs was interrupted; nothing was changed. See {REFUSAL_PAGE}"
        )
    if wanted and found.name != wanted:
        raise PreconditionFailed(
            f"the device contains file system {found.name!r}, but {wanted!r} was requested; nothing was changed"
        )
    if found.name not in MOUNTABLE:
        raise Unsupported(
            f"unsupported file system {found.name!r} on the device; supported: {', '.join(sorted(MOUNTABLE))}"
        )
    return Decision(Action.USE, found.name)


def _may_format(rule: Formatting, marked: bool, is_blank: Callable[[], bool]) -> None:
    if rule is Formatting.FORBIDDEN:
        raise UnsafeToFormat(
            "no file system was found on the device, and the volume must not be formatted: it did not begin empty (it was copied or "
            "adopted), is attached read-only, or was staged or attached as a raw device before. Nothing was changed. "
            f"See {REFUSAL_PAGE}"
        )
    if marked:
        raise UnsafeToFormat(
            "no file system was found on the device, but it has had one since it was attached to this node; nothing was "
            f"changed. See {REFUSAL_PAGE}"
        )
    if rule is Formatting.UNKNOWN and not is_blank():
        raise UnsafeToFormat(
            "no file system was found, but the device is not blank and was attached to another node before; nothing was "
            f"changed. See {REFUSAL_PAGE}"
        )
