"""The only recursive removal in the package. It does not follow links or enter other mounts."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from csi_cinderlib.errors import HostError, NoAnswer
from csi_cinderlib.host import mounts
from csi_cinderlib.host.patience import within
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def temporary_directory(prefix: str, *, patience: float | None = None) -> Iterator[Path]:
    """A new directory, removed afterwards. Shares that a driver has mounted below it are unmounted and keep their files.

    Args:
        patience: seconds for the removal. If a dead share delays it further, the directory stays, which is logged.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield path
    finally:
        try:
            _remove_directory(path, patience)
        except NoAnswer as error:
            _log.warning("directory left in place", path=str(path), reason=str(error))


def _remove_directory(path: Path, seconds: float | None) -> None:
    if seconds is not None:
        within(seconds, f"removing {path}", lambda: _remove_directory(path, None))
        return
    unmount_below(path)
    remove_tree(path)


def unmount_below(path: Path) -> list[str]:
    """Unmount all mounts below a directory that this process created, without force or lazy unmount.

    Returns:
        The mount points that are still mounted. They are logged.
    """
    beginning = f"{path.resolve()}/"
    left = []
    below = (mount.target for mount in reversed(mounts.table()) if mount.target.startswith(beginning))
    for target in dict.fromkeys(below):
        try:
            mounts.unmount(target)
        except HostError as error:
            left.append(target)
            _log.warning("mount left in place", path=target, reason=str(error))
    return left


def remove_tree(path: Path) -> list[str]:
    """Remove a directory and its content on the same mount.

    Links are removed, never followed. Other mounts, including those of the same file system, stay with the directories above them. A file
    system that is mounted during the removal is not entered either.

    Returns:
        The innermost paths that could not be removed. They are logged.
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
        _log.warning("files left in place", paths=left)
    return left


def _remove(parent: int, name: str, path: Path, left: list[str]) -> None:
    """Remove an entry of a directory. If that fails, add it to `left`."""
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
    """Remove the entries of a directory that the caller has checked not to be a mount point."""
    readable = os.open(".", os.O_RDONLY | _DIRECTORY, dir_fd=directory)
    try:
        for name in os.listdir(readable):  # noqa: PTH208  # pathlib does not support file descriptors
            _remove(directory, name, path / name, left)
    finally:
        os.close(readable)


def _mount_id(fd: int) -> int:
    """The id of the mount of an open file (proc_pid_fdinfo(5)). `st_dev` does not distinguish bind mounts."""
    for line in Path(f"/proc/thread-self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("mnt_id:"):
            return int(line.split()[1])
    raise OSError(errno.ENOTSUP, "the kernel does not report the mount of a file")
