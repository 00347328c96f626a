"""Whether a file is in use on this host. Use on other hosts of a shared directory cannot be seen."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.host import devices, kernel

_LOCAL = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "zfs"))
"""File systems whose leases show every other open descriptor on this host. NFS 4 refuses a lease without a delegation; others have none."""
_NO_LEASES = frozenset((errno.EINVAL, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.ENOLCK))
_PROCESSES = Path("/proc")
_OPEN = "in use: open in another process on this host"


@dataclass(frozen=True, slots=True)
class Usage:
    """The use of a file on this host.

    Attributes:
        problem: how it is used, as a clause, or "".
        is_seen: every use can be seen: the kernel has answered the question. Otherwise only the processes of this container were seen,
            for example on NFS, or for a file of another user without CAP_LEASE.
    """

    problem: str
    is_seen: bool


def look(path: str) -> Usage:
    """Raises OSError or HostError if the use is not known."""
    if device := devices.find_attached(path):
        return Usage(f"in use: attached to {device} on this host", is_seen=True)
    answer = _refuses_lease(path) if _file_system(path) in _LOCAL else None
    is_open = _is_open_in_process(path) if answer is None else answer
    return Usage(_OPEN if is_open else "", is_seen=answer is not None)


def _file_system(path: str) -> str:
    """The type of the file system that contains the file; "" if unknown."""
    places = [_parsed(line) for line in (_PROCESSES / "self/mountinfo").read_text().splitlines()]
    real = os.path.realpath(path)
    above = [(at, kind) for at, kind in places if at == "/" or f"{real}/".startswith(f"{at}/")]
    return max(reversed(above), key=lambda found: len(found[0]), default=("", ""))[1]


def _parsed(line: str) -> tuple[str, str]:
    """The place and type of a mount. The last one of several at a place is the visible one."""
    fields, _, rest = line.partition(" - ")
    place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields.split()[4])
    return place, rest.split()[0]


def _refuses_lease(path: str) -> bool | None:
    """Whether another process has the file open: the kernel then grants no write lease. None if there are no leases."""
    with kernel.opened(path, os.O_RDWR) as fd:
        # For a process that opens it now; the default signal would end this one.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return True
            if error.errno in _NO_LEASES:
                return None
            raise
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _is_open_in_process(path: str) -> bool:
    """Whether a process that this one can see has the file open."""
    found = Path(path).stat()
    for link in _open_files():
        with suppress(OSError):  # closed meanwhile
            other = link.stat()
            if (other.st_dev, other.st_ino) == (found.st_dev, found.st_ino):
                return True
    return False


def _open_files() -> Iterator[Path]:
    for process in _PROCESSES.iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # ended meanwhile, or of another user
                yield from (process / "fd").iterdir()
