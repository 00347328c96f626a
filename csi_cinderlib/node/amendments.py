"""Changes of durable files that need to survive the end of this process, and not the loss of power.

A change is added to a file of its own, which is not synced, and what is changed is not touched: so it costs no write to the disk
that anybody waits for, and after the loss of power the durable file is whole. Each line of the file of changes has its sum and the
content that it changes. A line of which the loss of power kept a part, and one about an earlier content, count for nothing.
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
"""Bytes. Then it is time to store the content itself."""


class Amendments:
    """The files of changes in a directory, one for each durable file. Callers hold the volume's lock. All raise OSError.

    The directory is made for the first change: a node must start, and take volumes down, when its disk is full.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, name: str, content: bytes, *, instead_of: bytes) -> bool:
        """Note what the durable file of that name would hold if it were written. False when it must be written.

        Args:
            instead_of: what it holds.
        """
        text = instead_of + _SEPARATOR + content
        if b"\n" in text or content.count(_SEPARATOR):  # written by hand
            return False
        line = b"\n%08x\t%s" % (zlib.crc32(text), text)  # whatever the line before is, this one begins here
        if not os.path.isdir(self._directory):  # noqa: PTH112
            self._directory.mkdir(mode=0o700, exist_ok=True)
        with kernel.opened(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, mode=0o600) as fd:
            if os.fstat(fd).st_size + len(line) > _LONGEST:
                return False
            kernel.write(fd, line)
        return True

    def latest(self, name: str, read: Callable[[], bytes]) -> bytes:
        """The last content that was noted instead of what the durable file holds; without any, that. Needs no lock.

        Args:
            read: reads the durable file. The changes are read before: when the file is stored meanwhile, that is the latest.
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
        """Once the durable file was written or removed: until then this process may end, and the changes count."""
        with suppress(FileNotFoundError):
            os.unlink(self._path(name))  # noqa: PTH108 - for each record that is stored

    def sweep(self, kept: Container[str]) -> None:
        """Remove what is about durable files that are gone."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self._directory):  # noqa: PTH208
                if name not in kept:
                    self.forget(name)

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"
