"""/proc's mountinfo, parsed (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.host import kernel

MOUNTINFO = Path("/proc/thread-self/mountinfo")
"""This thread's, because threads may live in different mount namespaces."""

_ESCAPE = re.compile(rb"\\([0-7]{3})")


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

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options

    @property
    def is_bound_node(self) -> bool:
        """Whether it shows one node of /dev, as a published block volume does."""
        return self.fs_type == "devtmpfs" and self.root != "/"

    @property
    def node(self) -> str:
        """The block device that is mounted or bound, or a word for what has none ("tmpfs")."""
        return self.target if self.is_bound_node else self.source

    @property
    def shared(self) -> bool:
        return any(item.startswith("shared:") for item in self.propagation)


def table() -> tuple[Mount, ...]:
    """Every mount that this thread sees, in the order of the kernel: of those on one path the uppermost is last."""
    with kernel.named("reading the mount table"):
        text = os.fsdecode(MOUNTINFO.read_bytes())
    return tuple(parse_line(line) for line in text.split("\n") if line)


def parse_line(line: str) -> Mount:
    """One line of mountinfo, octal escapes undone."""
    left, _, right = line.partition(" - ")
    number, parent, device, root, target, options, *propagation = left.split(" ")
    fs_type, source, super_options = right.split(" ")
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
