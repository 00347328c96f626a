"""An archive, and a file that is created complete or not at all."""

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
    """A gzipped tar file, built in memory.

    Args:
        directory: top-level directory of all members.
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
        """Close the archive and return its bytes."""
        self._tar.close()
        return self._file.getvalue()


@contextmanager
def created(path: str) -> Iterator[IO[bytes]]:
    """Create a file of mode 0600 that gets its name after it was written; "-" is standard output.

    The file has no name until then, so that a killed process leaves no partial file.

    Raises:
        InvalidRequest: the path exists, or its directory does not.
        HostError: the file cannot be written.
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
        raise HostError(f"cannot write {target}: {error.strerror or error}") from error


@contextmanager
def _nameless(target: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Open an unnamed file on the file system of `target`; the second value names it. Raises OSError."""
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fd = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
                raise
        else:
            with os.fdopen(fd, "wb") as file:
                # With dst_dir_fd, `link` calls linkat(2) with AT_SYMLINK_FOLLOW, which O_TMPFILE files need.
                yield file, lambda: os.link(f"/proc/self/fd/{file.fileno()}", target.name, dst_dir_fd=directory)
            return
        with _removed_unless_named(target) as named:
            yield named
    finally:
        os.close(directory)


@contextmanager
def _removed_unless_named(target: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """The same for a file system without O_TMPFILE, such as overlayfs or NFS."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file, lambda: os.link(partial, target)
    finally:
        with suppress(OSError):
            partial.unlink()
