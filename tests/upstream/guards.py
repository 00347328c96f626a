"""Keeps Cinder's tests away from the machine on which they run.

Some tests replace too little and would run `nvme connect` or `mount` for real. Where privileged functions run in this process,
as they do in the product, that would happen as root. Others leave threads behind that log in to a storage array, again and again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
import sys
from typing import Any

_STANDARD = (0, 1, 2)
_REASON = "refused by the runner of Cinder's tests"
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_STARTERS = {"subprocess.Popen": 1, "os.system": 0, "os.exec": 1, "os.posix_spawn": 1}
"""Audit events of Python that announce another program, with the position of its command."""


class Outside:
    """Refuses to start a program and to connect to another machine, and remembers what was wanted. It stays as long as the process.

    This machine may be reached: eventlet's threads wake its main loop through a connection of the process to itself.
    """

    def __init__(self) -> None:
        self._wanted: list[str] = []

    def refuse(self) -> None:
        sys.addaudithook(self._audit)

    def taken(self) -> tuple[str, ...]:
        """What was refused since the last call."""
        wanted, self._wanted = self._wanted, []
        return tuple(wanted)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _STARTERS:
            command = args[_STARTERS[event]]
            words = [_text(word) for word in (command if isinstance(command, list | tuple) else [command])]
            self._wanted.append(" ".join(words))
            raise FileNotFoundError(errno.ENOENT, _REASON, words[0])
        if event == "socket.connect" and args[0].family in _INTERNET and not _here(args[1][0]):
            self._wanted.append(f"connect {args[1][0]}")
            raise ConnectionRefusedError(errno.ECONNREFUSED, _REASON)


def _here(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _text(word: object) -> str:
    return os.fsdecode(word) if isinstance(word, str | bytes | os.PathLike) else repr(word)


class StandardFiles:
    """Puts the standard files back: a test that closes a mock closes descriptor 1, since `int(MagicMock())` is 1."""

    def __init__(self) -> None:
        self._kept = {number: fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 500) for number in _STANDARD}

    def restore(self) -> None:
        for number, kept in self._kept.items():
            with contextlib.suppress(OSError):
                if os.path.sameopenfile(number, kept):
                    continue
            os.dup2(kept, number)
