"""Kernel log messages about a device during a system call. An errno alone does not explain why a mount failed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KMSG = "/dev/kmsg"
_RECORD = 8192
"""The maximum size of a record, in bytes (Documentation/ABI/testing/dev-kmsg)."""
_MOST_LINES = 3


@contextmanager
def listening(device: str, fs_type: str) -> Iterator[Callable[[], str]]:
    """Yields a function that returns the messages logged since then about this device or file system type.

    It returns "" if there are none, or if this process may not read the log.
    """
    fd = -1
    with contextlib.suppress(OSError):
        fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(fd, 0, os.SEEK_END)
    try:
        yield lambda: "; ".join(_about(_messages(fd), Path(device).resolve().name, fs_type)[-_MOST_LINES:])
    finally:
        if fd >= 0:
            os.close(fd)


def _messages(fd: int) -> Iterator[str]:
    """A record of /dev/kmsg is "level,number,microseconds,flags;message", followed by indented lines with details."""
    while fd >= 0:
        try:
            record = os.read(fd, _RECORD)
        except BrokenPipeError:  # the kernel has overwritten the record
            continue
        except OSError:
            return
        yield record.decode(errors="replace").partition(";")[2].partition("\n")[0]


def _about(messages: Iterator[str], device: str, fs_type: str) -> list[str]:
    ours = re.compile(rf"\((?:device )?{re.escape(device)}(?: state \w+)?\)|^{re.escape(fs_type)}: ", re.IGNORECASE)
    return [" ".join(message.split()) for message in messages if ours.search(message)]
