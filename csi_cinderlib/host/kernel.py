"""System calls and ioctls that Python does not provide, with readable errors."""

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
"""Differs after each boot (random(4))."""
FSOPEN = 430
FSCONFIG = 431
"""The same numbers on all architectures, as for all calls since Linux 5.0."""


def boot_id(path: Path = BOOT_ID) -> str:
    """The id of the current boot. Raises OSError if /proc is hidden."""
    return path.read_text().strip()


def call(name: str, *arguments: int | bytes | None) -> int:
    """Call a C library function that reports errors through errno. Other threads can run during the call.

    Raises:
        OSError: the function returned -1.
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
"""Contains the capabilities of this process (proc_pid_status(5))."""


def has_capability(number: int) -> bool:
    """Whether a capability is effective in this process, by its number (linux/capability.h)."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def ioctl(fd: int, request: int, argument: int | bytearray = 0) -> int:
    """`fcntl.ioctl`; a bytearray is modified in place. Raises OSError."""
    return fcntl.ioctl(fd, request, argument)


_starting: set[object] = set()
"""One entry for each child process that is being started."""
os.register_at_fork(after_in_child=_starting.clear)
_STARTING_SECONDS = 5.0


@contextmanager
def starting_a_child() -> Iterator[None]:
    """The start of a child process. Until it executes its program, it has copies of all open files, which keep a device in use."""
    child = object()
    _starting.add(child)
    try:
        yield
    finally:
        _starting.discard(child)


def _await_children() -> None:
    """Wait for the children that may have a copy of a file that was just closed. No lock: a start may hang, and must not stop others."""
    before, deadline = _starting.copy(), time.monotonic() + _STARTING_SECONDS
    while not before.isdisjoint(_starting) and time.monotonic() < deadline:
        time.sleep(0.001)


@contextmanager
def opened(path: str, flags: int, *, patience: float = 0.0, mode: int = 0o600) -> Iterator[int]:
    """Open `path` and close it afterwards. Raises OSError.

    Args:
        patience: seconds to wait for a device that is in use (EBUSY).
        mode: the mode of a file created with O_CREAT.
    """
    fd = _open(path, flags | os.O_CLOEXEC, time.monotonic() + patience, mode)
    try:
        yield fd
    finally:
        os.close(fd)
        if flags & os.O_EXCL:  # a device is free afterwards
            _await_children()


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
    """Query a file's attributes from the server of its share, bypassing the kernel's cache. May never return. Raises OSError."""
    answer = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_STATX_FORCE_SYNC | _AT_NO_AUTOMOUNT
    call("statx", _AT_FDCWD, os.fsencode(path), flags, _STATX_BASIC_STATS, ctypes.addressof(answer))


_PIECE = 64 * 1024


def read(path: str) -> bytes:
    """Read a small file, with a third of the system calls of Python's own functions. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(fd, _PIECE):  # reads of /proc and /sys may be short
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def write(fd: int, content: bytes) -> None:
    """Write the whole content. Raises OSError."""
    while content:
        content = content[os.write(fd, content) :]


def is_short(error: OSError) -> bool:
    """Whether the error is a temporary shortage of descriptors or memory, so that it gives no answer to the query."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Translate an OSError into `HostError("{what}: {reason}")`. `what` reads "cannot VERB the OBJECT"."""
    try:
        yield
    except OSError as error:
        raise HostError(f"{what}: {error.strerror or error}") from error
