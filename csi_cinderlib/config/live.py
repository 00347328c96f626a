"""Reloads back ends and sealing keys from files of their own while a process runs.

In Kubernetes these files are mounted Secrets, which the kubelet replaces as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from csi_cinderlib.config import check, files
from csi_cinderlib.config.load import segments
from csi_cinderlib.config.reader import Reader
from csi_cinderlib.config.settings import BackendSettings, SealingKey, Settings
from csi_cinderlib.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Found:
    """The back ends of the settings and of the directory.

    Attributes:
        backends: in the order of the files' names.
        files: the file of each back end that comes from one.
        unreadable: errors by file. If there are any, missing back ends must not be removed.
        ignored: other entries of the directory.
        partial: back ends of files with problems, without the values that cannot be read; to be checked, not to be used.
    """

    backends: tuple[BackendSettings, ...]
    files: Mapping[str, Path]
    unreadable: Mapping[Path, ConfigurationError]
    ignored: tuple[Path, ...] = ()
    partial: tuple[BackendSettings, ...] = ()

    @property
    def broken(self) -> tuple[ConfigurationError, ...]:
        return tuple(self.unreadable.values())


def backends(settings: Settings, environment: Mapping[str, str] = os.environ) -> Found:
    """The back ends of `settings` and of its directory. A file with problems does not affect the others."""
    known = {backend.name: backend for backend in settings.backends}
    origins: dict[str, Path] = {}
    unreadable: dict[Path, ConfigurationError] = {}
    listing = _listing(settings, unreadable)
    partial: list[BackendSettings] = []
    for path in listing.files:
        try:
            _refuse_twin(path, listing)
            read = {
                backend.name: replace(backend, topology=segments(settings, backend.topology))
                for backend in _in_file(path, environment, taken=known, partial=partial)
            }
        except ConfigurationError as error:
            unreadable[path] = error
        else:
            known |= read
            origins |= dict.fromkeys(read, path)
    return Found(tuple(known.values()), origins, unreadable, listing.ignored, tuple(partial))


def _listing(settings: Settings, unreadable: dict[Path, ConfigurationError]) -> files.Listing:
    directory = Path(settings.backends_directory)
    if not settings.backends_directory:
        return files.Listing()
    if not directory.is_dir():
        unreadable[directory] = ConfigurationError("backends_directory", f"{directory} must be a directory")
        return files.Listing()
    try:
        return files.in_directory(directory)
    except ConfigurationError as error:
        unreadable[directory] = ConfigurationError("backends_directory", str(error))
    return files.Listing()


def _refuse_twin(path: Path, listing: files.Listing) -> None:
    """Refuse a.yaml beside a.yml: it is unclear which of them is up to date."""
    for other in listing.files:
        if other != path and other.stem == path.stem:
            raise ConfigurationError(str(path), f"has the same name as {other.name}; remove one of the files")


def sealing_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[SealingKey, ...]:
    """All keys for decryption: those of the file first, then those of `settings`, then the shared ones.

    Raises:
        ConfigurationError: a file cannot be read, or `sealing_keys_file` has no keys.
    """
    keys = settings.sealing_keys
    if settings.sealing_keys_file:
        read = _keys_in(Path(settings.sealing_keys_file), "sealing_keys_file", environment)
        if not read:
            raise ConfigurationError(
                "sealing_keys_file", f"{settings.sealing_keys_file} has no keys; add one with `csi-cinderlib new-key`"
            )
        keys = read + keys
    return keys + tuple(key for key in shared_keys(settings, environment) if key not in keys)


def shared_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[SealingKey, ...]:
    """The keys that nodes have as well. A new installation has no such file. Raises ConfigurationError."""
    path = Path(settings.shared_keys_file)
    if not settings.shared_keys_file or not path.exists():
        return ()
    return _keys_in(path, "shared_keys_file", environment)


def _keys_in(path: Path, key: str, environment: Mapping[str, str]) -> tuple[SealingKey, ...]:
    keys = Reader(environment).read(tuple[SealingKey, ...], files.read(path), key)
    assert isinstance(keys, tuple)
    return keys


def _in_file(
    path: Path, environment: Mapping[str, str], *, taken: Container[str], partial: list[BackendSettings]
) -> tuple[BackendSettings, ...]:
    """The back ends of a file. With a problem in the file, they are added to `partial`, and ConfigurationError is raised."""
    tree = files.read(path)
    if tree is None:
        raise ConfigurationError(str(path), "must not be empty; write {} for no back ends")
    reader = Reader(environment)
    read: tuple[BackendSettings, ...] = ()
    with reader.problems:
        value = reader.value(tuple[BackendSettings, ...], tree, f"{path}: backends")
        assert isinstance(value, tuple)
        read = value
    for backend in read:
        with reader.problems:
            _check(path, backend, taken)
    if reader.problems.keys:
        partial.extend(read)
    reader.problems.raise_all()
    return read


def _check(path: Path, backend: BackendSettings, taken: Container[str]) -> None:
    try:
        check.backend(backend)
    except ConfigurationError as error:
        raise error.within(f"{path}: ") from None
    if backend.name in taken:
        raise ConfigurationError(f"{path}: {backend.name}", "is already configured in another file; remove one")
