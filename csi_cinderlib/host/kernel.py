"""The system calls and ioctls that Python does not offer, with errors in words."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_cinderlib.errors import HostError

_libc = ctypes.CDLL(None, use_errno=True)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Another text after each start of the machine (random(4))."""
FSOPEN = 430
FSCONFIG = 431
"""The same numbers on every architecture: calls younger than Linux 5.0 have common ones."""


def boot_id(path: Path = BOOT_ID) -> str:
    """The name of the kernel's present run. Raises OSError where /proc is hidden."""
    return path.read_text().strip()


def call(name: str, *arguments: int | bytes | None) -> int:
    """Call a function of the C library that reports errors through errno. Other threads run meanwhile.

    Raises:
        OSError: it returned -1.
    """
    result = getattr(_libc, name)(*(_as_c(item) for item in arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


def _as_c(value: int | bytes | None) -> object:
    return ctypes.c_ulong(value & 0xFFFFFFFFFFFFFFFF) if isinstance(value, int) else value


CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24
STATUS = Path("/proc/self/status")
"""Names this process's capabilities (proc_pid_status(5))."""


def has_capability(number: int) -> bool:
    """Whether this process has a capability in effect, by its number (linux/capability.h)."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def ioctl(fd: int, request: int, argument: int | bytearray = 0) -> int:
    """`fcntl.ioctl`; a bytearray is changed in place. Raises OSError."""
    return fcntl.ioctl(fd, request, argument)


@contextmanager
def opened(path: str, flags: int, *, patience: float = 0.0, mode: int = 0o600) -> Iterator[int]:
    """A file descriptor of `path`, closed afterwards. Raises OSError.

    Args:
        patience: seconds to wait for a device that somebody else has claimed (EBUSY).
        mode: of a file that O_CREAT makes.
    """
    fd = _open(path, flags | os.O_CLOEXEC, time.monotonic() + patience, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def _open(path: str, flags: int, deadline: float, mode: int) -> int:
    pause = 0.001
    while True:
        try:
            return os.open(path, flags, mode)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


_AT_FDCWD = -100
_AT_NO_AUTOMOUNT = 0x800
_AT_STATX_FORCE_SYNC = 0x2000
_STATX_BASIC_STATS = 0x7FF
_STATX_SIZE = 256


def ask_for(path: str) -> None:
    """Ask the server of a share for a file's attributes, whatever the kernel remembers of them: may never return. Raises OSError."""
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_STATX_FORCE_SYNC | _AT_NO_AUTOMOUNT
    call("statx", _AT_FDCWD, os.fsencode(path), flags, _STATX_BASIC_STATS, ctypes.addressof(answer))


_PIECE = 64 * 1024


def read(path: str) -> bytes:
    """All of a small file, with a third of the system calls of Python's own reading. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(fd, _PIECE):  # files in /proc and /sys come in pieces of any length
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def write(fd: int, content: bytes) -> None:
    """All of it. Raises OSError."""
    while content:
        content = content[os.write(fd, content) :]


def is_short(error: OSError) -> bool:
    """Whether this process or the machine lacks something for a moment, so that the answer says nothing about what was asked."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Turn an OSError inside into `HostError("{what}: {reason}")`."""
    try:
        yield
    except OSError as error:
        raise HostError(f"{what}: {error.strerror or error}") from error
