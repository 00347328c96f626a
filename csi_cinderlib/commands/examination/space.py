"""Free space in the state directory and in the pools of file-based back ends on this host."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from csi_cinderlib.commands.examination.findings import Finding, note, ok, problem, unknown
from csi_cinderlib.config.load import LOOPFILE_DRIVER
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.host import patience

_LOOK_SECONDS = 5.0
_MIB = 1024 * 1024
LEAST_BYTES = 8 * _MIB
"""Below this, a state directory counts as full: the free space is about the size of its reserve."""
LITTLE = 0.1
"""Fraction of a file system that should stay free."""


def examine(state_dir: Path, pools: Iterable[tuple[str, Path]]) -> Iterator[Finding]:
    yield _state(state_dir)
    for name, path in pools:
        yield _pool(name, path)


def local_pools(backends: Iterable[BackendSettings]) -> Iterator[tuple[str, Path]]:
    """Directories of loopfile back ends, each with its pool's name."""
    for backend in backends:
        given = backend.options.get("loopfile_directories") if backend.driver == LOOPFILE_DRIVER else None
        entries = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else ()
        for entry in map(str, entries):
            name, colon, path = entry.strip().partition(":")
            yield (f"pool {backend.name}/{name}", Path(path)) if colon else (f"pool {backend.name}", Path(name))


def _state(path: Path) -> Finding:
    what = "state directory"
    try:
        there, found = _measure(path)
    except (DriverError, OSError) as error:
        return unknown(what, f"{path}: {error}")
    where = str(path) if there == path else f"{path} (created at the first start) in {there}"
    if not there.is_dir():
        return problem(what, f"{there} is not a directory", "set another --state-dir", required=True)
    if found.f_flag & os.ST_RDONLY:
        return problem(what, f"{where} is on a read-only file system", "set a writable --state-dir", required=True)
    if there == path and not os.access(path, os.W_OK | os.X_OK):
        return problem(what, f"{where} is not writable by this user", "run it as the service's user", required=True)
    free, files = found.f_bavail * found.f_frsize, found.f_favail if found.f_files else 1
    if free < LEAST_BYTES or not files:
        return problem(
            what, f"{where}: {describe(found)}", "free up space: records can no longer be written", required=True
        )
    return _judge(what, where, found)


def _pool(what: str, path: Path) -> Finding:
    try:
        there, found = _measure(path)
    except (DriverError, OSError) as error:
        return unknown(what, f"{path}: {error}")
    if there != path:
        return note(
            what, f"{path} does not exist yet", "the driver creates it; if it should be a mount point, mount it first"
        )
    return _judge(what, str(path), found)


def _judge(what: str, where: str, found: os.statvfs_result) -> Finding:
    detail = f"{where}: {describe(found)}"
    short = found.f_bavail < LITTLE * found.f_blocks or (found.f_files and found.f_favail < LITTLE * found.f_files)
    return note(what, detail, "free up space: less than 10% is left") if short else ok(what, detail)


def describe(found: os.statvfs_result) -> str:
    """Free space and inodes as text. btrfs and some shares have no inode count."""
    unit = found.f_frsize
    text = f"{found.f_bavail * unit / 1024**3:.1f} of {found.f_blocks * unit / 1024**3:.1f} GiB free"
    return f"{text}, {found.f_favail} of {found.f_files} inodes free" if found.f_files else text


def _measure(path: Path) -> tuple[Path, os.statvfs_result]:
    """The nearest existing parent of a path, and its file system. Raises OSError, or NoAnswer for a hung share."""

    def look() -> tuple[Path, os.statvfs_result]:
        there = next((place for place in (path, *path.parents) if place.exists()), Path("/"))
        return there, os.statvfs(there)

    return patience.within(_LOOK_SECONDS, f"measuring {path}", look)
