"""For which attachment a volume has had a file system on this node. It outlives the stage record (promise 1).

The controller says "never formatted" as long as one attachment lasts, and within one a volume may be staged many times. So
before mkfs runs a mark is written, and from then on the word of the controller is void for that attachment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from csi_cinderlib.host import kernel
from csi_cinderlib.node import durable_files

KEPT_SECONDS = 90 * 24 * 3600.0
"""How long a mark is kept after its volume was last seen staged: no attachment lasts that long without being staged."""


class FormatMarks:
    """The marks in a directory, one file per volume, with the attachment's name in it. Callers hold the volume's lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._guard = threading.Lock()
        with kernel.named(f"preparing {directory}"):
            durable_files.prepare(directory)

    def set(self, volume_id: str, attachment: str) -> None:
        """Raises HostError when it cannot be stored: then nothing may be formatted."""
        with self._guard, kernel.named(f"noting that volume {volume_id} gets a file system"):
            durable_files.store(self._path(volume_id), attachment.encode())

    def holds(self, volume_id: str, attachment: str) -> bool:
        """Whether the volume has had a file system under that attachment. A mark of another one is of no use any more and goes.

        Raises:
            HostError: it cannot be read.
        """
        path = self._path(volume_id)
        with kernel.named(f"reading {path}"):
            try:
                marked = kernel.read(str(path))
            except FileNotFoundError:
                return False
            if marked == attachment.encode():
                return True
            durable_files.remove(path)
        return False

    def clear(self, volume_id: str) -> None:
        """Take the mark away, since all that mkfs left was removed. Raises HostError."""
        with kernel.named(f"noting that volume {volume_id} has no file system"):
            durable_files.remove(self._path(volume_id))

    def prune(self, now: float, *, in_use: Container[str]) -> None:
        """Remove marks of volumes that went away for good. Calls may be served meanwhile.

        Args:
            now: seconds since 1970.
            in_use: names of files (`durable_files.name_of`) of volumes that are staged. Their time begins now: one that is unstaged
                for a moment, when it is looked at next, keeps the mark that its attachment needs.
        """
        with kernel.named(f"looking through {self.directory}"):
            for path in self.directory.iterdir():
                with self._guard, suppress(FileNotFoundError):
                    if path.name in in_use:
                        os.utime(path, (now, now))
                    elif now - path.stat().st_mtime > KEPT_SECONDS:
                        path.unlink()

    def _path(self, volume_id: str) -> Path:
        return self.directory / durable_files.name_of(volume_id)
