"""The creation of a file system: planned with the last check of the device, carried out by the plan only."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from csi_cinderlib.errors import HostError, UnsafeToFormat
from csi_cinderlib.host import commands, devices, libblkid, mkfsoptions
from csi_cinderlib.host.signatures import FILE_SYSTEM_SPAN, Signature, probe, probe_ends
from csi_cinderlib.pages import REFUSAL_PAGE

MKFS_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Creation:
    """A mkfs that may start now. `plan` makes it, so that no device is formatted without the last check."""

    device: str
    fs_type: str
    argv: tuple[str, ...]
    options: tuple[str, ...]

    def carry_out(self) -> Signature:
        """Run mkfs, and return the new content.

        Raises:
            HostError: mkfs failed; the device may contain a part of a file system.
        """
        output = commands.run([*self.argv, self.device], timeout=MKFS_SECONDS, ok=range(256))
        if output.code:
            asked = f" with the StorageClass's mkfsOptions {shlex.join(self.options)!r}" if self.options else ""
            sectors = f" (sectors of {devices.logical_block_size(self.device)} bytes)" if self.options else ""
            raise HostError(f"{self.argv[0]}{asked} on {self.device}{sectors} failed: {mkfsoptions.complaint(output)}")
        created = probe(self.device, span=FILE_SYSTEM_SPAN)
        if created is None or created.name != self.fs_type:
            name = created.name if created else "no known file system"
            raise HostError(f"{self.argv[0]} succeeded, but {self.device} contains {name}, not {self.fs_type}")
        return created


def plan(device: str, fs_type: str, options: Sequence[str] = ()) -> Creation:
    """Check for the last time that the device has no known content. Nothing is written.

    The caller decides whether the device is new (`Formatting`), and calls this before it stores that mkfs is about to run: from
    then on, the content of the device counts as the remains of mkfs.

    Args:
        options: extra arguments to mkfs.

    Raises:
        InvalidRequest: the file system or an option is not supported.
        UnsafeToFormat: the device has content.
        HostError: the device cannot be read, or mkfs is not installed.
    """
    argv = mkfsoptions.command(fs_type, options)
    commands.find_tool(argv[0])
    if content := known_content(device):
        raise UnsafeToFormat(f"{device} contains {content}; it was not formatted. See {REFUSAL_PAGE}")
    return Creation(device, fs_type, tuple(argv), tuple(options))


def known_content(device: str) -> str:
    """What the device contains, according to our table or to libblkid; "" if neither recognises anything.

    Raises:
        HostError: the device cannot be read.
    """
    ends = probe_ends(device)
    if found := ends.signature:
        return f"{found.name} ({found.kind})"
    # A second check. libblkid reads only the two ends, so it is skipped if they are zero: it costs half as much as mkfs.
    known = "" if ends.zero else libblkid.known_as(device)
    return known and f"{known}, according to libblkid"
