"""The files and devices of this host that a connection may name.

A connection comes from the controller, and a file that it names is attached and perhaps formatted. A file must therefore be
below a directory that this node's configuration allows, and no symbolic link may lead to it, since others, such as an NFS server,
may write below that directory. Links in /dev belong to the kernel and udev; they must lead to a block device in /dev.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from csi_cinderlib.errors import HostError, InvalidRequest
from csi_cinderlib.host import kernel

SETTING = "local_paths"
_DEV = "/dev"


class Absent(HostError):
    """The path does not exist."""


@dataclass(frozen=True, slots=True)
class Place:
    """An allowed file or device.

    Attributes:
        path: with symbolic links resolved.
        state: its status.
    """

    path: str
    state: os.stat_result


class AllowedPaths:
    """The rules of a node.

    Args:
        allowed: returns absolute paths at each use: directories, below which every file is allowed, single devices, or prefixes that
            end in `*` (`/dev/drbd*`). None allows everything, for a process that makes its own connections.
    """

    def __init__(self, allowed: Callable[[], Iterable[str]] | None) -> None:
        self._allowed = allowed

    def locate(self, path: str) -> Place:
        """Look up a path of a connection.

        Raises:
            InvalidRequest: the path is not allowed, contains a symbolic link, or is neither a file nor a block device.
            Absent: the path does not exist.
            HostError: the path cannot be examined.
        """
        if self._allowed is None:
            return _anything(path)
        plain = _plain(path)
        if not path.startswith("/") or ".." in plain.split("/") or "\0" in path:
            raise InvalidRequest("publish_context", f"path must be absolute and must not contain '..' (got {path!r})")
        for entry in self._allowed():
            for base in dict.fromkeys((_plain(entry), os.path.realpath(entry))):
                if _covers(base, plain):
                    return _device(plain) if _is_below(_DEV, plain) else file_below(base, plain)
        raise InvalidRequest(
            "publish_context", f"path {plain} is outside the paths allowed for volumes on this node (setting {SETTING})"
        )


def file_below(base: str, path: str) -> Place:
    """The regular file at `path`, below the directory `base`. No component below `base` may be a symbolic link.

    Raises:
        InvalidRequest: a component is a link, the file is not a regular file, or the path contains "..".
        Absent: the path does not exist.
        HostError: the path cannot be examined.
    """
    if not _is_below(base, path):
        raise InvalidRequest("publish_context", f"path {path} is outside {base}")
    real = os.path.realpath(base)
    parts = path[len(base.rstrip("/")) :].strip("/").split("/")
    if ".." in parts:
        raise InvalidRequest("publish_context", f"path must not contain '..' (got {path!r})")
    with kernel.named(f"cannot look up {path}"), ExitStack() as undo:
        try:
            where = undo.enter_context(_Opened(real, os.O_DIRECTORY))
            for part in parts[:-1]:
                where = undo.enter_context(_Opened(part, os.O_DIRECTORY | os.O_NOFOLLOW, where))
            state = os.fstat(undo.enter_context(_Opened(parts[-1], os.O_NOFOLLOW, where)))
        except FileNotFoundError:
            raise Absent(f"{path} does not exist") from None
        except NotADirectoryError:
            raise InvalidRequest(
                "publish_context", f"a component of {path} is not a directory; symbolic links are not allowed"
            ) from None
    if not stat.S_ISREG(state.st_mode):
        raise InvalidRequest("publish_context", f"{path} is not a regular file")
    return Place("/".join((real.rstrip("/"), *parts)), state)


NOWHERE = AllowedPaths(tuple)
ANYWHERE = AllowedPaths(None)


class _Opened:
    """A path held open with O_PATH. Raises OSError."""

    def __init__(self, path: str, flags: int, directory: int | None = None) -> None:
        self._fd = os.open(path, os.O_PATH | os.O_CLOEXEC | flags, dir_fd=directory)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _covers(entry: str, path: str) -> bool:
    if entry.endswith("*"):
        return path.startswith(entry[:-1]) and "/" not in path[len(entry) - 1 :]
    return _is_below(entry, path) or (path == entry and _is_below(_DEV, path))


def _plain(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _is_below(base: str, path: str) -> bool:
    return path.startswith(base.rstrip("/") + "/")


def _device(path: str) -> Place:
    real = os.path.realpath(path)
    state = _state(real)
    if not _is_below(_DEV, real) or not stat.S_ISBLK(state.st_mode):
        raise InvalidRequest("publish_context", f"{path} is not a block device")
    return Place(real, state)


def _anything(path: str) -> Place:
    real = os.path.realpath(path)
    return Place(real, _state(real))


def _state(path: str) -> os.stat_result:
    with kernel.named(f"cannot look up {path}"):
        try:
            return os.stat(path)  # noqa: PTH116
        except FileNotFoundError:
            raise Absent(f"{path} does not exist") from None
