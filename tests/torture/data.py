"""Data of known checksums, through the paths that a pod would use."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

from tests.torture.truth import GIB, Finding, Volume, digest

PIECES = 6
"""At most, in one volume; then the oldest is replaced."""
PIECE = 64 * 1024
"""Bytes at most. On a raw device each piece begins at a multiple of STRIDE."""
STRIDE = 100 * 1024**2
_MADE_BY_MKFS = "lost+found"


class Stopped(Exception):
    """The file system answers nothing, because an error stopped it: as when the log of an XFS met a full pool."""


def write(volume: Volume, target: Path, chance: random.Random) -> None:
    """A new piece, fsynced. What fails is not promised."""
    content = chance.randbytes(chance.randint(1, PIECE // 1024) * 1024)
    try:
        if len(volume.contents) >= PIECES:
            _drop_oldest(volume, target)
        key = _free_key(volume)
        if volume.kind == "block":
            _write_at(target, int(key) * STRIDE, content)
        else:
            _write_file(target / key, content)
    except OSError:
        return
    volume.contents[key] = f"{len(content)} {digest(content)}"


def verify(volume: Volume, target: Path) -> None:
    """Compare everything. Raises Finding, Stopped."""
    if volume.kind != "block":
        _raise_if_stopped(volume, target)
    problems = [
        f"{volume.name}: {key} holds {found}, not {wanted}"
        for key, wanted in volume.contents.items()
        if (found := _read(volume, target, key, int(wanted.split()[0]))) != wanted
    ]
    problems += _wrong_size(volume, target)
    if problems:
        raise Finding("; ".join(problems))


def _raise_if_stopped(volume: Volume, target: Path) -> None:
    try:
        os.statvfs(target)
        for key in volume.contents:
            with (target / key).open("rb") as file:
                file.read(1)
    except OSError as error:
        if error.errno == errno.EIO:
            raise Stopped(volume.name) from error


def _read(volume: Volume, target: Path, key: str, size: int) -> str:
    try:
        with (target if volume.kind == "block" else target / key).open("rb") as file:
            if volume.kind == "block":
                file.seek(int(key) * STRIDE)
            content = file.read(size if volume.kind == "block" else -1)
    except OSError as error:
        return f"nothing ({error.strerror})"
    return f"{len(content)} {digest(content)}"


def _wrong_size(volume: Volume, target: Path) -> list[str]:
    if volume.wanted != volume.size or volume.unstaged_growth:
        return []
    if volume.kind == "block":
        with target.open("rb") as device:
            size = device.seek(0, os.SEEK_END)
    else:
        numbers = os.statvfs(target)
        size = numbers.f_frsize * numbers.f_blocks
    if 0.85 * volume.size * GIB <= size <= volume.size * GIB:  # a file system keeps some for itself
        return []
    return [f"{volume.name}: shows {size} bytes, not {volume.size} GiB"]


def _free_key(volume: Volume) -> str:
    if volume.kind == "block":
        return next(str(place) for place in range(PIECES) if str(place) not in volume.contents)
    volume.written += 1
    return f"data-{volume.written}"


def _drop_oldest(volume: Volume, target: Path) -> None:
    key = next(iter(volume.contents))
    del volume.contents[key]
    if volume.kind != "block":
        (target / key).unlink(missing_ok=True)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_at(device: Path, offset: int, content: bytes) -> None:
    with device.open("r+b") as file:
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
