"""Reads the files of a source as text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from csi_cinderlib.config.document import LARGEST_FILE
from csi_cinderlib.errors import ConfigurationError, InvalidRequest

_SUFFIXES = (".conf", ".yaml", ".yml", ".json", ".env")


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        place: its path, for messages.
    """

    place: str
    text: str = field(repr=False)


def read(paths: Iterable[Path], config_dirs: Iterable[Path] = ()) -> list[File]:
    """The files in the order of oslo.config: later files take precedence.

    Args:
        paths: files and directories; `-` is standard input. `cinder.conf.d/*.conf` is read with the `cinder.conf` beside it.
        config_dirs: directories whose `*.conf` files are read after them.

    Raises:
        InvalidRequest: a file or directory does not exist, or has nothing to convert.
        ConfigurationError: a file cannot be read as text.
    """
    found = [file for path in paths for file in _of(path)]
    found += [file for path in config_dirs for file in _directory(path, (".conf",))]
    return list(dict.fromkeys(found))


def _of(path: Path) -> Iterator[File]:
    if str(path) == "-":
        if sys.stdin is None:
            raise InvalidRequest("-", "standard input is closed")
        yield File("standard input", _text(sys.stdin.buffer.read(LARGEST_FILE + 1), "standard input"))
    elif path.is_dir():
        main = path / "cinder.conf"
        yield from _of(main) if main.is_file() else _directory(path, _SUFFIXES)
    else:
        yield _file(path)
        beside = path.with_name(f"{path.name}.d")
        if path.suffix == ".conf" and beside.is_dir():
            yield from _directory(beside, (".conf",), may_be_empty=True)


def _directory(path: Path, suffixes: tuple[str, ...], *, may_be_empty: bool = False) -> Iterator[File]:
    if not path.is_dir():
        raise InvalidRequest(str(path), "must be a directory")
    files = sorted(
        item for item in path.iterdir() if item.suffix in suffixes and item.is_file() and item.name[0] != "."
    )
    if not files and not may_be_empty:
        raise InvalidRequest(
            str(path), f"has no files to convert; supported: {', '.join(f'*{suffix}' for suffix in suffixes)}"
        )
    yield from map(_file, files)


def _file(path: Path) -> File:
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InvalidRequest(str(path), f"cannot be read: {error.strerror}") from None
    return File(str(path), _text(content, str(path)))


def _text(content: bytes, place: str) -> str:
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(place, f"must not be larger than {LARGEST_FILE // 1024} KiB")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ConfigurationError(place, "is in UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            place, f"line {line} is not UTF-8: byte 0x{content[error.start]:02X}; convert the file with iconv"
        ) from None
    if "\0" in text:
        raise ConfigurationError(
            place,
            f"line {text[: text.index(chr(0))].count(chr(10)) + 1} contains a NUL character; the file must be text",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
