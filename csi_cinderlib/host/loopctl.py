"""The ioctls of the loop driver (linux/loop.h), one function each. They raise OSError, mostly translated in `devices`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel

_SET_FD = 0x4C00
_CLR_FD = 0x4C01
_SET_STATUS64 = 0x4C04
_GET_STATUS64 = 0x4C05
_SET_CAPACITY = 0x4C07
_SET_DIRECT_IO = 0x4C08
_SET_BLOCK_SIZE = 0x4C09
_CONFIGURE = 0x4C0A
_GET_FREE = 0x4C82

_READ_ONLY = 1
_AUTOCLEAR = 4
_DIRECT_IO = 16

_INFO = struct.Struct("=5Q4I64s64s32s2Q")
"""struct loop_info64: device, inode, rdevice, offset, sizelimit; number, encryption (2), flags; file name ..."""
_CONFIG = struct.Struct(f"=II{_INFO.size}s64x")

_LOCK = struct.Struct("hhqqi")
"""struct flock: type, whence, start, length, and a process id that must be 0."""
_PLACES = 2**62
LOCK_SECONDS = 60.0
"""Longest wait for another process that attaches the same file."""

CONTROL = "/dev/loop-control"
MODULE = Path("/sys/class/misc/loop-control")
"""Exists while the kernel has the driver, built in or as a module."""
_BLOCK = "/sys/devices/virtual/block"
_MAJOR = 7
_LONGEST = 8192
"""Bytes; the kernel returns at most a page."""
_NOT_KNOWN = (errno.EINVAL, errno.ENOTTY)


@dataclass(frozen=True, slots=True)
class Status:
    """A loop device's backing file.

    Attributes:
        device, inode: of the backing file, as os.stat names them.
        backing_device: the device number if the backing file is a block device, else 0.
        offset, limit: the part of the file that is shown; 0, 0 is all of it.
    """

    number: int
    device: int
    inode: int
    backing_device: int
    offset: int
    limit: int
    read_only: bool
    autoclear: bool
    direct_io: bool

    def shows(self, file: os.stat_result) -> bool:
        """Whether the device shows all of this file, or of this block device."""
        if self.offset or self.limit:
            return False
        if file.st_rdev:
            return self.backing_device == file.st_rdev
        return (self.device, self.inode) == (file.st_dev, file.st_ino)


def _info(name: str, *, read_only: bool, direct_io: bool) -> bytes:
    flags = _READ_ONLY * read_only | _DIRECT_IO * direct_io
    return _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, os.fsencode(name)[:63], b"", b"", 0, 0)


def configure(fd: int, file: int, name: str, *, read_only: bool, direct_io: bool, block_size: int) -> None:
    """Bind an open file to an open, free loop device: in one call (Linux 5.8), or step by step.

    Raises:
        OSError: EBUSY if another process has taken the device in the meantime.
    """
    info = _info(name, read_only=read_only, direct_io=direct_io)
    try:
        kernel.ioctl(fd, _CONFIGURE, bytearray(_CONFIG.pack(file, block_size, info)))
    except OSError as error:
        if error.errno not in _NOT_KNOWN:
            raise
        configure_stepwise(fd, file, name, direct_io=direct_io, block_size=block_size)


def configure_stepwise(fd: int, file: int, name: str, *, direct_io: bool, block_size: int) -> None:
    """`configure` for kernels before Linux 5.8. The device is read-only if `file` was opened read-only."""
    kernel.ioctl(fd, _SET_FD, file)
    try:
        _set_status(fd, _info(name, read_only=False, direct_io=False))
        kernel.ioctl(fd, _SET_BLOCK_SIZE, block_size)
        if direct_io:
            set_direct_io(fd)
    except BaseException:
        kernel.ioctl(fd, _CLR_FD)
        raise


def _set_status(fd: int, info: bytes) -> None:
    kernel.ioctl(fd, _SET_STATUS64, bytearray(info))


def set_direct_io(fd: int) -> bool:
    """Bypass the page cache of the backing file. Returns False if its file system does not support that."""
    try:
        kernel.ioctl(fd, _SET_DIRECT_IO, 1)
    except OSError as error:
        if error.errno not in _NOT_KNOWN:
            raise
        return False
    return True


def status(fd: int) -> Status | None:
    """The status of an open loop device, or None if it is free."""
    buffer = bytearray(_INFO.size)
    try:
        kernel.ioctl(fd, _GET_STATUS64, buffer)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise
    device, inode, rdevice, offset, limit, number, _, _, flags, *_ = _INFO.unpack(buffer)
    return Status(
        number=number,
        device=device,
        inode=inode,
        backing_device=rdevice,
        offset=offset,
        limit=limit,
        read_only=bool(flags & _READ_ONLY),
        autoclear=bool(flags & _AUTOCLEAR),
        direct_io=bool(flags & _DIRECT_IO),
    )


def clear(fd: int) -> None:
    """Release the backing file when the last opener, including `fd`, has closed the device."""
    kernel.ioctl(fd, _CLR_FD)


def refresh(fd: int) -> None:
    """Update the size of the device from its backing file."""
    kernel.ioctl(fd, _SET_CAPACITY)


def free_number() -> int:
    """The number of a free device; the kernel adds one if there is none. Another process may take it first.

    Raises:
        HostError: as `_control`.
    """
    with _control() as fd:
        return kernel.ioctl(fd, _GET_FREE)


@contextlib.contextmanager
def attaching(path: str, file: os.stat_result) -> Iterator[None]:
    """Let only one thread of this machine at a time search for the file's loop device and attach one.

    The lock is a byte of the control device, which all containers with the host's /dev share. A lock of the file itself would go
    to a file server, and would be kept by the loop device. It is released when the process and its forks end. Without the control
    device nothing can be attached, and nothing is locked.

    Raises:
        HostError: another process has kept the lock for too long.
    """
    if not os.path.exists(CONTROL):  # noqa: PTH110 - called for each volume
        yield
        return
    number = file.st_rdev if stat.S_ISBLK(file.st_mode) else (file.st_dev << 40) + file.st_ino
    with _control() as fd:
        _lock(fd, number % _PLACES, path)
        try:
            yield
        finally:
            # Closing is not enough: a process that was forked meanwhile has the same open file.
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, number % _PLACES, 1, 0))


def _lock(fd: int, place: int, path: str) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES
            if time.monotonic() > deadline:
                raise HostError(f"another process has been attaching {path} for {LOCK_SECONDS:.0f} s") from None
            time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - jitter, not cryptography
        else:
            return


@contextlib.contextmanager
def _control() -> Iterator[int]:
    """The open control device.

    Raises:
        HostError: the kernel has no loop driver, or the device is not visible here.
    """
    try:
        opened = contextlib.ExitStack()
        fd = opened.enter_context(kernel.opened(CONTROL, os.O_RDWR))
    except FileNotFoundError:
        reason = (
            "is not in /dev of this container"
            if MODULE.exists()
            else "is missing; load the kernel module: modprobe loop"
        )
        raise HostError(f"no loop device is available: {CONTROL} {reason}") from None
    with opened:
        yield fd


def node(number: int) -> str:
    """The path of the device, created if /dev is not the kernel's devtmpfs (in a container)."""
    path = f"/dev/loop{number}"
    if not os.path.exists(path):  # noqa: PTH110 - called for each device in a search
        with contextlib.suppress(FileExistsError):
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(_MAJOR, number))
    return path


