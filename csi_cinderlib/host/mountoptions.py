"""Mount options, split into the kernel's mount flags and the options for the file system."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from csi_cinderlib.host import kernel

# bind and remount are deliberately missing: as user options they would change the operation.
_SET = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "mand": 64,
    "dirsync": 128,
    "nosymfollow": 256,
    "noatime": 1024,
    "nodiratime": 2048,
    "silent": 1 << 15,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
    "lazytime": 1 << 25,
}
_CLEAR = {
    "rw": 1,
    "suid": 2,
    "dev": 4,
    "exec": 8,
    "async": 16,
    "nomand": 64,
    "symfollow": 256,
    "atime": 1024,
    "diratime": 2048,
    "loud": 1 << 15,
    "norelatime": 1 << 21,
    "nostrictatime": 1 << 24,
    "nolazytime": 1 << 25,
}
_FOR_PEOPLE = frozenset("defaults auto noauto user nouser users group owner _netdev nofail comment".split())
_WORD = re.compile(r'(?:[^,"]|"[^"]*"?)+')
"""SELinux contexts contain commas within quotes."""

_SET_FLAG, _SET_STRING = 0, 1
_SEPARATE = frozenset(("context", "fscontext", "defcontext", "rootcontext"))
"""Handled by the security module, not by the file system."""


@dataclass(frozen=True, slots=True)
class Options:
    """`flags` for mount(2), and the options for the file system, in the given order."""

    flags: int = 0
    data: tuple[str, ...] = ()


def parse(options: Sequence[str]) -> Options:
    """Split options. The last of conflicting options wins, as with mount(8)."""
    flags = 0
    data: list[str] = []
    for word in (word for item in options for word in _WORD.findall(item)):
        name = word.partition("=")[0]
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif name not in _FOR_PEOPLE and not word.startswith(("x-", "X-")):
            data.append(word)
    return Options(flags, tuple(data))


def is_read_only(options: Sequence[str]) -> bool:
    """Whether the options make a mount read-only."""
    return bool(parse(options).flags & _SET["ro"])


def names_of(flags: int) -> tuple[str, ...]:
    """The options that set these flags."""
    return tuple(name for name, flag in _SET.items() if flag & flags)


def security_labels(data: Sequence[str]) -> tuple[str, ...]:
    """The names of options for the security module, such as `context`."""
    return tuple(name for word in data if (name := word.partition("=")[0]) in _SEPARATE)


def rejected(fs_type: str, data: Sequence[str]) -> tuple[str, ...]:
    """The options that the file system does not accept, each tested with the kernel (fsopen(2), Linux 5.2).

    Empty if the kernel does not support the test.
    """
    try:
        context = kernel.call("syscall", kernel.FSOPEN, fs_type.encode(), 1)
    except OSError:
        return ()
    try:
        return tuple(word for word in data if word.partition("=")[0] not in _SEPARATE and not _accepts(context, word))
    finally:
        os.close(context)


def _accepts(context: int, word: str) -> bool:
    key, equals, value = word.partition("=")
    command, text = (_SET_STRING, value.encode()) if equals else (_SET_FLAG, None)
    try:
        kernel.call("syscall", kernel.FSCONFIG, context, command, key.encode(), text, 0)
    except OSError:
        return False
    return True
