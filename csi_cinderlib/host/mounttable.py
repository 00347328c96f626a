"""/proc's mountinfo, parsed (proc_pid_mountinfo(5))."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.host import kernel

MOUNTINFO = Path("/proc/thread-self/mountinfo")
"""This thread's, because threads may live in different mount namespaces."""

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_REMOTE = frozenset("9p afs beegfs ceph cifs coda glusterfs gpfs lustre ncpfs nfs nfs4 smb3 smbfs virtiofs".split())
"""File systems that may never answer a question about a file, FUSE apart. None of them is a /dev."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table.

    Attributes:
        device: as os.stat's st_dev of a file in it.
        root: the part of the file system that is mounted; for a bound device node the node's name.
        options: of this mount ("ro", "relatime"); `super_options` are the file system's.
        propagation: "shared:N", "master:N" ...; empty for a private mount.
    """

    id: int
    parent: int
    device: int
    root: str
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    fs_type: str
    source: str
    super_options: tuple[str, ...]

    def is_same(self, other: Mount | None) -> bool:
        """Whether two looks saw one mount. The kernel gives the id of a mount that ended to the next one, and options change."""
        return other is not None and all(getattr(self, name) == getattr(other, name) for name in _UNCHANGING)

    def shows_what(self, other: Mount) -> bool:
        """Whether both show one thing at one path. Where a directory is bound on itself and shared, each mount below it comes twice."""
        return all(getattr(self, name) == getattr(other, name) for name in _SHOWN)

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options

    @property
    def may_be_node(self) -> bool:
        """Whether it may show a single device node, as a published block volume does: part of a file system that always answers."""
        return self.root != "/" and self.fs_type not in _REMOTE and not self.fs_type.startswith("fuse")

    @property
    def shared(self) -> bool:
        return any(item.startswith("shared:") for item in self.propagation)


_SHOWN = ("device", "root", "target", "fs_type", "source")
_UNCHANGING = ("id", *_SHOWN)


def table() -> tuple[Mount, ...]:
    """Every mount that this thread sees, in the order of the kernel: of those on one path the uppermost is last."""
    with kernel.named("reading the mount table"):
        text = os.fsdecode(kernel.read(str(MOUNTINFO)))
    return tuple(_readable(text.split("\n")))


def _readable(lines: Iterable[str]) -> Iterator[Mount]:
    """A file system may show its options with a line break in them: what follows is no line of the table."""
    for line in lines:
        try:
            yield parse_line(line)
        except ValueError:
            continue


@functools.lru_cache(
    maxsize=2048
)  # most lines are those of the last time, and parsing costs more than the kernel's writing them
def parse_line(line: str) -> Mount:
    """One line of mountinfo, octal escapes undone.

    Raises:
        ValueError: it is none.
    """
    left, _, right = line.partition(" - ")
    number, parent, device, root, target, options, *propagation = left.split(" ")
    fs_type, source, super_options = right.split(" ", 2)  # 9p shows blanks in its options as they are
    major, minor = device.split(":")
    return Mount(
        id=int(number),
        parent=int(parent),
        device=os.makedev(int(major), int(minor)),
        root=_plain(root),
        target=_plain(target),
        options=tuple(options.split(",")),
        propagation=tuple(propagation),
        fs_type=_plain(fs_type),
        source=_plain(source),
        super_options=tuple(super_options.split(",")),
    )


def _plain(text: str) -> str:
    """Undo the octal escapes, byte by byte: a path may be in UTF-8, or in no encoding at all."""
    if "\\" not in text:
        return text
    return os.fsdecode(_ESCAPE.sub(lambda found: bytes((int(found[1], 8),)), os.fsencode(text)))
