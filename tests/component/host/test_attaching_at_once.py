"""Threads and processes that attach files to loop devices at the same time."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, identities, loopctl

pytestmark = pytest.mark.root

MIB = 1024 * 1024
ROOT = Path(__file__).parents[3]


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


OTHER = """
import sys
from csi_cinderlib.host import devices, loopctl
loopctl.CONTROL = sys.argv[1]
for line in sys.stdin:
    print(devices.attach_file(line.strip()), flush=True)
"""


def test_a_process_with_a_dev_of_its_own_gets_the_same_device(tmp_path: Path) -> None:
    """It does not share the lock, as its control device is another node."""
    control = tmp_path / "loop-control"
    os.mknod(control, stat.S_IFCHR | 0o600, Path(loopctl.CONTROL).stat().st_rdev)
    argv = [sys.executable, "-c", OTHER, str(control)]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        assert other.stdout
        for number in range(20):
            path = tmp_path / f"disk-{number}"
            path.write_bytes(bytes(MIB))
            print(path, file=other.stdin, flush=True)
            mine, theirs = devices.attach_file(str(path)), other.stdout.readline().strip()
            shown = [loopctl.node(number) for number, file in loopctl.attached().items() if file == str(path)]
            for _ in shown:
                devices.detach_from(str(path))
            assert shown == [mine] == [theirs]
        other.stdin.close()


def test_a_process_that_is_forked_during_an_attachment_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    ended, end = os.pipe()
    with loopctl.attaching(str(path), path.stat()):
        child = os.fork()
        if not child:
            os.close(end)
            os.read(ended, 1)  # until the parent closes its end
            os._exit(0)
    try:
        devices.attach_file(str(path))
        devices.detach_from(str(path))
    finally:
        os.close(end)
        os.close(ended)
        os.waitpid(child, 0)


def test_a_process_that_does_not_go_on_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    monkeypatch.setattr(loopctl, "LOCK_SECONDS", 0.2)
    with (
        loopctl.attaching(str(path), path.stat()),
        pytest.raises(HostError, match=f"another process has been attaching {path} for "),
    ):
        devices.attach_file(str(path))
    assert devices.find_attached(str(path)) is None


def test_the_lock_of_one_file_does_not_hold_up_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(bytes(MIB))
    with loopctl.attaching(str(one), one.stat()):
        devices.attach_file(str(other))
    devices.detach_from(str(other))


def test_an_attached_file_is_found_without_the_control_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    device = devices.attach_file(str(path))
    with monkeypatch.context() as patched:
        patched.setattr(loopctl, "CONTROL", str(tmp_path / "missing"))
        assert devices.attach_file(str(path)) == device
    devices.detach_from(str(path))


def test_a_device_that_another_process_has_taken_is_not_identified_as_the_volume(tmp_path: Path) -> None:
    path, other = tmp_path / "disk", tmp_path / "other"
    for file in (path, other):
        file.write_bytes(bytes(MIB))
    device = devices.attach_file(str(path))
    assert identities.of_loop_on(device, path.stat()) == devices.identity(device)
    with pytest.raises(HostError, match=f"{device} was detached by another process"):
        identities.of_loop_on(device, other.stat())
    devices.detach_from(str(path))
    with pytest.raises(HostError, match=f"{device} was detached by another process"):
        identities.of_loop_on(device, path.stat())
