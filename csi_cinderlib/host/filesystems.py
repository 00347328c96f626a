"""Existing file systems: check safely, grow, measure."""

from __future__ import annotations

import contextlib
import errno
import os
import struct

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, devices, identities, kernel, mkfsoptions, patience
from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import Signature, probe
from csi_cinderlib.model.requests import Usage
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.pages import ERRORS_PAGE

__all__ = [
    "SUPPORTED",
    "Kind",
    "Signature",
    "check",
    "count_errors",
    "file_system_size",
    "grow",
    "grow_unmounted",
    "mount_options",
    "needs_growth",
    "probe",
    "thaw",
    "undo_growth",
    "usage",
    "write_out",
]

SUPPORTED = tuple(mkfsoptions.TOOLS)
"""The file systems that `mkfs` can create."""

CHECK_SECONDS = 6 * 3600.0
GROW_SECONDS = 3600.0

EXT = ("ext2", "ext3", "ext4")
_FITHAW = 0xC0045878
THAW_SECONDS = 10.0
_EXT4_IOC_RESIZE_FS = 0x40086610
_SLACK = 16 * 1024 * 1024
"""Unused bytes at the end of a device that need no growth: ext4 and XFS grow by whole groups only."""


def mount_options(fs_type: str, device: str) -> tuple[str, ...]:
    """The options with which a volume's file system is always mounted. They never skip a journal, as files would be missing.

    Raises HostError: the device cannot be read.
    """
    if fs_type == "xfs":
        # A clone has the UUID of its source, and XFS mounts each UUID only once. The UUID is never rewritten (promise 14).
        return ("nouuid",)
    return ("errors=remount-ro",) if fs_type in EXT and _stops_the_machine(device) else ()


_EXT_ON_ERROR, _EXT_OPTIONS, _PANIC = 1024 + 0x3C, 1024 + 0x200, 3


