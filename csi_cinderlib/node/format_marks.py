"""Marks of the attachments under which a volume has had a file system on this node. They outlive the stage record (promise 1).

The controller reports "never formatted" for the whole attachment, but a volume may be staged many times within one. A mark is
therefore written before mkfs runs. It overrides the controller's report for that attachment.
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
"""How long a mark is kept after its volume was last seen staged. No attachment stays unstaged that long."""


class FormatMarks:
    """The marks in a directory: one file per volume, containing the attachment's name. Callers hold the volume's lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._guard = threading.Lock()
        with kernel.named(f"cannot prepare {directory}"):
            durable_files.prepare(directory)

    def set(self, volume_id: str, attachment: str) -> None:
        """Raises HostError if the mark cannot be stored; the volume must not be formatted then."""
        with self._guard, kernel.named(f"cannot store the format mark of volume {volume_id}"):
            durable_files.store(self._path(volume_id), attachment.encode())

    def holds(self, volume_id: str, attachment: str) -> bool:
        """Whether the volume has had a file system under that attachment. A mark of another attachment is removed.

        Raises:
            HostError: the mark cannot be read.
        """
        path = self._path(volume_id)
        with kernel.named(f"cannot read {path}"):
            try:
                marked = kernel.read(str(path))
            except FileNotFoundError:
                return False
            if marked == attachment.encode():
                return True
            durable_files.remove(path)
        return False

    def clear(self, volume_id: str) -> None:
        """Remove the mark after the remains of mkfs were removed. Raises HostError."""
        with kernel.named(f"cannot remove the format mark of volume {volume_id}"):
            durable_files.remove(self._path(volume_id))

    def prune(self, now: float, *, in_use: Container[str]) -> None:
        """Remove marks of volumes that were not staged for `KEPT_SECONDS`. Calls may be served at the same time.

        Args:
            now: seconds since 1970.
            in_use: file names (`durable_files.name_of`) of staged volumes. Their marks are renewed, so that a volume keeps its
                mark if it happens to be unstaged at the next call.
        """
        with kernel.named(f"cannot clean up {self.directory}"):
            for path in self.directory.iterdir():
                with self._guard, suppress(FileNotFoundError):
                    if path.name in in_use:
                        os.utime(path, (now, now))
                    elif now - path.stat().st_mtime > KEPT_SECONDS:
                        path.unlink()

    def _path(self, volume_id: str) -> Path:
        return self.directory / durable_files.name_of(volume_id)
