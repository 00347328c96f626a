"""The creation of a file system: planned with the last check of the device, carried out by the plan only."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, devices, disposable, mkfsoptions
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.host.signatures import FILE_SYSTEM_SPAN, Signature, probe

MKFS_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Creation:
    """A mkfs that may start now. `plan` makes it, so that no device is formatted without the last check."""

    proof: Disposable
    fs_type: str
    argv: tuple[str, ...]
    options: tuple[str, ...]

    def carry_out(self) -> Signature:
        """Run mkfs, and return the new content.

        Raises:
            HostError: mkfs failed; the device may contain a part of a file system.
        """
        device = self.proof.device
        output = commands.run([*self.argv, device], timeout=MKFS_SECONDS, ok=range(256))
        if output.code:
            asked = f" with the StorageClass's mkfsOptions {shlex.join(self.options)!r}" if self.options else ""
            sectors = f" (sectors of {devices.logical_block_size(device)} bytes)" if self.options else ""
            raise HostError(f"{self.argv[0]}{asked} on {device}{sectors} failed: {mkfsoptions.complaint(output)}")
        created = probe(device, span=FILE_SYSTEM_SPAN)
        if created is None or created.name != self.fs_type:
            name = created.name if created else "no known file system"
            raise HostError(f"{self.argv[0]} succeeded, but {device} contains {name}, not {self.fs_type}")
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
    return Creation(disposable.of_empty(device), fs_type, tuple(argv), tuple(options))
