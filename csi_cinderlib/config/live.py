"""What is read again while a process runs: back ends and sealing keys that lie in files of their own.

In Kubernetes these files are mounted Secrets, which the kubelet exchanges as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from csi_cinderlib.config import check
from csi_cinderlib.config.load import read_yaml, segments
from csi_cinderlib.config.reader import Reader
from csi_cinderlib.config.settings import BackendSettings, SealingKey, Settings
from csi_cinderlib.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Found:
    """What the directory of back ends holds.

    Attributes:
        backends: in the order of the files' names.
        files: the file of each back end that comes from one.
        unreadable: why files could not be read; with any, what is missing is to be left alone.
    """

    backends: tuple[BackendSettings, ...]
    files: Mapping[str, Path]
    unreadable: Mapping[Path, ConfigurationError]

    @property
    def broken(self) -> tuple[ConfigurationError, ...]:
        return tuple(self.unreadable.values())


def backends(settings: Settings, environment: Mapping[str, str] = os.environ) -> Found:
    """The back ends of `settings` and of its directory. One broken file does not hide the others."""
    known = {backend.name: backend for backend in settings.backends}
    files: dict[str, Path] = {}
    unreadable = {}
    directory = Path(settings.backends_directory) if settings.backends_directory else None
    if directory and not directory.is_dir():
        unreadable[directory] = ConfigurationError("backends_directory", f"{directory} is not a directory")
    for path in sorted(directory.glob("*.yaml")) if directory else ():
        try:
            read = {
                backend.name: replace(backend, topology=segments(settings, backend.topology))
                for backend in _in_file(path, environment, taken=known)
            }
        except ConfigurationError as error:
            unreadable[path] = error
        else:
            known |= read
            files |= dict.fromkeys(read, path)
    return Found(tuple(known.values()), files, unreadable)


def sealing_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[SealingKey, ...]:
    """All keys that open something: those of the file, which go first, those of `settings`, and those that nodes have, too.

    Raises:
        ConfigurationError: a file cannot be read, or that of `sealing_keys_file` holds no key.
    """
    keys = settings.sealing_keys
    if settings.sealing_keys_file:
        read = _keys_in(Path(settings.sealing_keys_file), "sealing_keys_file", environment)
        if not read:
            raise ConfigurationError("sealing_keys_file", f"{settings.sealing_keys_file} holds no key")
        keys = read + keys
    return keys + tuple(key for key in shared_keys(settings, environment) if key not in keys)


def shared_keys(settings: Settings, environment: Mapping[str, str] = os.environ) -> tuple[SealingKey, ...]:
    """The keys that nodes have, too. None without a file, for a new installation has none. Raises ConfigurationError."""
    path = Path(settings.shared_keys_file)
    if not settings.shared_keys_file or not path.exists():
        return ()
    return _keys_in(path, "shared_keys_file", environment)


def _keys_in(path: Path, key: str, environment: Mapping[str, str]) -> tuple[SealingKey, ...]:
    keys = Reader(environment).value(tuple[SealingKey, ...], read_yaml(path), key)
    assert isinstance(keys, tuple)
    return keys


def _in_file(path: Path, environment: Mapping[str, str], *, taken: Container[str]) -> tuple[BackendSettings, ...]:
    read = Reader(environment).value(tuple[BackendSettings, ...], read_yaml(path), f"{path}: backends")
    assert isinstance(read, tuple)
    for backend in read:
        try:
            check.backend(backend)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error.key}", error.problem) from None
        if backend.name in taken:
            raise ConfigurationError(f"{path}: {backend.name}", "is configured elsewhere already")
    return read
