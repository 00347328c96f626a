"""Space that is kept back on a disk for the work that frees space (promise 28)."""

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
    """Whether the operating system says that a disk has no block or no inode left."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


class Reserve:
    """Files that are removed while clean-up needs their room, and made again afterwards. Thread-safe. `fill` makes them first.

    Args:
        directory: for nothing else. It must be on the disk that may be full.
        files: how many, since a disk may also run out of inodes.
        size: of each, in bytes. XFS makes room for 64 inodes at once, which takes 32 KiB.
    """

    def __init__(self, directory: Path, *, files: int = 16, size: int = 32 * 1024) -> None:
        self._directory = directory
        self._paths = [directory / str(number) for number in range(files)]
        self._size = size
        self._guard = threading.Lock()
        self._users = 0
        self._is_whole = False

    def fill(self) -> bool:
        """Take what is missing, as far as there is room. Whether the reserve is whole."""
        if not self._is_whole:
            with self._guard:
                self._is_whole = not self._users and self._take()
        return self._is_whole

    def run(self, work: Callable[[], T], *, lacks_room: Callable[[Exception], bool] = is_full) -> T:
        """Do the work, and again without the reserve if that failed for lack of room. Raises what the work raises.

        Args:
            lacks_room: whether an error of the work may come from a full disk.
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
        """The disk has this much more room meanwhile. Several threads may need it at once; the last one takes it again."""
        with self._guard:
            self._release()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def released_if_full(self) -> Iterator[None]:
        """As `released` on a disk that has next to no room, for work whose errors do not tell."""
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
        """With the guard held."""
        self._users += 1
        self._is_whole = False
        for path in self._paths:
            with suppress(OSError):  # of a disk that became read-only, say: then the work itself tells
                path.unlink()

    def _leave(self) -> None:
        with self._guard:
            self._users -= 1
            self._is_whole = not self._users and self._take()

    def _take(self) -> bool:
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
        taken = [_allocate(path, self._size) for path in self._paths]  # also those after one that gets no room
        return all(taken)


def _allocate(path: Path, size: int) -> bool:
    try:
        with kernel.opened(str(path), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW) as fd:
            os.posix_fallocate(fd, 0, size)
    except OSError:
        return False
    return True


def _is_nearly_full(path: Path, files: int, size: int) -> bool:
    """Whether less is free than the reserve holds. Some file systems count no inodes."""
    try:
        now = os.statvfs(path)
    except OSError:  # without a directory there is no reserve to release
        return False
    return now.f_bavail * now.f_frsize < files * size or bool(now.f_files and now.f_favail < files)
