"""The fake array of `tests.support.fakes.array` with data in its LUNs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from csi_cinderlib.drivers import sparse
from tests.support.fakes.array import Array
from tests.torture.truth import GIB


class BackedArray(Array):
    """Each LUN is a file beside the array's own. The log decides which LUNs there are; a process that is killed may leave
    the file of one that was not created yet, or is deleted already."""

    def __init__(self, path: Path, *, by: str) -> None:
        super().__init__(path, by=by)
        self._directory = path.parent
        self._copied = threading.local()

    def file(self, id: str) -> Path:
        return self._directory / f"lun-{id}"

    @contextmanager
    def copying(self, source: str) -> Iterator[None]:
        """What this thread creates meanwhile holds what that LUN holds."""
        self._copied.source = source
        try:
            yield
        finally:
            self._copied.source = ""

    def _write(self, log: IO[str] | None, action: str, kind: str, id: str, **values: Any) -> None:
        """The caller has the array for itself."""
        if action == "create":
            self._fill(self.file(id), values["size"])
        elif action == "extend":
            os.truncate(self.file(id), values["size"] * GIB)
        super()._write(log, action, kind, id, **values)
        if action == "delete":
            self.file(id).unlink(missing_ok=True)

    def _fill(self, file: Path, size: int) -> None:
        source = getattr(self._copied, "source", "")
        with file.open("wb") as target:
            if source:
                sparse.clone_path(str(self.file(source)), target.fileno(), size * GIB)
            target.truncate(size * GIB)
