"""Whether mkfs takes a StorageClass's options, tried on a file in memory that has the volume's size and no content.

mkfs alone knows its values, which of them go together, and what fits into a volume. It takes milliseconds and almost no memory: ext4 and
xfs have a mode in which nothing is written, btrfs writes 4 MiB whatever the size.
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
"""On which ext4 is really made, for what its dry run does not see. No options fill more than this."""
_LARGEST = 64 * 1024 * BYTES_PER_GIB
"""Larger volumes are tried as this: the time and the memory that mke2fs takes grow with the size."""
_MEMORY = 256 * 1024**2
"""Bytes of address space. The usual options need 40 MB for 64 TiB; millions of small block groups would need gigabytes."""
_XFS_SECTOR = re.compile(r"(?:^|,)size=(\d+)(k?)(?:,|$)")


def refusal(fs_type: str, options: Sequence[str], *, size: Bytes, sector: int = SECTOR) -> str:
    """Why no such file system can be made with these options, as a clause that names the option; "" if it can.

    Also "" where this host cannot tell: it has no such mkfs, or one that fails without the options as well.

    Args:
        options: allowed ones (`mkfsoptions.check`).
        size: the device's.
        sector: bytes of its logical sectors; the usual 512 where the back end does not say.
    """
    if not options:
        return ""
    try:
        return _judge(fs_type, tuple(options), size, sector)
    except HostError:
        return ""


@functools.lru_cache(maxsize=1024)
def _judge(fs_type: str, options: tuple[str, ...], size: Bytes, sector: int) -> str:
    """Remembered, so that a StorageClass costs once for each size. What cannot be told is raised, and asked again."""
    problem = _attempt(fs_type, options, size, sector)
    if not problem or _attempt(fs_type, (), size, sector):
        return ""
    found = ((one, _attempt(fs_type, one, size, sector)) for one in _each(fs_type, options))
    guilty, said = next(((one, said) for one, said in found if said), (options, problem))
    sectors = f" with sectors of {sector} bytes" if sector != SECTOR else ""
    tool = mkfsoptions.TOOLS[fs_type].argv[0]
    return f"{tool} cannot use {' '.join(guilty)!r} for a volume of {size // BYTES_PER_GIB} GiB{sectors}: {said}"


def _each(fs_type: str, options: Sequence[str]) -> Iterator[tuple[str, ...]]:
    tool = mkfsoptions.TOOLS[fs_type]
    for name, value in mkfsoptions.split(fs_type, options):
        word = name.lstrip("-")
        yield (name, value) if f"{word}:" in tool.short or f"{word}=" in tool.long else (name,)


def _attempt(fs_type: str, options: Sequence[str], size: Bytes, sector: int) -> str:
    """What mkfs says against it, or "". Raises HostError when it cannot be run."""
    argv = mkfsoptions.command(fs_type, options)
    if fs_type == "xfs" and sector > SECTOR:
        asked = _xfs_sector(fs_type, options)
        if asked and asked < sector:
            return f"sectors of {asked} bytes are smaller than those of the device"
        argv += [] if asked else ["-s", f"size={sector}"]
    dry = [argv[0], *_DRY.get(fs_type, ()), *argv[1:]]
    problem = _run(dry, size, sector, makes="" if fs_type in _DRY else fs_type)
    if problem or fs_type != "ext4" or _run(dry, _SMALL, sector):
        return problem
    return _run(argv, _SMALL, sector, makes=fs_type)


def _xfs_sector(fs_type: str, options: Sequence[str]) -> int:
    """The sector size that the options ask for, or 0."""
    for name, value in mkfsoptions.split(fs_type, options):
        if name == "-s" and (found := _XFS_SECTOR.search(value)):
            return int(found[1]) * (1024 if found[2] else 1)
    return 0


def _run(argv: Sequence[str], size: Bytes, sector: int, *, makes: str = "") -> str:
    """Run a mkfs on a file of that size; what it complains of, or "".

    Args:
        makes: the file system that must be there afterwards; "" for a dry run.
    """
    with kernel.named(f"trying {argv[0]}"):
        file = os.memfd_create("mkfs-trial")
        path = f"/proc/self/fd/{file}"
        try:
            os.ftruncate(file, min(size, _LARGEST))
            output = commands.run(
                ["prlimit", f"--as={_MEMORY}", commands.find_tool(argv[0]), *argv[1:], path],
                timeout=SECONDS,
                ok=range(256),
                files=[file],
                environment={"MKE2FS_DEVICE_SECTSIZE": str(sector)},  # read by mke2fs only
            )
            head = os.pread(file, FILE_SYSTEM_SPAN, 0) if makes else b""
        finally:
            os.close(file)
    if output.code:
        said = mkfsoptions.complaint(output).replace(path, "the device")
        if "memory" in said.lower():
            raise HostError(f"{argv[0]}: {said}")  # of this trial, which has little: it is no fault of the options
        return said
    found = recognise(head, b"", size) if makes else None
    name = found.name if found else "nothing known"
    return "" if not makes or name == makes else f"it would make {name}, not {makes}"
