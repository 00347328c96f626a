"""Threads and processes that attach files to loop devices at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from csi_cinderlib.host import devices, loopctl

pytestmark = pytest.mark.root

MIB = 1024 * 1024


def test_many_threads_that_attach_one_file_get_one_device(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(MIB))
    found: list[str] = []
    barrier = threading.Barrier(8)

    def attach() -> None:
        barrier.wait()
        found.append(devices.attach_file(str(path)))

    threads = [threading.Thread(target=attach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = devices.find_attached(str(path))
    assert left
    assert len(found) == 8
    devices.detach_from(str(path))
    assert devices.find_attached(str(path)) is None


def test_a_file_gets_one_device_even_if_lower_numbers_become_free_meanwhile(tmp_path: Path) -> None:
    """The first of two callers may have got a high number, and the second the low one that was freed in between."""
    ended = threading.Event()

    def attach_others(name: str) -> None:
        path = tmp_path / name
        path.write_bytes(bytes(MIB))
        while not ended.is_set():
            devices.attach_file(str(path))
            devices.detach_from(str(path))

    noise = [threading.Thread(target=attach_others, args=(name,)) for name in ("one", "two")]
    for thread in noise:
        thread.start()
    try:
        for number in range(60):
            assert len(attached_at_once(tmp_path / f"disk-{number}")) == 1
    finally:
        ended.set()
        for thread in noise:
            thread.join()


def attached_at_once(path: Path) -> set[str]:
    """The devices that eight threads get for a file, and those that show it. They are detached afterwards."""
    path.write_bytes(bytes(MIB))
    barrier = threading.Barrier(8)
    found: set[str] = set()

    def attach() -> None:
        barrier.wait()
        found.add(devices.attach_file(str(path)))

    threads = [threading.Thread(target=attach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found |= {loopctl.node(number) for number, shown in loopctl.attached().items() if shown == str(path)}
    for _ in found:
        devices.detach_from(str(path))
    return found


def test_many_threads_that_attach_many_files_all_succeed(tmp_path: Path) -> None:
    found: dict[int, str] = {}

    def attach(number: int) -> None:
        path = tmp_path / f"disk-{number}.img"
        path.write_bytes(bytes(MIB))
        found[number] = devices.attach_file(str(path))

    threads = [threading.Thread(target=attach, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in found:
        devices.detach_from(str(tmp_path / f"disk-{number}.img"))
    assert len(set(found.values())) == 16
