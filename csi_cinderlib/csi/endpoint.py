"""The unix socket: created with mode 0600, without taking over the socket of a running process."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.host import processes

KEY = "endpoint"
LONGEST = 107
"""Bytes: sun_path of the kernel without the final NUL."""
ANSWER_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: process, user and group."""
OWNER_ONLY = 0o177
"""The umask for mode 0600."""


def parse(endpoint: str) -> Path:
    """`unix:///PATH`, `unix:PATH` or a bare path.

    Raises:
        ConfigurationError: the scheme is unsupported, or the path is missing or too long for a socket.
    """
    scheme, colon, rest = endpoint.partition(":")
    path = rest.removeprefix("//") if colon and scheme == "unix" else endpoint
    if "://" in path:
        raise ConfigurationError(KEY, f"unsupported endpoint {endpoint!r}; use unix:///PATH")
    if not path or path.endswith("/"):
        raise ConfigurationError(KEY, f"{endpoint!r} must name a socket file: unix:///PATH")
    absolute = Path(path).absolute()
    if (size := len(os.fsencode(absolute))) > LONGEST:
        raise ConfigurationError(KEY, f"socket path {absolute} is {size} bytes long; the limit is {LONGEST}")
    return absolute


_one_umask = threading.Lock()
"""The umask belongs to the process: two threads that change it at once would leave the wrong value."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket that this process created, identified by its inode."""

    path: Path
    inode: tuple[int, int]

    def remove(self) -> None:
        """Remove the socket, unless another program has replaced it."""
        with suppress(FileNotFoundError):
            if _inode(self.path) == self.inode:
                self.path.unlink()


@contextmanager
def taking(path: Path) -> Iterator[None]:
    """Make sure that `path` is free while the caller binds it, with mode 0600.

    A lock serializes processes that start at once. The umask applies to the whole process, so use this only at its start.

    Raises:
        ConfigurationError: the directory is missing or not writable, the path is not a socket, or a process is listening on it.
    """
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(KEY, f"cannot open the directory {path.parent}: {error.strerror}") from None
    try:
        with _one_umask:
            fcntl.flock(directory, fcntl.LOCK_EX)
            before = os.umask(OWNER_ONLY)
            try:
                _clear(path)
                _try(path)
                yield
            finally:
                os.umask(before)
    finally:
        os.close(directory)


def bound(path: Path) -> Bound:
    """Remember a socket that was just bound."""
    return Bound(path, _inode(path))


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(KEY, f"{path} exists and is not a socket; remove it or change the endpoint")
    if _answers(path):
        raise ConfigurationError(KEY, f"{path} is in use: another process is listening on it")
    try:
        path.unlink()
    except OSError as error:
        raise ConfigurationError(KEY, f"cannot remove the old socket {path}: {error.strerror}") from None


def _try(path: Path) -> None:
    """Bind once as a test: gRPC does not report why it fails, on a full disk for instance."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(os.fspath(path))
            path.unlink()
        except OSError as error:
            raise ConfigurationError(KEY, f"cannot create the socket {path}: {error.strerror}") from None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # a full backlog or missing permission: a process is listening
            return True
        return not processes.is_over(processes.Process(_listener(probe)))


def _listener(client: socket.socket) -> int:
    """The process that listens on the peer socket; 0 if it is not visible from here.

    A killed process keeps listening while one of its threads hangs in the kernel.
    """
    pid, _, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
