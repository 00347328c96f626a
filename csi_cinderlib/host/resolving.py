"""Opening a path while the kernel sees that it leads where it may: openat2(2), from Linux 5.6 on."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from csi_cinderlib.host import kernel

OPENAT2 = 437
"""The same number on every architecture that Debian has."""
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT = 1, 2, 4, 8, 16
"""linux/openat2.h: RESOLVE_..."""
_ATTEMPTS = 100
"""Something in the file system was renamed or mounted meanwhile, and the path leads upwards: the kernel is not sure, and asks to try again."""
_ABSENT = (errno.ENOSYS, errno.EPERM)
"""The second from a container runtime that does not know the call."""


def open_at(directory: int, path: str, flags: int, resolve: int) -> int:
    """A file descriptor of a path below an open directory; close-on-exec.

    Raises:
        NotImplementedError: this kernel, or what confines this process, has no such call.
        OSError: ELOOP where a link is met that may not be, EXDEV where the path leads out or into another mount.
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
    """A file descriptor of a path as a process whose root directory is `root` sees it: absolute links lead to places in there.

    Raises OSError.
    """
    with kernel.opened(root, os.O_PATH | os.O_DIRECTORY) as directory:
        try:
            return open_at(directory, path, flags, IN_ROOT | NO_MAGICLINKS)
        except NotImplementedError:
            return os.open(path.lstrip("/"), flags | os.O_CLOEXEC, dir_fd=directory)


_WITHOUT_LINKS = NO_SYMLINKS | NO_MAGICLINKS | BENEATH


def link_below(base: str, path: str) -> str:
    """The first symbolic link on the way from a directory to a path below it; "" when there is none, or as far as the path is there.

    What is mounted at the path itself is not asked: it may be a share that no longer answers.

    Raises:
        OSError: nobody can tell, since there are no more file descriptors, say.
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
            os.readlink(where)  # noqa: PTH115 - one call for each part
        except OSError:
            continue
        return where
    return ""


@contextmanager
def held(path: str) -> Iterator[bytes]:
    """Another name of what is at an absolute path now, for a system call that would follow links: whatever becomes of the path, it leads there.

    Raises OSError: ELOOP where the path leads through a link.
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
    """The open directory of an absolute path, and the name in there: what is done by these is done in that very directory.

    Args:
        make: make what is missing of the directories.

    Raises OSError: ELOOP where it leads through a link.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    fd = _directory(parent or "/", make=make)
    try:
        yield fd, name
    finally:
        os.close(fd)


def make_directory(path: str) -> None:
    """Make the directory, and those above it, if it is not there. What is mounted on it is not asked. Raises OSError."""
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
    """As `held`, of the directory alone: for a call that must not follow the last part, nor keep what is there busy.

    Raises OSError.
    """
    with directory_of(path) as (fd, name):
        yield _name(fd) + b"/" + os.fsencode(name)
