"""The host as this process sees it: directly, from a container that sees the host's processes, or from one that does not."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.brick import tools
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands

TOOL_SECONDS = 10.0
HIDDEN = "this container does not see the host (hostPID)"
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO (linux/proc_ns.h): its first process is the machine's."""
_FIRST_MOUNT_NAMESPACES = frozenset({0xEFFFFFF8, 0xF0000000, 0xF0000001})
"""MNT_NS_INIT_INO since Linux 6.17; before, the first inode numbers that the kernel assigned."""
_INITS = frozenset({"systemd", "init", "openrc-init", "runit", "s6-svscan", "launchd"})
_NAMESPACE = re.compile(r"\[(\d+)\]")


class View(enum.StrEnum):
    """How this process sees the host."""

    DIRECT = "direct"
    FROM_POD = "from a container with hostPID"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Host:
    """The host's files and programs.

    Args:
        root: directory of /proc, /sys and /dev, and of the /etc that this process reads.
        files: the host's root directory, None if it is not visible.
        view: how this process sees the host.
    """

    root: Path = Path("/")
    files: Path | None = Path("/")
    view: View = View.DIRECT

    @property
    def is_hidden(self) -> bool:
        return self.files is None

    def text(self, path: str) -> str | None:
        """Text of a file below `root`; None if it cannot be read."""
        return _read(self.root / path)

    def host_text(self, path: str) -> str | None:
        """Text of a file below the host's root; None if it cannot be read."""
        return None if self.files is None else _read(self.files / path)

    def has(self, path: str) -> bool:
        return (self.root / path).exists()

    def names(self, path: str) -> list[str]:
        """Sorted entries of a directory below `root`; none if it does not exist."""
        return _names(self.root / path)

    def host_names(self, path: str) -> list[str]:
        return [] if self.files is None else _names(self.files / path)

    def attributes(self, folder: str, *names: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Entries of a sysfs directory, each with the named attributes; "" for a missing attribute."""
        for entry in self.names(folder):
            yield entry, {name: (self.text(f"{folder}/{entry}/{name}") or "").strip() for name in names}

    def says(self, *argv: str) -> str:
        """Output of a program of the host or of this image. Raises HostError."""
        return commands.run(argv, timeout=TOOL_SECONDS).stdout

    def says_on_host(self, *argv: str) -> str:
        """Output of a program that must be the host's. Raises HostError."""
        entered = ["nsenter", "--target", "1", "--mount", "--"] if self.view is View.FROM_POD else []
        return commands.run([*entered, *argv], timeout=TOOL_SECONDS).stdout

    def processes(self) -> frozenset[str]:
        """Names of all visible processes, which the kernel cuts to 15 characters."""
        pids = (name for name in self.names("proc") if name.isdecimal())
        return frozenset((self.text(f"proc/{pid}/comm") or "").strip() for pid in pids)

    def listens(self, name: str) -> bool:
        """Whether a unix socket with that abstract name exists in this network namespace."""
        return f"@{name}" in (self.text("proc/net/unix") or "").split()

    @property
    def has_hosts_network(self) -> bool | None:
        """Whether this process uses the host's network; None if the host's network namespace is not visible."""
        if self.view is View.DIRECT:
            return True
        if self.is_hidden:
            return None
        own, first = _namespace(self.root, "self", "net"), _namespace(self.root, "1", "net")
        return None if own is None or first is None else own == first


def this() -> Host:
    """The host on which this process runs."""
    if tools.sees_host():
        return Host(files=tools.HOST_ROOT, view=View.FROM_POD)
    if _is_host():
        return Host()
    return Host(files=None, view=View.HIDDEN)


def _is_host() -> bool:
    """Whether this process runs outside containers, or in a system container with its own init."""
    root = Path("/")
    if (_read(root / "proc/1/comm") or "").strip() in _INITS:
        return True
    if _namespace(root, "self", "pid") != _FIRST_PID_NAMESPACE:
        return False
    own, first = _namespace(root, "self", "mnt"), _namespace(root, "1", "mnt")
    return own == first if first is not None else own in _FIRST_MOUNT_NAMESPACES


def _namespace(root: Path, process: str, kind: str) -> int | None:
    try:
        found = _NAMESPACE.search(os.fspath((root / f"proc/{process}/ns/{kind}").readlink()))
    except OSError:
        return None
    return int(found[1]) if found else None


def try_says(host: Host, argv: Sequence[str]) -> tuple[str, str]:
    """Output of a program, or "" and the error."""
    try:
        return host.says(*argv), ""
    except HostError as error:
        return "", str(error)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):
        return None


def _names(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir())
    except OSError:
        return []
