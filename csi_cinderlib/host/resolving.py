"""Path resolution restricted by the kernel: openat2(2), from Linux 5.6."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from csi_cinderlib.host import kernel

OPENAT2 = 437
"""The same number on all architectures of Debian."""
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 1, 2, 4, 8, 16
"""linux/openat2.h: RESOLVE_..."""
_ATTEMPTS = 100
"""The kernel returns EAGAIN if a rename or mount happened while it resolved a path with `..`."""
_ABSENT = (errno.ENOSYS, errno.EPERM)
"""EPERM comes from a container runtime that does not know the call."""


def open_at(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open a path below an open directory, close-on-exec.

    Raises:
        NotImplementedError: the kernel or the container runtime does not support the call.
        OSError: ELOOP for a forbidden link, EXDEV if the path leads out of the directory or into another mount.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    attempts = 0
    while True:
        try:
            return kernel.call("syscall", OPENAT2, directory, os.fsencode(path), how, len(how))
        except OSError as error:
            if error.errno in _ABSENT:
                raise NotImplementedError("openat2") from None
            attempts += 1
            if error.errno != errno.EAGAIN or attempts == _ATTEMPTS:
                raise


def open_in_root(root: str, path: str, flags: int) -> int:
    """Open a path as a process with the root directory `root` would: absolute links stay inside `root`.

    Raises OSError.
    """
    with kernel.opened(root, os.O_PATH | os.O_DIRECTORY) as directory:
        try:
            return open_at(directory, path, flags, IN_ROOT | NO_MAGICLINKS)
        except NotImplementedError:
            return os.open(path.lstrip("/"), flags | os.O_CLOEXEC, dir_fd=directory)


_WITHOUT_LINKS = NO_SYMLINKS | NO_MAGICLINKS | BENEATH


def link_below(base: str, path: str) -> str:
    """The first symbolic link between a directory and a path below it; "" if the existing part of the path has none.

    A mount at the path itself is not contacted: it may be a dead share.

    Raises:
        OSError: a resource is short, such as file descriptors.
    """
    parent, _, name = path.rpartition("/")
    try:
        with kernel.opened(base, os.O_PATH | os.O_DIRECTORY) as start:
            directory = open_at(start, parent or ".", os.O_PATH | os.O_DIRECTORY, _WITHOUT_LINKS)
            try:
                os.close(open_at(directory, name, os.O_PATH, _WITHOUT_LINKS | NO_XDEV))
            finally:
                os.close(directory)
    except NotImplementedError:
        return _walk(base, path)
    except OSError as error:
        if kernel.is_short(error):
            raise
        if error.errno == errno.ELOOP:
            return _walk(base, path) or f"{base.rstrip('/')}/{path}"
    return ""


def _walk(base: str, path: str) -> str:
    where = base.rstrip("/")
    for part in path.split("/"):
        where = f"{where}/{part}"
        try:
            os.readlink(where)  # noqa: PTH115 - called for each part
        except OSError:
            continue
        return where
    return ""


@contextmanager
def held(path: str) -> Iterator[bytes]:
    """A stable name of the object at an absolute path, for a system call that would follow links. It survives changes of the path.

    Raises OSError: ELOOP if the path contains a link.
    """
    try:
        with kernel.opened("/", os.O_PATH | os.O_DIRECTORY) as root:
            fd = open_at(root, _relative(path), os.O_PATH, _WITHOUT_LINKS)
    except NotImplementedError:
        yield os.fsencode(path)
        return
    try:
        yield _name(fd)
    finally:
        os.close(fd)


@contextmanager
def directory_of(path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """The open parent directory of an absolute path, and the last part of the path, for calls relative to that directory.

    Args:
        make: create missing directories.

    Raises OSError: ELOOP if the path contains a link.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    fd = _directory(parent or "/", make=make)
    try:
        yield fd, name
    finally:
        os.close(fd)


def make_directory(path: str) -> None:
    """Create the directory and its parents if missing. A mount on it is not contacted. Raises OSError."""
    with directory_of(path, make=True) as (directory, name), suppress(FileExistsError):
        os.mkdir(name, dir_fd=directory)


def _directory(path: str, *, make: bool) -> int:
    try:
        return _open_directory(path)
    except FileNotFoundError:
        if not make:
            raise
    with directory_of(path, make=True) as (parent, name), suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    return _open_directory(path)


def _open_directory(path: str) -> int:
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        with kernel.opened("/", flags) as root:
            return open_at(root, _relative(path), flags, _WITHOUT_LINKS)
    except NotImplementedError:
        return os.open(path, flags | os.O_CLOEXEC)


def _relative(path: str) -> str:
    return path.strip("/") or "."


def _name(fd: int) -> bytes:
    return b"/proc/thread-self/fd/%d" % fd


@contextmanager
def named_in_directory(path: str) -> Iterator[bytes]:
    """`held` for the parent directory: for a call that must not follow the last part or keep its object busy. Raises OSError."""
    with directory_of(path) as (fd, name):
        yield _name(fd) + b"/" + os.fsencode(name)
