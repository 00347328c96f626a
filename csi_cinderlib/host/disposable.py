"""The proof that the content of a device may be destroyed: whatever overwrites a device asks for it.

Only `of_empty` and `of_remains` make one, right after they have looked at the device. Whether the volume may be formatted at all is decided
before (`formatting`).
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_cinderlib.errors import UnsafeToFormat
from csi_cinderlib.host import commands, libblkid, mounthistory
from csi_cinderlib.host.signatures import Signature, probe, probe_ends
from csi_cinderlib.pages import REFUSAL_PAGE

CHECK_SECONDS = 3600.0
_CHECKERS = {
    "ext2": ("e2fsck", "-f", "-n"),
    "ext3": ("e2fsck", "-f", "-n"),
    "ext4": ("e2fsck", "-f", "-n"),
    "xfs": ("xfs_repair", "-n"),
}


@dataclass(frozen=True, slots=True)
class Disposable:
    """A device without content that could be missed."""

    device: str


def of_empty(device: str) -> Disposable:
    """The last check of a device that is to be used for the first time. Nothing is written.

    Raises:
        UnsafeToFormat: it has known content.
        HostError: it cannot be read.
    """
    if content := _known_content(device):
        raise UnsafeToFormat(f"{device} contains {content}; it was not formatted. See {REFUSAL_PAGE}")
    return Disposable(device)


def of_remains(device: str) -> Disposable:
    """The check of a device that has the mark of a creation that has not ended (`unfinished`).

    Raises:
        UnsafeToFormat: it has known content that such a creation does not leave.
        HostError: it cannot be read.
    """
    found = probe(device)
    if found and (found.unfinished or is_wreck(device, found)):
        return Disposable(device)
    return of_empty(device)


def is_wreck(device: str, found: Signature) -> bool:
    """Whether the file system was certainly never mounted, and its checker finds it damaged. Nothing is written.

    After a loss of power, the blocks that mkfs wrote last may be on the device, and earlier ones not.

    Raises:
        HostError: the device cannot be read, or the checker is not installed.
    """
    checker = _CHECKERS.get(found.name)
    if checker is None or not mounthistory.was_never_mounted(device, found):
        return False
    return commands.run([*checker, device], timeout=CHECK_SECONDS, ok=range(256)).code != 0


def _known_content(device: str) -> str:
    """What the device contains, according to our table or to libblkid; "" if neither recognises anything. Raises HostError."""
    ends = probe_ends(device)
    if found := ends.signature:
        return f"{found.name} ({found.kind})"
    # A second check. libblkid reads only the two ends, so it is skipped if they are zero: it costs half as much as mkfs.
    known = "" if ends.zero else libblkid.known_as(device)
    return known and f"{known}, according to libblkid"