def _stops_the_machine(device: str) -> bool:
    """Whether an ext file system requests a kernel panic on errors, in its superblock or its default options."""
    with kernel.named(f"cannot read {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        (behaviour,) = struct.unpack("<H", os.pread(fd, 2, _EXT_ON_ERROR))
        return behaviour == _PANIC or b"panic" in os.pread(fd, 64, _EXT_OPTIONS)


def check(device: str, found: Signature) -> None:
    """Check an unmounted file system before the mount, without risk to data.

    The kernel replays journals. Only if the ext superblock records errors, `e2fsck -p` makes the repairs that are safe.

    Raises:
        HostError: the file system needs a manual repair.
    """
    if found.name in EXT and found.dirty:
        _preen(device, "-f", "-p")  # forced, since e2fsck ignores an error count alone


def _preen(device: str, *flags: str) -> None:
    output = commands.run(["e2fsck", *flags, device], timeout=CHECK_SECONDS, ok=range(256))
    if output.code not in (0, 1, 2):  # 1: corrected; 2: corrected, a root file system would need a reboot
        said = (output.stdout + output.stderr).strip()[-1000:]
        raise HostError(
            f'{device}: the file system has errors that "e2fsck -p" does not correct; see {ERRORS_PAGE}. e2fsck reported: {said}'
        )


def needs_growth(device: str, found: Signature | None = None) -> bool:
    """Whether the file system is smaller than its device: after an expansion, or if the volume is larger than its source.

    Read from the superblock: for an unmounted file system, and for ext also for a mounted one.
    """
    found = found or probe(device)
    return bool(found and found.size and devices.size(device) - found.size >= max(_SLACK, found.block_size))


def grow(device: str, mount_path: str) -> None:
    """Grow a mounted file system to the size of its device, if it is smaller. ext needs CAP_SYS_RESOURCE.

    Raises:
        HostError: the file system does not support growth, or growing failed.
    """
    found = probe(device)
    name = found.name if found else "no known file system"
    if found and name in EXT:
        _grow_ext(device, found, mount_path)
    elif name == "xfs":
        commands.run(["xfs_growfs", "-d", mount_path], timeout=GROW_SECONDS)
    elif name == "btrfs":
        commands.run(["btrfs", "filesystem", "resize", "max", mount_path], timeout=GROW_SECONDS)
    else:
        raise HostError(f"cannot grow {device}: it contains {name}; supported: ext2, ext3, ext4, xfs, btrfs")


def _grow_ext(device: str, found: Signature, mount_path: str) -> None:
    blocks = devices.size(device) // found.block_size
    if blocks * found.block_size <= found.size:
        return
    try:
        with kernel.opened(mount_path, os.O_RDONLY) as fd:
            kernel.ioctl(fd, _EXT4_IOC_RESIZE_FS, bytearray(struct.pack("=Q", blocks)))
    except OSError as error:
        why = _why_not_permitted(device) if error.errno == errno.EPERM else error.strerror
        raise HostError(f"cannot grow {mount_path}: {why}") from error


def grow_unmounted(device: str, undo_file: str) -> None:
    """Grow an unmounted ext file system to the size of its device.

    Args:
        undo_file: receives the old blocks before they are overwritten (at most about 15 MB per TiB). It must be empty.

    Raises:
        HostError: growing failed; the caller must call `undo_growth` if the file exists.
    """
    _preen(device, "-f", "-p")  # resize2fs requires a check since the last mount
    with devices.written_out(device):
        commands.run(["resize2fs", "-z", undo_file, device], timeout=GROW_SECONDS)


def undo_growth(device: str, undo_file: str) -> None:
    """Restore the blocks that an interrupted growth has overwritten. It may be repeated until other data is written.

    Raises:
        HostError: the device could not be written.
    """
    tool = ["e2undo", "-f"]  # -f: the growth may have changed the superblock that e2undo compares
    if commands.run([*tool, "-n", undo_file, device], timeout=GROW_SECONDS, ok=range(256)).code:
        return  # no header in the file: nothing was overwritten yet
    with devices.written_out(device):
        commands.run([*tool, undo_file, device], timeout=GROW_SECONDS)


def _why_not_permitted(device: str) -> str:
    """The cause of EPERM. ext4_resize_begin (fs/ext4/resize.c) has two; the device may have others."""
    found = probe(device)
    if count_errors(device) or (found and found.dirty):
        return f"the file system has errors; it is checked and grown when the volume is staged again. See {ERRORS_PAGE}"
    if not kernel.has_capability(kernel.CAP_SYS_RESOURCE):
        return "growing ext4 while it is mounted needs CAP_SYS_RESOURCE, which this process does not have"
    return os.strerror(errno.EPERM)


def count_errors(device: str) -> int:
    """The number of errors that the kernel has recorded in a mounted ext4; 0 for other file systems."""
    with contextlib.suppress(OSError):
        return int(kernel.read(f"/sys/fs/ext4/{identities.sysfs(device).name}/errors_count"))
    return 0


def usage(path: str) -> tuple[Usage, ...]:
    """Bytes and inodes of the file system at `path`. btrfs does not count inodes."""
    with kernel.named(f"cannot measure {path}"):
        state = os.statvfs(path)
    unit = state.f_frsize
    used = (state.f_blocks - state.f_bfree) * unit
    sizes = Usage(unit="bytes", total=state.f_blocks * unit, used=used, available=state.f_bavail * unit)
    if not state.f_files:
        return (sizes,)
    inodes = state.f_files - state.f_ffree
    return sizes, Usage(unit="inodes", total=state.f_files, used=inodes, available=state.f_favail)


def file_system_size(path: str) -> Bytes:
    """The size that a mounted file system reports: that of its device without its own metadata."""
    return Bytes(usage(path)[0].total)


def thaw(path: str) -> bool:
    """Thaw the file system mounted at `path` if a program has left it frozen (FIFREEZE). Returns whether it was frozen.

    A frozen file system outlives its last mount. Until it is thawed, it cannot be synced, and its device cannot be mounted.

    Raises:
        HostError: it cannot be thawed.
        NoAnswer: the thaw hangs; it continues in its thread.
    """
    with kernel.named(f"cannot thaw {path}"):
        return patience.within(THAW_SECONDS, f"thawing {path}", lambda: _thaw(path))


def _thaw(path: str) -> bool:
    try:
        with kernel.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            kernel.ioctl(fd, _FITHAW)
    except OSError as error:
        # EINVAL: not frozen. EOPNOTSUPP: cannot be frozen. EIO: stopped by an error, so it does not block.
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.EIO):
            return False
        raise
    return True


def write_out(path: str) -> None:
    """Sync a file system and check for write errors, which unmount does not report. Raises HostError."""
    with kernel.named(f"cannot sync {path}"), kernel.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        kernel.call("syncfs", fd)
