"""Growth of an unmounted ext file system. An interrupted growth is undone.

It is used only if the kernel does not let this process grow a mounted ext, which would be journalled. resize2fs overwrites
in place, and `e2fsck -p` cannot repair an interrupted run. resize2fs therefore first saves the old blocks in an undo file,
from which e2undo restores the file system before any further use.

An undo file is valid for one attachment and one boot. After that the volume may have changed on another node, and a power
loss may have left an incomplete undo file.
"""

from __future__ import annotations

import os
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, devices, filesystems, kernel
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.node import durable_files
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)
_LEAST_ROOM = 1024**2
_DEVICE_BYTES_PER_BYTE = 32 * 1024
"""Measured: growth from 1 GiB to 1 TiB, which creates all block groups, filled 12 MB, a byte per 87,000 of the device."""


class Growth:
    """The undo files in a directory: one directory per volume, one file per attachment. Callers hold the volume's lock."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        self.directory = directory
        self._boot_id = boot_id

    def grow(self, volume_id: str, attachment: str, device: str) -> None:
        """Grow an unmounted ext file system to the size of its device.

        Raises:
            HostError: growing failed; the file system is unchanged, or `undo` will restore it.
        """
        path = self._path(volume_id, attachment)
        with kernel.named(f"cannot prepare {path}"):
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
        """Whether there is a growth to undo. Obsolete undo files are removed. Raises HostError."""
        path = self._path(volume_id, attachment)
        if path.exists():
            return True
        self.forget(volume_id)
        return False

    def undo(self, volume_id: str, attachment: str, device: str) -> None:
        """Undo an interrupted growth, if there was one.

        Raises:
            HostError: the device is in use, for example by a running resize2fs, or cannot be written; the caller retries.
        """
        if not self.is_interrupted(volume_id, attachment):
            return
        _log.warning("interrupted file system growth found", volume=volume_id, device=device)
        with kernel.named(f"cannot undo the growth of {device}"), kernel.opened(device, os.O_RDONLY | os.O_EXCL):
            pass
        filesystems.undo_growth(device, str(self._path(volume_id, attachment)))
        self.forget(volume_id)

    def forget(self, volume_id: str) -> bool:
        """Remove the volume's undo files before other data is written to its device. Returns whether there were any."""
        directory = self.directory / durable_files.name_of(volume_id)
        if not directory.exists():
            return False
        with kernel.named(f"cannot remove {directory}"):
            for path in directory.iterdir():
                durable_files.remove(path)
            directory.rmdir()
        return True

    def _path(self, volume_id: str, attachment: str) -> Path:
        name = durable_files.name_of(f"{attachment}.{self._boot_id}")
        return self.directory / durable_files.name_of(volume_id) / name


def _keep_room(path: Path, size: Bytes) -> None:
    """Allocate the undo file, which must not run out of space during resize2fs. Raises HostError if the disk is full."""
    room = _LEAST_ROOM + size // _DEVICE_BYTES_PER_BYTE
    commands.run(["fallocate", "--keep-size", "--length", str(room), str(path)], timeout=60)
