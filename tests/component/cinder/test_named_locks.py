"""Cinder's named locks, which drivers and other processes take by the same names, are held while the driver works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.watching import failing

Call = Callable[[], object]
Case = Callable[[LocalBackend], tuple[Call, str, str]]
"""A call, the driver's method that works in it, and the lock that it needs."""


def a_clone(backend: LocalBackend) -> tuple[Call, str, str]:
    source = backend.create_volume(makers.volume())
    clone = makers.volume(source=source)
    return lambda: backend.create_volume(clone), "create_cloned_volume", f"{source.id}-delete_volume"


def a_restore(backend: LocalBackend) -> tuple[Call, str, str]:
    snapshot = backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    restored = makers.volume(source=snapshot)
    return lambda: backend.create_volume(restored), "create_volume_from_snapshot", f"{snapshot.id}-delete_snapshot"


def a_deletion(backend: LocalBackend) -> tuple[Call, str, str]:
    volume = backend.create_volume(makers.volume())
    return lambda: backend.delete_volume(volume), "delete_volume", f"{volume.id}-delete_volume"


def a_deletion_of_a_snapshot(backend: LocalBackend) -> tuple[Call, str, str]:
    snapshot = backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    return lambda: backend.delete_snapshot(snapshot), "delete_snapshot", f"{snapshot.id}-delete_snapshot"


def is_free(name: str) -> bool:
    """Whether another thread gets the lock at once."""
    from cinder import coordination

    taken = []

    def take() -> None:
        lock = coordination.COORDINATOR.get_lock(name)
        if lock.acquire(blocking=False):
            taken.append(name)
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(taken)


@pytest.mark.parametrize("case", [a_clone, a_restore, a_deletion, a_deletion_of_a_snapshot])
def test_the_lock_is_held_while_the_driver_works_and_free_afterwards(backend: LocalBackend, case: Case) -> None:
    call, method, lock = case(backend)
    free = []
    driver: Any = backend.driver
    work = getattr(driver, method)

    def observed(*arguments: Any) -> Any:
        free.append(is_free(lock))
        return work(*arguments)

    setattr(driver, method, observed)
    call()
    assert free == [False]
    assert is_free(lock)


def test_a_driver_that_cannot_clean_its_locks_hinders_no_deletion(backend: LocalBackend, store: ObservedStore) -> None:
    driver: Any = backend.driver
    for method in ("clean_volume_file_locks", "clean_snapshot_file_locks"):
        failing(driver, method, PermissionError("not yours"))
    volume = backend.create_volume(makers.volume())
    backend.delete_snapshot(backend.create_snapshot(makers.snapshot(volume)))
    backend.delete_volume(volume)
    assert store.page(Volume).records == ()


def lock_files(id: str) -> list[str]:
    """The locks of a process are where its first Runtime has put them, which may be that of another folder's tests."""
    from cinder.coordination import COORDINATOR

    return [file.name for file in Path(COORDINATOR._file_path).parent.iterdir() if id in file.name]


def test_an_id_that_is_a_pattern_takes_no_locks_of_others_along(backend: LocalBackend) -> None:
    """Cinder looks for the files by a pattern, and a user of the library may choose an id."""
    other = backend.create_volume(makers.volume())
    snapshot = backend.create_snapshot(makers.snapshot(other))
    backend.create_volume(makers.volume(source=other))
    backend.create_volume(makers.volume(source=snapshot))
    wild = backend.create_volume(replace(makers.volume(), id="[0-9a-f]*"))
    backend.delete_snapshot(backend.create_snapshot(replace(makers.snapshot(wild), id="[0-9a-f]*")))
    backend.delete_volume(wild)
    assert lock_files(other.id)
    assert lock_files(snapshot.id)


@pytest.fixture(params=[False, True], ids=["one runtime", "a later runtime"])
def _runtimes(request: pytest.FixtureRequest, runtime: Runtime, tmp_path: Path) -> Iterator[None]:
    """Cinder looks for the files of locks in the directory of the latest Runtime."""
    later = Runtime(tmp_path)
    if request.param:
        later.start()
    yield
    later.close()


@pytest.mark.usefixtures("_runtimes")
def test_the_files_of_locks_go_with_what_they_are_named_after(backend: LocalBackend) -> None:
    driver: Any = backend.driver
    cleaned: list[tuple[str, str]] = []
    driver.clean_volume_file_locks = lambda id: cleaned.append(("volume", id))
    driver.clean_snapshot_file_locks = lambda id: cleaned.append(("snapshot", id))
    volume = backend.create_volume(makers.volume())
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    backend.create_volume(makers.volume(source=snapshot))
    assert lock_files(snapshot.id)
    backend.delete_snapshot(snapshot)
    assert (lock_files(snapshot.id), cleaned) == ([], [("snapshot", snapshot.id)])
    backend.create_volume(makers.volume(source=volume))
    assert lock_files(volume.id)
    backend.delete_volume(volume)
    assert (lock_files(volume.id), cleaned[1:]) == ([], [("volume", volume.id)])
