"""Changes to durable files that must survive the end of this process, but not a power loss.

A change is appended to a separate file, which is not synced; the durable file is not touched. The change therefore needs no
synchronous write, and the durable file stays intact after a power loss. Each line of the change file contains a checksum, the
old content and the new content. A truncated line, or a line whose old content is not that of the durable file, is ignored.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path

from csi_cinderlib.host import kernel

_SEPARATOR = b"\t"
_LONGEST = 64 * 1024
"""Bytes. A longer change file is replaced by a write of the durable file."""


class Amendments:
    """The change files in a directory, one for each durable file. Callers hold the volume's lock. All methods raise OSError.

    The directory is created with the first change: a node must be able to start and unstage volumes on a full disk.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, name: str, content: bytes, *, instead_of: bytes) -> bool:
        """Record new content for a durable file. Returns False if the durable file must be written instead.

        Args:
            instead_of: the content of the durable file.
        """
        text = instead_of + _SEPARATOR + content
        if b"\n" in text or content.count(_SEPARATOR):  # edited by hand
            return False
        line = b"\n%08x\t%s" % (zlib.crc32(text), text)  # starts a new line even if the previous one is truncated
        if not os.path.isdir(self._directory):  # noqa: PTH112
            self._directory.mkdir(mode=0o700, exist_ok=True)
        with kernel.opened(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, mode=0o600) as fd:
            if os.fstat(fd).st_size + len(line) > _LONGEST:
                return False
            kernel.write(fd, line)
        return True

    def latest(self, name: str, read: Callable[[], bytes]) -> bytes:
        """The latest content: that of the last valid change, else that of the durable file. Needs no lock.

        Args:
            read: reads the durable file. The changes are read first: if the file is stored in between, its content is the latest.
        """
        lines: list[bytes] = []
        with suppress(FileNotFoundError):
            lines = kernel.read(self._path(name)).split(b"\n")
        durable = read()
        for line in reversed(lines):
            total, _, text = line.partition(_SEPARATOR)
            changed, _, content = text.rpartition(_SEPARATOR)
            if changed == durable and total == b"%08x" % zlib.crc32(text):
                return content
        return durable

    def forget(self, name: str) -> None:
        """Remove the changes. Call it after the durable file was written or removed; until then they are valid."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(name))  # noqa: PTH108 - called for each stored record

    def sweep(self, kept: Container[str]) -> None:
        """Remove changes to durable files that no longer exist."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self._directory):  # noqa: PTH208
                if name not in kept:
                    self.forget(name)

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"