def attached() -> dict[int, str]:
    """The loop devices that have a backing file, in the order of their numbers, with `backing_path`."""
    # Called several times for each volume, on machines with hundreds of loop devices. Paths relative to the open directory take
    # half the time of absolute ones.
    try:
        with kernel.opened(_BLOCK, os.O_RDONLY | os.O_DIRECTORY) as directory:
            numbers = sorted(int(name[4:]) for name in os.listdir(directory) if name.startswith("loop"))  # noqa: PTH208
            return {number: path for number in numbers if (path := _backing_path(f"loop{number}", directory))}
    except FileNotFoundError:  # no loop driver
        return {}


def backing_path(number: int) -> str:
    """The path of the backing file in this mount namespace, possibly with the kernel's " (deleted)"; "" if free."""
    return _backing_path(f"{_BLOCK}/loop{number}")


def _backing_path(device: str, directory: int | None = None) -> str:
    try:
        fd = os.open(f"{device}/loop/backing_file", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return ""
    try:
        return os.fsdecode(os.read(fd, _LONGEST).removesuffix(b"\n"))
    except OSError:
        return ""
    finally:
        os.close(fd)


def keep(fd: int, name: str) -> None:
    """Cancel an earlier `clear` that waits for the last opener."""
    _set_status(fd, _info(name, read_only=False, direct_io=False))
