"""Keeps Cinder's tests away from the machine on which they run.

Some tests replace too little and would run `nvme connect` or `mount` for real. Where privileged functions run in this process,
as they do in the product, that would happen as root.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys

_STANDARD = (0, 1, 2)
_STARTERS = {"subprocess.Popen": 1, "os.system": 0, "os.exec": 1, "os.posix_spawn": 1, "os.startfile": 0}
"""Audit events of Python that announce another program, with the position of its command."""


class Commands:
    """Refuses to start any program, and remembers which were wanted. It cannot be removed from a process."""

    def __init__(self) -> None:
        self._wanted: list[str] = []

    def refuse(self) -> None:
        sys.addaudithook(self._audit)

    def taken(self) -> tuple[str, ...]:
        """The commands since the last call."""
        wanted, self._wanted = self._wanted, []
        return tuple(wanted)

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        if event not in _STARTERS:
            return
        command = args[_STARTERS[event]]
        words = [_text(word) for word in (command if isinstance(command, list | tuple) else [command])]
        self._wanted.append(" ".join(words))
        raise FileNotFoundError(errno.ENOENT, "refused by the runner of Cinder's tests", words[0])


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
