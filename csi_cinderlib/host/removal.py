"""Removing a directory that this process made, and nothing that is not in it: what is mounted below it belongs to somebody else.

`shutil.rmtree` goes into mounted file systems: with a share mounted below a directory of state it empties the share.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import mounts

_log = logging.getLogger(__name__)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(directory: Path) -> tuple[str, ...]:
    """Remove a directory and what is in it, except for what is mounted there and the directories above that.

    Links are removed, never followed. Nothing is raised: clean-up happens at the end of something else.

    Returns:
        What is still there, by path; empty when everything is gone.
    """
    left: list[str] = []
    try:
        fd = os.open(directory, _DIRECTORY)
    except FileNotFoundError:
        return ()
    except OSError as error:
        return (f"{directory}: {error.strerror}",)
    try:
        _empty(fd, str(directory), _mount_id(fd), left)
    finally:
        os.close(fd)
    if not left:
        try:
            os.rmdir(directory)  # noqa: PTH106 - refuses one that holds something
        except OSError as error:
            left.append(f"{directory}: {error.strerror}")
    if left:
        _log.warning("not removed: %s", ", ".join(left))
    return tuple(left)


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """A new directory, removed by `remove_tree` afterwards. What was mounted below it meanwhile is unmounted unless it is in use."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield directory
    finally:
        for item in reversed(mounts.table()):
            if item.target.startswith(f"{directory}/"):
                with contextlib.suppress(HostError):
                    mounts.unmount_uppermost(item.target)
        remove_tree(directory)


def _empty(fd: int, path: str, mount: str, left: list[str]) -> None:
    for name in os.listdir(fd):
        where = f"{path}/{name}"
        try:
            is_directory = stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
            if not is_directory:
                os.unlink(name, dir_fd=fd)
            elif _descend(fd, name, where, mount, left):
                os.rmdir(name, dir_fd=fd)
        except FileNotFoundError:
            continue
        except OSError as error:
            left.append(f"{where}: {error.strerror}")


def _descend(parent: int, name: str, path: str, mount: str, left: list[str]) -> bool:
    """Whether the directory is empty now."""
    before = len(left)
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        if _mount_id(fd) != mount:
            left.append(f"{path}: something is mounted there")
        else:
            _empty(fd, path, mount, left)
    finally:
        os.close(fd)
    return len(left) == before


def _mount_id(fd: int) -> str:
    """Of the mount through which it was opened: a bind mount of the same file system has another one, and the same st_dev."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(line for line in lines if line.startswith("mnt_id:"))
