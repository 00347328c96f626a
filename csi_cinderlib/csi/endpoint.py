"""The unix socket: whose it may be, and that nobody else's is taken away."""

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
"""Bytes: the kernel's sun_path less the closing NUL."""
ANSWER_SECONDS = 1.0
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: the process, its user and its group."""
OWNER_ONLY = 0o177
"""The umask that leaves 0600."""


def parse(endpoint: str) -> Path:
    """`unix:///PATH`, `unix:PATH` or a bare path.

    Raises:
        ConfigurationError: another scheme, no path, or one too long for a socket.
    """
    scheme, colon, rest = endpoint.partition(":")
    path = rest.removeprefix("//") if colon and scheme == "unix" else endpoint
    if "://" in path:
        raise ConfigurationError(KEY, f"{endpoint!r}: only unix sockets are served, unix:///PATH")
    if not path or path.endswith("/"):
        raise ConfigurationError(KEY, f"{endpoint!r} has no socket's name")
    absolute = Path(path).absolute()
    if (size := len(os.fsencode(absolute))) > LONGEST:
        raise ConfigurationError(KEY, f"{absolute} is {size} bytes long, and a socket's path may have {LONGEST}")
    return absolute


_one_umask = threading.Lock()
"""The umask is the process's: two threads that change it at once would leave the wrong one behind."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket that this process made, known by its inode."""

    path: Path
    inode: tuple[int, int]

    def remove(self) -> None:
        """Remove the socket, unless another program has put its own there meanwhile."""
        with suppress(FileNotFoundError):
            if _inode(self.path) == self.inode:
                self.path.unlink()


@contextmanager
def taking(path: Path) -> Iterator[None]:
    """Make sure that `path` is free while the caller binds it, with mode 0600.

    Two processes that start at once do this one after the other. The umask is the process's: this is for its start only.

    Raises:
        ConfigurationError: the directory is missing or cannot be written, something else than a socket is there, or somebody listens
            on it.
    """
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(KEY, f"the directory {path.parent} cannot be used: {error.strerror}") from None
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
        raise ConfigurationError(KEY, f"{path} exists and is no socket; it was left alone")
    if _answers(path):
        raise ConfigurationError(KEY, f"{path} is in use: another process listens on it")
    try:
        path.unlink()
    except OSError as error:
        raise ConfigurationError(KEY, f"the old socket {path} cannot be removed: {error.strerror}") from None


def _try(path: Path) -> None:
    """Bind it once: gRPC does not say why it could not, a full disk among the reasons."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(os.fspath(path))
            path.unlink()
        except OSError as error:
            raise ConfigurationError(KEY, f"{path} cannot be made: {error.strerror}") from None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # a full backlog, or not ours to touch: somebody is there
            return True
        return not processes.is_over(processes.Process(_listener(probe)))


def _listener(client: socket.socket) -> int:
    """The process that listens on the socket that this one is connected to; 0 for one that is not seen from here.

    A killed process listens as long as a thread of it hangs in the kernel.
    """
    pid, _, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
