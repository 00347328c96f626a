"""Finds the configuration files, and merges several files into one tree."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.config import document, foreign, scalars
from csi_cinderlib.errors import ConfigurationError, Problems
from csi_cinderlib.observe import logs

_BACKENDS = "backends"
_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """A directory.

    Attributes:
        files: configuration files, in the order of their names.
        ignored: the other entries, without hidden ones, such as those that Kubernetes adds to mounted files.
    """

    files: tuple[Path, ...] = ()
    ignored: tuple[Path, ...] = ()


def in_directory(directory: Path) -> Listing:
    """List a directory. Raises ConfigurationError if it cannot be read."""
    try:
        entries = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigurationError(str(directory), f"cannot be read: {error.strerror}") from None
    files = tuple(path for path in entries if path.suffix in document.SUFFIXES and not _is_special(path))
    return Listing(files, tuple(path for path in entries if path not in files))


def _is_special(path: Path) -> bool:
    """Whether it is a directory, a pipe, a socket or a device: reading these may block or never end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # reading it reports the error


def read(path: Path) -> object:
    """The tree of one file, see `document.read`. Raises ConfigurationError, even for settings of another program."""
    text = document.read_text(path)
    foreign.refuse_text(path, text)
    tree = document.parse(path, text)
    foreign.refuse_tree(path, tree)
    return tree


def read_merged(paths: Sequence[Path], problems: Problems) -> dict[str, object]:
    """The settings of several files and of directories of files.

    Args:
        problems: gets files that cannot be read, back ends that two files configure, and values on which two files disagree.
    """
    merged = _Merged(problems)
    with problems:
        for path in dict.fromkeys(_expanded(paths)):
            with problems:
                merged.add(path, read(path))
    if paths and merged.is_empty and not problems.keys:
        problems.add(" ".join(map(str, paths)), "contains no settings; write {} for the defaults")
    return merged.tree


def _expanded(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        listing = in_directory(path)
        if not listing.files:
            raise ConfigurationError(str(path), "has no files with names that end in .yaml, .yml or .json")
        for entry in listing.ignored:
            _log.warning(
                "configuration file ignored", path=str(entry), reason="its name must end in .yaml, .yml or .json"
            )
        yield from listing.files


class _Merged:
    """One tree, with the file of each value."""

    def __init__(self, problems: Problems) -> None:
        self.tree: dict[str, object] = {}
        self.problems = problems
        self.is_empty = True
        self._origins: dict[str, Path] = {}

    def add(self, path: Path, tree: object) -> None:
        if tree is None:
            return
        if not isinstance(tree, dict):
            raise scalars.wrong(dict, tree, str(path))
        self.is_empty = False
        self._merge(self.tree, tree, path, "")

    def _merge(self, into: dict[str, object], tree: Mapping[str, object], path: Path, prefix: str) -> None:
        for key, value in tree.items():
            where, old = f"{prefix}{key}", into.get(key)
            if isinstance(old, dict) and isinstance(value, dict) and prefix != f"{_BACKENDS}.":
                self._merge(old, value, path, f"{where}.")
            elif key not in into or old is None:
                into[key] = value
                self._remember(where, value, path)
            elif value is not None and (old != value or prefix == f"{_BACKENDS}."):
                what = "is configured" if prefix == f"{_BACKENDS}." else "has different values"
                self.problems.add(where, f"{what} in {self._origin(where)} and {path}; keep one")

    def _remember(self, where: str, value: object, path: Path) -> None:
        self._origins[where] = path
        if isinstance(value, dict):
            for key, item in value.items():
                self._remember(f"{where}.{key}", item, path)

    def _origin(self, where: str) -> Path | None:
        return self._origins.get(where)
