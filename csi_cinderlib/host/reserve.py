"""Disk space reserved for work that frees space (promise 28)."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from csi_cinderlib.host import kernel

T = TypeVar("T")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: Exception) -> bool:
    """Whether the error means that a disk has no free blocks or inodes."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


class Reserve:
    """Reserve files, removed while clean-up needs their space and created again afterwards. Thread-safe. Call `fill` first.

    Args:
        directory: a dedicated directory on the disk that may be full.
        files: the number of files, since a disk may also run out of inodes.
        size: of each file, in bytes. XFS allocates 64 inodes at once, which takes 32 KiB.
    """

    def __init__(self, directory: Path, *, files: int = 16, size: int = 32 * 1024) -> None:
        self._directory = directory
        self._paths = [directory / str(number) for number in range(files)]
        self._size = size
        self._guard = threading.Lock()
        self._users = 0
        self._is_whole = False

    def fill(self) -> bool:
        """Create missing files as far as space allows. Returns whether the reserve is complete."""
        if not self._is_whole:
            with self._guard:
                self._is_whole = not self._users and self._take()
        return self._is_whole

    def run(self, work: Callable[[], T], *, lacks_room: Callable[[Exception], bool] = is_full) -> T:
        """Do the work. If it fails on a full disk, release the reserve and repeat it. Errors of the work are passed on.

        Args:
            lacks_room: whether an error of the work may be caused by a full disk.
        """
        try:
            return work()
        except Exception as error:
            if not lacks_room(error):
                raise
        with self.released():
            return work()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release the reserve temporarily. Several threads may do so at once; the last one restores it."""
        with self._guard:
            self._release()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def released_if_full(self) -> Iterator[None]:
        """`released`, but only on a nearly full disk; for work whose errors do not show a full disk."""
        with self._guard:
            is_needed = bool(self._users) or _is_nearly_full(self._directory, len(self._paths), self._size)
            if is_needed:
                self._release()
        try:
            yield
        finally:
            if is_needed:
                self._leave()

    def _release(self) -> None:
        """The caller holds the guard."""
        self._users += 1
        self._is_whole = False
        for path in self._paths:
            with suppress(OSError):  # for example on a read-only disk: the work itself reports that
                path.unlink()

    def _leave(self) -> None:
        with self._guard:
            self._users -= 1
            self._is_whole = not self._users and self._take()

    def _take(self) -> bool:
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
        taken = [_allocate(path, self._size) for path in self._paths]  # do not stop at the first failure
        return all(taken)


def _allocate(path: Path, size: int) -> bool:
    try:
        with kernel.opened(str(path), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW) as fd:
            os.posix_fallocate(fd, 0, size)
    except OSError:
        return False
    return True


def _is_nearly_full(path: Path, files: int, size: int) -> bool:
    """Whether less space is free than the reserve holds. Some file systems do not report inodes."""
    try:
        now = os.statvfs(path)
    except OSError:  # without the directory there is no reserve
        return False
    return now.f_bavail * now.f_frsize < files * size or bool(now.f_files and now.f_favail < files)
