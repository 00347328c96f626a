"""The only recursive removal of the package: it follows no link and enters nothing that is mounted."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from csi_cinderlib.errors import HostError, NoAnswer
from csi_cinderlib.host import mounts
from csi_cinderlib.host.patience import within

_log = logging.getLogger(__name__)
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def temporary_directory(prefix: str, *, patience: float | None = None) -> Iterator[Path]:
    """A new directory, removed afterwards; a driver may mount shares below it, which are unmounted and keep their files.

    Args:
        patience: seconds for that. A share whose server is gone may hold it up; then the directory stays, and the log says so.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield path
    finally:
        try:
            _remove_directory(path, patience)
        except NoAnswer:
            _log.warning("left in place: %s (its removal did not end within %.0f seconds)", path, patience)


def _remove_directory(path: Path, seconds: float | None) -> None:
    if seconds is not None:
        within(seconds, f"removing {path}", lambda: _remove_directory(path, None))
        return
    unmount_below(path)
    remove_tree(path)


def unmount_below(path: Path) -> list[str]:
    """Unmount what is mounted below a directory that this process made. Nothing is forced or detached while in use.

    Returns:
        the mount points that are still there. They are logged.
    """
    beginning = f"{path.resolve()}/"
    left = []
    for target in dict.fromkeys(one.target for one in reversed(mounts.table()) if one.target.startswith(beginning)):
        try:
            mounts.unmount(target)
        except HostError as error:
            left.append(target)
            _log.warning("a mount stays: %s", error)
    return left


def remove_tree(path: Path) -> list[str]:
    """Remove a directory with what is in it, as far as it lies on one mount.

    A link is removed, never followed. Another mount, be it of the same file system, stays as it is, with the directories
    above it. A file system that somebody mounts in the meantime is not entered either.

    Returns:
        what could not be removed, the innermost paths only; empty also when there was nothing. It is logged.
    """
    left: list[str] = []
    try:
        parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return left
    try:
        _remove(parent, path.name, path, left)
    finally:
        os.close(parent)
    if left:
        _log.warning("left in place: %s", ", ".join(left))
    return left


def _remove(parent: int, name: str, path: Path, left: list[str]) -> None:
    """Remove one entry of a directory. What cannot be removed is added to `left`."""
    try:
        _remove_entry(parent, name, path, left)
    except FileNotFoundError:
        return
    except OSError as error:
        left.append(f"{path} ({error.strerror})")


def _remove_entry(parent: int, name: str, path: Path, left: list[str]) -> None:
    try:
        fd = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=parent)  # a mount point is refused with EBUSY
        return
    try:
        if _mount_id(fd) != _mount_id(parent):
            left.append(f"{path} (mounted)")
            return
        before = len(left)
        _empty(fd, path, left)
    finally:
        os.close(fd)
    if len(left) == before:
        os.rmdir(name, dir_fd=parent)


def _empty(directory: int, path: Path, left: list[str]) -> None:
    """Remove the entries of a directory of which it is known that nothing else is mounted on it."""
    readable = os.open(".", os.O_RDONLY | _DIRECTORY, dir_fd=directory)
    try:
        for name in os.listdir(readable):  # noqa: PTH208  # pathlib knows no file descriptors
            _remove(directory, name, path / name, left)
    finally:
        os.close(readable)


def _mount_id(fd: int) -> int:
    """Of the mount through which a file was opened (proc_pid_fdinfo(5)). `st_dev` is equal on both sides of a bind mount."""
    for line in Path(f"/proc/thread-self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return int(line.split()[1])
    raise OSError(errno.ENOTSUP, "the kernel does not tell which mount a file is on")
