"""Whether a file system has ever been mounted, and so can hold files."""

from __future__ import annotations

import struct

from csi_cinderlib.host import commands, kernel
from csi_cinderlib.host.reading import open_direct, read
from csi_cinderlib.host.signatures import Signature

CHECK_SECONDS = 3600.0
_EXT = 1024
_FIELDS = {
    "ext2": (_EXT + 0x2C, "<I4xH"),  # s_mtime and s_mnt_count
    "ext3": (_EXT + 0x2C, "<I4xH"),
    "ext4": (_EXT + 0x2C, "<I4xH"),
    "xfs": (240, ">Q"),  # sb_lsn
}
"""Fields of the superblock that mkfs leaves at zero and the first mount sets: offset and format. btrfs has none: it sets fields only with its first
commit, up to 30 s after the mount.
"""
_BLOCK = 4096
_XFS_VERSION, _XFS_5 = 101, 5
_READS_LOG = "Phase 2"
_DIRTY_LOG = "metadata changes in a log"
"""From xfs_repair. The first mount writes to the log only, and sb_lsn is set later."""


def was_never_mounted(device: str, found: Signature) -> bool:
    """Whether it is certain that the kernel has never mounted the file system. Nothing is written.

    Raises:
        HostError: the device cannot be read, or XFS cannot be checked.
    """
    if found.name not in _FIELDS:
        return False
    offset, form = _FIELDS[found.name]
    with kernel.named(f"cannot read {device}"), open_direct(device) as fd:  # another machine may have written since
        superblock = read(fd, device, offset // _BLOCK * _BLOCK, _BLOCK)
    fields = struct.unpack_from(form, superblock, offset % _BLOCK)
    if found.name == "xfs" and superblock[_XFS_VERSION] & 0xF != _XFS_5:
        return False  # it has no sb_lsn
    return not any(fields) and (found.name != "xfs" or _has_clean_log(device))


def _has_clean_log(device: str) -> bool:
    output = commands.run(["xfs_repair", "-n", device], timeout=CHECK_SECONDS, ok=range(256))
    said = output.stdout + output.stderr
    return _READS_LOG in said and _DIRTY_LOG not in said
