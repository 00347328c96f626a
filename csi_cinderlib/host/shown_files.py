"""The file behind a loop device."""

from __future__ import annotations

import os
from dataclasses import dataclass

from csi_cinderlib.host import devices, kernel, loopctl
from csi_cinderlib.host.identities import of_loop, sysfs
from csi_cinderlib.model.size import Bytes


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A snapshot of a loop device.

    Attributes:
        identity: see `identities.identity`.
        file: device and inode of its file, as in os.stat.
    """

    identity: str
    size: Bytes
    file: tuple[int, int]

    def is_at(self, path: str) -> bool:
        """Whether the file is now at `path`; False if it was deleted or replaced. Raises HostError."""
        with kernel.named(f"cannot find the file of a loop device at {path}"):
            try:
                found = os.stat(path)  # noqa: PTH116 - follows links, as the kernel did
            except FileNotFoundError:
                return False
        return self.file == (found.st_dev, found.st_ino)


def shown_file(device: str) -> ShownFile | None:
    """The file of a loop device; None for other devices. Raises HostError: the device does not exist."""
    with kernel.named(f"cannot identify {device}"):
        if not sysfs(device).name.startswith("loop"):
            return None
        with kernel.opened(device, os.O_RDONLY) as fd:
            status, size = loopctl.status(fd), devices.open_size(fd, device)
    return ShownFile(of_loop(status), size, (status.device, status.inode) if status else (0, 0))
