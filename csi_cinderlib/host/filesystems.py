"""File systems: made only where nothing is, grown, checked without risk, measured."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import struct
from collections.abc import Sequence

from csi_cinderlib.errors import HostError, UnsafeToFormat
from csi_cinderlib.host import commands, devices, identities, kernel, libblkid, mkfsoptions, patience
from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import FILE_SYSTEM_SPAN, Signature, probe, probe_ends
from csi_cinderlib.model.requests import Usage
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.pages import ERRORS_PAGE, REFUSAL_PAGE

__all__ = [
    "SUPPORTED",
    "Kind",
    "Signature",
    "check",
    "count_errors",
    "file_system_size",
    "grow",
    "grow_unmounted",
    "make",
    "mount_options",
    "needs_growth",
    "probe",
    "thaw",
    "undo_growth",
    "usage",
    "write_out",
]

SUPPORTED = tuple(mkfsoptions.TOOLS)
"""What `make` can make."""

MKFS_SECONDS = 1800.0
CHECK_SECONDS = 6 * 3600.0
GROW_SECONDS = 3600.0

EXT = ("ext2", "ext3", "ext4")
_FITHAW = 0xC0045878
THAW_SECONDS = 10.0
_EXT4_IOC_RESIZE_FS = 0x40086610
_SLACK = 16 * 1024 * 1024
"""A file system that leaves less than this of its device unused covers it: ext4 and XFS grow by groups only."""


def make(device: str, fs_type: str, options: Sequence[str] = ()) -> Signature:
    """Make a file system on a device that carries nothing known, and say what is on it now.

    The caller decides whether the device is new at all (`Formatting`); here is the last gate.

    Args:
        options: extra arguments to mkfs.

    Raises:
        InvalidRequest: an unknown file system or option.
        UnsafeToFormat: something is on the device.
        HostError: it cannot be read, or mkfs failed.
    """
    argv = mkfsoptions.command(fs_type, options)
    ends = probe_ends(device)
    if found := ends.signature:
        raise UnsafeToFormat(
            f"{device} carries {found.name} ({found.kind}): no file system is made on it; see {REFUSAL_PAGE}"
        )
    # A second opinion. It reads nothing but the two ends, so of zeros it is not asked: that costs half as much as mkfs.
    if not ends.zero and (known := libblkid.known_as(device)):
        raise UnsafeToFormat(
            f"{device} carries {known}, according to blkid: no file system is made on it; see {REFUSAL_PAGE}"
        )
    output = commands.run([*argv, device], timeout=MKFS_SECONDS, ok=range(256))
    if output.code:
        asked = f" with the StorageClass's mkfsOptions {shlex.join(options)!r}" if options else ""
        sectors = f" (sectors of {devices.logical_block_size(device)} bytes)" if options else ""
        raise HostError(f"{argv[0]}{asked} on {device}{sectors} failed: {mkfsoptions.complaint(output)}")
    made = probe(device, span=FILE_SYSTEM_SPAN)
    if made is None or made.name != fs_type:
        raise HostError(f"{argv[0]} succeeded, but {device} carries {made.name if made else 'no'} file system")
    return made


def mount_options(fs_type: str, device: str) -> tuple[str, ...]:
    """Options that a volume's file system is always mounted with. None of them skips a journal: files would be missing.

    Raises HostError: the device cannot be read.
    """
    if fs_type == "xfs":
        return (
            "nouuid",
        )  # a clone has its source's UUID, and XFS mounts each UUID once. Never is it rewritten (promise 14)
    return ("errors=remount-ro",) if fs_type in EXT and _stops_the_machine(device) else ()


_EXT_ON_ERROR, _EXT_OPTIONS, _PANIC = 1024 + 0x3C, 1024 + 0x200, 3


def _stops_the_machine(device: str) -> bool:
    """Whether an ext file system asks for a panic of the kernel at its first error, by its superblock or by the options in there."""
    with kernel.named(f"reading {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        (behaviour,) = struct.unpack("<H", os.pread(fd, 2, _EXT_ON_ERROR))
        return behaviour == _PANIC or b"panic" in os.pread(fd, 64, _EXT_OPTIONS)


def check(device: str, found: Signature) -> None:
    """Prepare an unmounted file system for mounting, without ever deciding about data.

    Journals are replayed by the kernel. Only when ext's superblock says that the kernel met errors, `e2fsck -p` mends
    what can be mended safely.

    Raises:
        HostError: it needs a person's decision; nothing was changed.
    """
    if found.name in EXT and found.dirty:
        _preen(device, "-f", "-p")  # forced, since a count of errors alone is no reason for it


def _preen(device: str, *flags: str) -> None:
    output = commands.run(["e2fsck", *flags, device], timeout=CHECK_SECONDS, ok=range(256))
    if output.code not in (0, 1, 2):  # 1: mended; 2: mended, and a root file system would want a reboot
        said = (output.stdout + output.stderr).strip()[-1000:]
        raise HostError(
            f'{device}: the file system has errors that "e2fsck -p" does not correct; see {ERRORS_PAGE}. It reported: {said}'
        )


def needs_growth(device: str, found: Signature | None = None) -> bool:
    """Whether the file system covers less than its device: after the volume was extended, or made larger than its source.

    Told from the superblock, so for an unmounted one, and for ext also for a mounted one.
    """
    found = found or probe(device)
    return bool(found and found.size and devices.size(device) - found.size >= max(_SLACK, found.block_size))


def grow(device: str, mount_path: str) -> None:
    """Let a mounted file system cover its whole device; nothing changes when it does already. ext needs CAP_SYS_RESOURCE.

    Raises:
        HostError: no file system that can grow, or growing failed.
    """
    found = probe(device)
    name = found.name if found else "nothing known"
    if found and name in EXT:
        _grow_ext(device, found, mount_path)
    elif name == "xfs":
        commands.run(["xfs_growfs", "-d", mount_path], timeout=GROW_SECONDS)
    elif name == "btrfs":
        commands.run(["btrfs", "filesystem", "resize", "max", mount_path], timeout=GROW_SECONDS)
    else:
        raise HostError(f"growing {device}: it carries {name}, which cannot grow")


def _grow_ext(device: str, found: Signature, mount_path: str) -> None:
    blocks = devices.size(device) // found.block_size
    if blocks * found.block_size <= found.size:
        return
    try:
        with kernel.opened(mount_path, os.O_RDONLY) as fd:
            kernel.ioctl(fd, _EXT4_IOC_RESIZE_FS, bytearray(struct.pack("=Q", blocks)))
    except OSError as error:
        why = _why_not_permitted(device) if error.errno == errno.EPERM else error.strerror
        raise HostError(f"growing {mount_path}: {why}") from error


def grow_unmounted(device: str, undo_file: str) -> None:
    """Let an ext file system that is not mounted cover its whole device.

    Args:
        undo_file: gets what is overwritten, before it is (at most some 15 MB per TiB). It must be empty.

    Raises:
        HostError: it failed, and `undo_growth` has to be called if the file is there.
    """
    _preen(device, "-f", "-p")  # resize2fs refuses one that was not checked since it was last mounted
    with devices.written_out(device):
        commands.run(["resize2fs", "-z", undo_file, device], timeout=GROW_SECONDS)


def undo_growth(device: str, undo_file: str) -> None:
    """Restore what a growth overwrote that did not end. It may be done again, as long as nothing else was written.

    Raises:
        HostError: the device could not be written.
    """
    tool = ["e2undo", "-f"]  # it is compared with a superblock that the growth may have changed already
    if commands.run([*tool, "-n", undo_file, device], timeout=GROW_SECONDS, ok=range(256)).code:
        return  # a file without its header: nothing was overwritten yet
    with devices.written_out(device):
        commands.run([*tool, undo_file, device], timeout=GROW_SECONDS)


def _why_not_permitted(device: str) -> str:
    """EPERM has two causes in ext4_resize_begin (fs/ext4/resize.c), and may have others of the device."""
    found = probe(device)
    if count_errors(device) or (found and found.dirty):
        return f"the file system has errors; it is checked, and grown, when it is staged again; see {ERRORS_PAGE}"
    if not kernel.has_capability(kernel.CAP_SYS_RESOURCE):
        return "growing ext4 while it is mounted needs CAP_SYS_RESOURCE, which this process does not have"
    return os.strerror(errno.EPERM)


def count_errors(device: str) -> int:
    """How many errors the kernel noted in a mounted ext4; 0 for other file systems."""
    with contextlib.suppress(OSError):
        return int(kernel.read(f"/sys/fs/ext4/{identities.sysfs(device).name}/errors_count"))
    return 0


def usage(path: str) -> tuple[Usage, ...]:
    """Bytes and inodes of the file system at `path`. btrfs counts no inodes and shows none."""
    with kernel.named(f"measuring {path}"):
        state = os.statvfs(path)
    unit = state.f_frsize
    used = (state.f_blocks - state.f_bfree) * unit
    sizes = Usage(unit="bytes", total=state.f_blocks * unit, used=used, available=state.f_bavail * unit)
    if not state.f_files:
        return (sizes,)
    inodes = state.f_files - state.f_ffree
    return sizes, Usage(unit="inodes", total=state.f_files, used=inodes, available=state.f_favail)


def file_system_size(path: str) -> Bytes:
    """What a mounted file system shows of its size: less than its device, by what it keeps for itself."""
    return Bytes(usage(path)[0].total)


def thaw(path: str) -> bool:
    """Let writes go on in the file system mounted at `path` that a program froze (FIFREEZE) and did not thaw; whether it was frozen.

    A frozen file system outlives its last mount, and nothing can be written out, or mounted from its device, until then.

    Raises:
        HostError: it cannot be thawed.
        NoAnswer: it hangs; that goes on.
    """
    doing = f"thawing {path}"
    with kernel.named(doing):
        return patience.within(THAW_SECONDS, doing, lambda: _thaw(path))


def _thaw(path: str) -> bool:
    try:
        with kernel.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            kernel.ioctl(fd, _FITHAW)
    except OSError as error:
        # EINVAL: it is not frozen. EOPNOTSUPP: it cannot be. EIO: an error stopped it, so that it waits for nothing.
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.EIO):
            return False
        raise
    return True


def write_out(path: str) -> None:
    """Write everything of a file system out, and hear about failures, which unmounting does not tell. Raises HostError."""
    with kernel.named(f"writing out {path}"), kernel.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        kernel.call("syncfs", fd)
