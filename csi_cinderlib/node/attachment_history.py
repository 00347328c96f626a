"""The attachments that a volume has had on this node. The publish_context of an ended attachment is refused.

Between two attachments another node may have written to the volume. The earlier context is then out of date: it may allow
formatting, and its address may now belong to another volume.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.host import kernel
from csi_cinderlib.node import durable_files

KEPT = 16
"""Attachments kept for each volume, including the current one."""


class AttachmentHistory:
    """The files in a directory, one for each volume, with the current attachment first. Callers hold the volume's lock.

    The files are not synced. A file lost in a power failure means that no context is refused. That is safe: the array ended
    the export when the volume was detached, and the format marks are durable.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with kernel.named(f"cannot prepare {directory}"):
            durable_files.prepare(directory)

    def enter(self, volume_id: str, attachment: str) -> None:
        """Make this the current attachment of the volume. Earlier attachments are refused from now on.

        Raises:
            PreconditionFailed: the attachment has ended; a later one exists.
            HostError: the file cannot be written.
        """
        path = self.directory / durable_files.name_of(volume_id)
        known = _read(path)
        if not attachment or known[:1] == [attachment]:
            return
        if attachment in known:
            raise PreconditionFailed(
                f"volume {volume_id}: the publish_context is from an earlier attachment; the volume has been attached to this node again since"
            )
        with kernel.named(f"cannot store the attachment of volume {volume_id}"):
            durable_files.replace(path, json.dumps([attachment, *known][:KEPT]).encode())

    def prune(self, before: float, *, in_use: Container[str]) -> None:
        """Remove the files of volumes that are not staged and were last attached before `before` (seconds since 1970).

        Args:
            in_use: file names (`durable_files.name_of`) of staged volumes.
        """
        with kernel.named(f"cannot clean up {self.directory}"):
            for path in self.directory.iterdir():
                with suppress(FileNotFoundError):
                    if path.name not in in_use and path.stat().st_mtime < before:
                        path.unlink()


def _read(path: Path) -> list[str]:
    """Empty if the file is missing or was damaged by a power loss. Raises HostError."""
    with kernel.named(f"cannot read {path}"):
        if not os.path.exists(path):  # noqa: PTH110 - on the path of each call
            return []
        text = kernel.read(str(path))
    with suppress(ValueError, RecursionError):
        known = json.loads(text)
        if isinstance(known, list) and all(isinstance(item, str) for item in known):
            return known
    return []
