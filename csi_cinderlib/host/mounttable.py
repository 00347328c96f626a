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
"""Of this thread, because threads may have different mount namespaces."""

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_REMOTE = frozenset("9p afs beegfs ceph cifs coda glusterfs gpfs lustre ncpfs nfs nfs4 smb3 smbfs virtiofs".split())
"""Network and other file systems that may never answer, besides FUSE. They never contain /dev."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table.

    Attributes:
        device: as st_dev of a file in it.
        root: the mounted directory of the file system; for a bound device node, the node's name.
        options: options of this mount ("ro", "relatime"); `super_options` are those of the file system.
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
        """Whether both are the same mount. The kernel reuses ids, and options may change."""
        return other is not None and all(getattr(self, name) == getattr(other, name) for name in _UNCHANGING)

    def shows_what(self, other: Mount) -> bool:
        """Whether both show the same content at the same path. With a shared bind mount of a directory on itself, mounts below it appear twice."""
        return all(getattr(self, name) == getattr(other, name) for name in _SHOWN)

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options

    @property
    def may_be_node(self) -> bool:
        """Whether it may be a bound device node, as for a published block volume. Excludes file systems that may not answer."""
        return self.root != "/" and self.fs_type not in _REMOTE and not self.fs_type.startswith("fuse")

    @property
    def shared(self) -> bool:
        return any(item.startswith("shared:") for item in self.propagation)


_SHOWN = ("device", "root", "target", "fs_type", "source")
_UNCHANGING = ("id", *_SHOWN)


def table() -> tuple[Mount, ...]:
    """All mounts of this thread, in the order of the kernel. At each path, the uppermost mount is last."""
    with kernel.named("cannot read the mount table"):
        text = os.fsdecode(kernel.read(str(MOUNTINFO)))
    return tuple(_readable(text.split("\n")))


def _readable(lines: Iterable[str]) -> Iterator[Mount]:
    """Parse the valid lines. A file system may print a line break in its options, which leaves an invalid line."""
    for line in lines:
        try:
            yield parse_line(line)
        except ValueError:
            continue


# Most lines are unchanged since the last read, and parsing costs more than reading.
@functools.lru_cache(maxsize=2048)
def parse_line(line: str) -> Mount:
    """Parse a line of mountinfo and decode its octal escapes.

    Raises:
        ValueError: the line is invalid.
    """
    left, _, right = line.partition(" - ")
    number, parent, device, root, target, options, *propagation = left.split(" ")
    fs_type, source, super_options = right.split(" ", 2)  # 9p does not escape blanks in its options
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
    """Decode the octal escapes bytewise: a path may have any encoding."""
    if "\\" not in text:
        return text
    return os.fsdecode(_ESCAPE.sub(lambda found: bytes((int(found[1], 8),)), os.fsencode(text)))
