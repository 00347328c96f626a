"""A trial of a StorageClass's mkfs options, on an empty in-memory file of the volume's size.

Only mkfs itself can check its values, their combinations, and whether they fit a volume. A trial takes milliseconds and almost no
memory: ext4 and xfs have a dry-run mode, and btrfs writes 4 MiB for any size.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Sequence

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, kernel, mkfsoptions
from csi_cinderlib.host.devices import SECTOR
from csi_cinderlib.host.signatures import FILE_SYSTEM_SPAN, recognise
from csi_cinderlib.model.size import BYTES_PER_GIB, Bytes

SECONDS = 30.0
_DRY = {"ext4": ("-n",), "xfs": ("-N",)}
_SMALL = Bytes(BYTES_PER_GIB)
"""The size on which an ext4 is really created, to find errors that the dry run misses. No options fill more than this."""
_LARGEST = 64 * 1024 * BYTES_PER_GIB
"""The maximum trial size: the time and memory of mke2fs grow with the size."""
_MEMORY = 256 * 1024**2
"""Bytes of address space. Usual options need 40 MB for 64 TiB; millions of small block groups would need gigabytes."""
_XFS_SECTOR = re.compile(r"(?:^|,)size=(\d+)(k?)(?:,|$)")


def refusal(fs_type: str, options: Sequence[str], *, size: Bytes, sector: int = SECTOR) -> str:
    """Why the file system cannot be created with these options, as a clause that names the option; "" if it can.

    Also "" if this host cannot check: mkfs is missing, or fails without the options as well.

    Args:
        options: allowed options (`mkfsoptions.check`).
        size: the size of the device.
        sector: logical sector size in bytes; 512 if the back end does not report it.
    """
    if not options:
        return ""
    try:
        return _judge(fs_type, tuple(options), size, sector)
    except HostError:
        return ""


@functools.lru_cache(maxsize=1024)
def _judge(fs_type: str, options: tuple[str, ...], size: Bytes, sector: int) -> str:
    """Cached, so that a StorageClass is tried once for each size. If the check is not possible, it raises and is not cached."""
    problem = _attempt(fs_type, options, size, sector)
    if not problem or _attempt(fs_type, (), size, sector):
        return ""
    results = ((option, _attempt(fs_type, option, size, sector)) for option in _each(fs_type, options))
    guilty, said = next(((option, said) for option, said in results if said), (options, problem))
    sectors = f" with sectors of {sector} bytes" if sector != SECTOR else ""
    tool = mkfsoptions.TOOLS[fs_type].argv[0]
    return f"{tool} cannot use {' '.join(guilty)!r} for a volume of {size // BYTES_PER_GIB} GiB{sectors}: {said}"


def _each(fs_type: str, options: Sequence[str]) -> Iterator[tuple[str, ...]]:
    tool = mkfsoptions.TOOLS[fs_type]
    for name, value in mkfsoptions.split(fs_type, options):
        word = name.lstrip("-")
        yield (name, value) if f"{word}:" in tool.short or f"{word}=" in tool.long else (name,)


def _attempt(fs_type: str, options: Sequence[str], size: Bytes, sector: int) -> str:
    """The error message of mkfs, or "". Raises HostError if mkfs cannot be run."""
    argv = mkfsoptions.command(fs_type, options)
    if fs_type == "xfs" and sector > SECTOR:
        asked = _xfs_sector(fs_type, options)
        if asked and asked < sector:
            return f"the sector size of {asked} bytes is smaller than that of the device ({sector} bytes)"
        argv += [] if asked else ["-s", f"size={sector}"]
    dry = [argv[0], *_DRY.get(fs_type, ()), *argv[1:]]
    problem = _run(dry, size, sector, makes="" if fs_type in _DRY else fs_type)
    if problem or fs_type != "ext4" or _run(dry, _SMALL, sector):
        return problem
    return _run(argv, _SMALL, sector, makes=fs_type)


def _xfs_sector(fs_type: str, options: Sequence[str]) -> int:
    """The sector size in the options, or 0."""
    for name, value in mkfsoptions.split(fs_type, options):
        if name == "-s" and (found := _XFS_SECTOR.search(value)):
            return int(found[1]) * (1024 if found[2] else 1)
    return 0


def _run(argv: Sequence[str], size: Bytes, sector: int, *, makes: str = "") -> str:
    """Run mkfs on a file of that size and return its error message, or "".

    Args:
        makes: the expected file system afterwards; "" for a dry run.
    """
    with kernel.named(f"cannot try {argv[0]}"):
        file = os.memfd_create("mkfs-trial")
        path = f"/proc/self/fd/{file}"
        try:
            os.ftruncate(file, min(size, _LARGEST))
            output = commands.run(
                ["prlimit", f"--as={_MEMORY}", commands.find_tool(argv[0]), *argv[1:], path],
                timeout=SECONDS,
                ok=range(256),
                files=[file],
                environment={"MKE2FS_DEVICE_SECTSIZE": str(sector)},  # used by mke2fs only
            )
            head = os.pread(file, FILE_SYSTEM_SPAN, 0) if makes else b""
        finally:
            os.close(file)
    if output.code:
        said = mkfsoptions.complaint(output).replace(path, "the device")
        if "memory" in said.lower():
            raise HostError(f"{argv[0]}: {said}")  # the limit of the trial, not an error in the options
        return said
    found = recognise(head, b"", size) if makes else None
    name = found.name if found else "no known file system"
    return "" if not makes or name == makes else f"it would create {name} instead of {makes}"
