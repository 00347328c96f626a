"""Growth of an ext file system that is not mounted, undone when it is interrupted.

It is needed only where the kernel does not let this process grow ext while it is mounted, which is journalled. resize2fs
overwrites in place, and `e2fsck -p` cannot mend what it leaves half done. So it first keeps what it overwrites in an undo
file, from which e2undo restores the file system before anything else is done with it.

An undo file counts for one attachment and one run of the kernel: after that the volume may have changed on another node, and
a power cut may have left less of the undo file than of what it undoes.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, devices, filesystems, kernel
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.node import durable_files

_log = logging.getLogger(__name__)
_LEAST_ROOM = 1024**2
_DEVICE_BYTES_PER_BYTE = 32 * 1024
"""Growth from 1 GiB to 1 TiB, which makes all of its block groups, filled 12 MB: a byte for each 87,000 of the device."""


class Growth:
    """The undo files in a directory: one directory per volume, one file per attachment. Callers hold the volume's lock."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        self.directory = directory
        self._boot_id = boot_id

    def grow(self, volume_id: str, attachment: str, device: str) -> None:
        """Let an unmounted ext file system cover its device.

        Raises:
            HostError: it failed; the file system is as it was, or `undo` makes it so.
        """
        path = self._path(volume_id, attachment)
        with kernel.named(f"preparing {path}"):
            durable_files.prepare(path.parent)
            path.touch(0o600)
        try:
            _keep_room(path, devices.size(device))
            filesystems.grow_unmounted(device, str(path))
        except HostError:
            self.undo(volume_id, attachment, device)
            raise
        self.forget(volume_id)

    def is_interrupted(self, volume_id: str, attachment: str) -> bool:
        """Whether there is something to undo. What counts no more is removed. Raises HostError."""
        path = self._path(volume_id, attachment)
        if path.exists():
            return True
        self.forget(volume_id)
        return False

    def undo(self, volume_id: str, attachment: str, device: str) -> None:
        """Restore the file system of before an interrupted growth; nothing happens when there was none.

        Raises:
            HostError: the device is in use, as by a resize2fs that still runs, or cannot be written; it is to be tried again.
        """
        if not self.is_interrupted(volume_id, attachment):
            return
        _log.warning("volume %s: undoing the growth of its file system, which was interrupted", volume_id)
        with kernel.named(f"undoing the growth of {device}"), kernel.opened(device, os.O_RDONLY | os.O_EXCL):
            pass
        filesystems.undo_growth(device, str(self._path(volume_id, attachment)))
        self.forget(volume_id)

    def forget(self, volume_id: str) -> bool:
        """Remove the volume's undo files for good, before anything else is written to its device. Whether there were any."""
        directory = self.directory / durable_files.name_of(volume_id)
        if not directory.exists():
            return False
        with kernel.named(f"removing {directory}"):
            for path in directory.iterdir():
                durable_files.remove(path)
            directory.rmdir()
        return True

    def _path(self, volume_id: str, attachment: str) -> Path:
        name = durable_files.name_of(f"{attachment}.{self._boot_id}")
        return self.directory / durable_files.name_of(volume_id) / name


def _keep_room(path: Path, size: Bytes) -> None:
    """Once resize2fs has begun, its undo file must not lack room. Raises HostError when there is none."""
    room = _LEAST_ROOM + size // _DEVICE_BYTES_PER_BYTE
    commands.run(["fallocate", "--keep-size", "--length", str(room), str(path)], timeout=60)
