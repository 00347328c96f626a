"""Ids of files that do not change with their names."""

from __future__ import annotations

import fcntl
import os

from csi_cinderlib.host import kernel

_GET_GENERATION = 0x80087601
"""FS_IOC_GETVERSION of ext4, XFS and btrfs: it differs when the inode is used again for another file."""


def of(path: str) -> str:
    """The inode and its generation; without the generation where the file system does not tell it. Raises OSError or HostError."""
    with kernel.opened(path, os.O_RDONLY) as fd:
        inode, generation = os.fstat(fd).st_ino, bytearray(8)
        try:
            fcntl.ioctl(fd, _GET_GENERATION, generation)
        except OSError:
            return str(inode)
    return f"{inode}.{int.from_bytes(generation[:4], 'little')}"
