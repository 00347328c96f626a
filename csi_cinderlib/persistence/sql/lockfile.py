"""One process per SQLite file."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError


class LockFile:
    """Holds FILE.lock until `close` or the end of the process, however that ends.

    Raises:
        ConfigurationError: another process holds it; names the file and the process.
    """

    def __init__(self, database: Path) -> None:
        path = Path(f"{database}.lock")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError("store.options.url", f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            if not isinstance(error, BlockingIOError):
                raise ConfigurationError("store.options.url", f"{path} cannot be locked: {error.strerror}") from error
            raise ConfigurationError("store.options.url", _refusal(database, holder)) from None
        with suppress(OSError):  # on a full disk the refusal of a second process names none
            os.pwrite(self._fd, f"{os.getpid():<31}\n".encode(), 0)

    def close(self) -> None:
        """The file stays: removing it would let two processes lock two different files of that name."""
        os.close(self._fd)


def _refusal(database: Path, holder: str) -> str:
    return (
        f"{database} is in use by another process{f' (pid {holder})' if holder else ''}: stop that one first, give this one another "
        "state directory, or use a database server, which several processes may share"
    )
