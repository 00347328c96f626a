"""An archive, and a file that is there as a whole or not at all."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from csi_cinderlib.errors import HostError, InvalidRequest

STANDARD_OUTPUT = "-"


class Archive:
    """A gzipped tar file of texts, made in memory.

    Args:
        directory: its one directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._file = io.BytesIO()
        self._tar = tarfile.open(mode="w:gz", fileobj=self._file)  # noqa: SIM115  # `finish` closes it

    def add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(f"{self._directory}/{name}")
        member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
        self._tar.addfile(member, io.BytesIO(data))

    def add_json(self, name: str, value: Mapping[str, object]) -> None:
        self.add(name, json.dumps(value, indent=2, ensure_ascii=False).encode(errors="replace") + b"\n")

    def finish(self) -> bytes:
        """All of it."""
        self._tar.close()
        return self._file.getvalue()


@contextmanager
def created(path: str) -> Iterator[IO[bytes]]:
    """A new file of mode 0600 under that name once all of it is written; "-" is standard output.

    Until then it has no name, so that not even a killed process leaves a part of it.

    Raises:
        InvalidRequest: the name is taken, or the directory is not there.
        HostError: it cannot be written.
    """
    if path == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if os.path.lexists(target):
        raise InvalidRequest("--output", f"{target} already exists")
    if not target.parent.is_dir():
        raise InvalidRequest("--output", f"{target.parent} is not a directory")
    try:
        with _nameless(target) as (file, give_name):
            yield file
            file.flush()
            os.fsync(file.fileno())
            give_name()
    except OSError as error:
        raise HostError(f"{target} cannot be written: {error.strerror or error}") from error


@contextmanager
def _nameless(target: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """A file on the disk of `target`, and what gives it that name. Raises OSError."""
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fd = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
                raise
        else:
            with os.fdopen(fd, "wb") as file:
                # With a directory, `link` is linkat(2) with AT_SYMLINK_FOLLOW, which this kind of file needs.
                yield file, lambda: os.link(f"/proc/self/fd/{file.fileno()}", target.name, dst_dir_fd=directory)
            return
        with _removed_unless_named(target) as named:
            yield named
    finally:
        os.close(directory)


@contextmanager
def _removed_unless_named(target: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """The same on a file system, overlayfs or NFS say, that has no files without a name."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file, lambda: os.link(partial, target)
    finally:
        with suppress(OSError):
            partial.unlink()
