"""That a back end's driver runs in one process at a time, also after a controller that was killed: its driver may outlive it, in a
system call that does not end."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from csi_cinderlib.errors import BackendUnavailable, HostError

PATIENCE = 5.0
"""Seconds for the process before, which has just been ended."""


class Turn:
    """A lock file. Its lock is of the process that took it, and not of programs that the driver starts and leaves behind."""

    def __init__(self, state_dir: Path, back_end: str) -> None:
        self._back_end = back_end
        self._path = state_dir / "cinder" / "processes" / quote(back_end, safe="")
        self._file = -1

    def take(self) -> None:
        """Have it already is fine.

        Raises:
            BackendUnavailable: another process has it.
            HostError: the file cannot be made.
        """
        if self._file >= 0:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"{self._path}: {error.strerror}") from error
        try:
            self._lock(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file
        with suppress(OSError):  # on a full disk the message to the next one names none
            os.pwrite(file, f"{os.getpid():<31}\n".encode(), 0)

    def _lock(self, file: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):  # fcntl(2) names both
                if time.monotonic() > deadline:
                    holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
                    why = f"process {holder}, in which its driver ran before, has not ended yet"
                    raise BackendUnavailable(self._back_end, why) from None
                time.sleep(0.05)
            else:
                return

    def leave(self) -> None:
        """Let the next process begin; this one only ends the calls that it has."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
