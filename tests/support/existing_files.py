"""Files in a directory, not made by a driver, and a back end that can import them. No test may lose one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

LOOP_FILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
Add = Callable[..., Path]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "volumes"
    made.mkdir()
    return made


@pytest.fixture
def files(make: MakeBackend, directory: Path) -> LocalBackend:
    options = {"loopfile_directories": [f"one:{directory}"], "max_over_subscription_ratio": 1000}
    return make("files", driver=LOOP_FILE, volume_types={"gold": VolumeType(extra_specs={"a": "b"})}, **options)


@pytest.fixture
def backends(files: LocalBackend) -> Backends:
    return Backends([files])


@pytest.fixture
def importing(store: ObservedStore, backends: Backends) -> Importing:
    return Importing(store, backends, KeyedLocks())


@pytest.fixture
def add(directory: Path) -> Iterator[Add]:
    """Makes a file with its name as content. After the test, every one of these files still has its content, under some name."""
    made: list[str] = []

    def add(name: str, length: int = BYTES_PER_GIB) -> Path:
        path = directory / name
        with path.open("wb") as file:
            file.write(name.encode())
            file.truncate(length)
        made.append(name)
        return path

    yield add
    left = [content_of(path) for path in directory.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert sorted(text for text in left if text) == sorted(made)


def content_of(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(100).rstrip(b"\0").decode()


def wanted(name: str = "disk.img", *, static: bool = False, **values: Any) -> ImportVolume:
    return ImportVolume(origin=Origin(backend="files", name=name, static=static), **values)


def origin(name: str = "disk.img") -> Origin:
    return Origin(backend="files", name=name)
