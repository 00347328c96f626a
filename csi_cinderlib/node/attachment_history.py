"""Which attachments a volume has had on this node, so that the publish_context of one that ended is not taken again.

Between two attachments another node may have written to the volume. What the earlier context says of it then, that it may be formatted,
say, is out of date, and its address may be another volume's by now.
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
"""Attachments that are remembered of each volume, the present one included."""


class AttachmentHistory:
    """The files in a directory, one for each volume, the present attachment first. Callers hold the volume's lock.

    They are not forced onto the disk: after a loss of power one may be missing, and then nothing is refused. The array has ended its
    export when the volume was detached, and what the node itself knows of the device's contents is kept elsewhere, for good.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with kernel.named(f"preparing {directory}"):
            durable_files.prepare(directory)

    def enter(self, volume_id: str, attachment: str) -> None:
        """Note that the volume is used under this attachment from now on, and never again under those before.

        Raises:
            PreconditionFailed: another attachment has followed that one already.
            HostError: it cannot be noted.
        """
        path = self.directory / durable_files.name_of(volume_id)
        known = _read(path)
        if not attachment or known[:1] == [attachment]:
            return
        if attachment in known:
            raise PreconditionFailed(
                f"the publish_context is of an attachment of volume {volume_id} that ended: the volume was attached to this node anew since"
            )
        with kernel.named(f"noting the attachment of volume {volume_id}"):
            durable_files.replace(path, json.dumps([attachment, *known][:KEPT]).encode())

    def prune(self, before: float, *, in_use: Container[str]) -> None:
        """Remove the files of volumes that were last attached before that time (seconds since 1970) and are not staged.

        Args:
            in_use: names of files (`durable_files.name_of`) of volumes that are staged.
        """
        with kernel.named(f"looking through {self.directory}"):
            for path in self.directory.iterdir():
                with suppress(FileNotFoundError):
                    if path.name not in in_use and path.stat().st_mtime < before:
                        path.unlink()


def _read(path: Path) -> list[str]:
    """Nothing when there is no file, or the loss of power damaged it. Raises HostError."""
    with kernel.named(f"reading {path}"):
        if not os.path.exists(path):  # noqa: PTH110 - asked in each call
            return []
        text = kernel.read(str(path))
    with suppress(ValueError, RecursionError):
        known = json.loads(text)
        if isinstance(known, list) and all(isinstance(item, str) for item in known):
            return known
    return []
