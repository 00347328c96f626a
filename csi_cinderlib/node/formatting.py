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
from csi_cinderlib.model.encryption import ENCRYPTION, LUKS2
from csi_cinderlib.pages import HEADER_PAGE, REFUSAL_PAGE

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
    unfinished: bool = False,
    is_wreck: Callable[[], bool] = lambda: False,
    is_blank: Callable[[], bool],
) -> Decision:
    """Decide how to prepare a device for mounting.

    Args:
        found: the content of the device, from reading its whole head and tail.
        wanted: the requested file system, or "" for any.
        rule: what the controller allows.
        marked: this node has recorded a file system for this attachment.
        unfinished: the device has the mark of a creation that has not ended, on this node or another one (`host.unfinished`). It
            never overrides a controller that forbids formatting.
        is_wreck: checks whether the file system that was found was never mounted and is damaged.
        is_blank: reads the device and returns whether it is proven to be empty.

    Raises:
        UnsafeToFormat: the device may hold data.
        PreconditionFailed: the device has another file system than requested (names both).
        Unsupported: the device has a file system that this node does not mount.
    """
    make = wanted or DEFAULT_FILE_SYSTEM
    unfinished = unfinished and rule is not Formatting.FORBIDDEN
    if found is None and not unfinished:
        _may_format(rule, marked, is_blank)
        return Decision(Action.MAKE, make)
    if found is None or (unfinished and found.name in MOUNTABLE and (found.unfinished or is_wreck())):
        return Decision(Action.MAKE_AGAIN, make)
    if found.kind is Kind.ENCRYPTED:
        raise UnsafeToFormat(
            f"the device contains {found.name} ({found.kind}), but the volume was not created with the parameter {ENCRYPTION}; "
            f"nothing was changed. See {HEADER_PAGE}"
        )
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


class HeaderAction(enum.Enum):
    OPEN = "open the existing header"
    WRITE = "encrypt the device"


def decide_header(
    found: Signature | None,
    rule: Formatting,
    *,
    marked: bool = False,
    unfinished: bool = False,
    is_blank: Callable[[], bool],
) -> HeaderAction:
    """Decide how to prepare a device for encryption. Without a header it is never used.

    Args:
        found, rule, marked, unfinished, is_blank: see `decide`. The header is written last, so without one an unfinished volume has not been
            used.

    Raises:
        UnsafeToFormat: the device may hold data, or has lost its header. Whether a header is this volume's shows its UUID
            (`header_check`).
    """
    if found is None:
        if not unfinished or rule is Formatting.FORBIDDEN:
            _may_format(rule, marked, is_blank, what="encryption header", page=HEADER_PAGE)
        return HeaderAction.WRITE
    if found.name != LUKS2:
        raise UnsafeToFormat(
            f"the volume was created with encryption {LUKS2}, but the device contains {found.name} ({found.kind}) in plain; nothing "
            f"was changed. See {HEADER_PAGE}"
        )
    return HeaderAction.OPEN


def _may_format(
    rule: Formatting, marked: bool, is_blank: Callable[[], bool], *, what: str = "file system", page: str = REFUSAL_PAGE
) -> None:
    if rule is Formatting.FORBIDDEN:
        raise UnsafeToFormat(
            f"no {what} was found on the device, and the volume must not be formatted: it did not begin empty (it was copied, adopted or "
            "imported), is attached read-only, or was staged or attached as a raw device before. Nothing was changed. "
            f"See {page}"
        )
    if marked:
        raise UnsafeToFormat(
            f"no {what} was found on the device, but it has had one since it was attached to this node; nothing was "
            f"changed. See {page}"
        )
    if rule is Formatting.UNKNOWN and not is_blank():
        raise UnsafeToFormat(
            f"no {what} was found, but the device is not blank and was attached to another node before; nothing was "
            f"changed. See {page}"
        )
