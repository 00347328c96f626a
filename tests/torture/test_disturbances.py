"""Disturbances have the effect that they are named for."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.host import mounts
from tests.torture import disturbances, plan
from tests.torture.disturbances import fill, trace
from tests.torture.plan import Disturbance

pytestmark = pytest.mark.root

RENAMES = """
import os, time
while True:
    try:
        os.rename(".", "x")
    except OSError as error:
        if error.strerror == "No space left on device":
            raise SystemExit(7)
    time.sleep(0.001)
"""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """It renames all the time, which fails with EBUSY, and ends with 7 when there is no space. Its tracer waits until it does so."""
    monkeypatch.setattr(disturbances, "TRACED_SECONDS", 60.0)
    with subprocess.Popen([sys.executable, "-c", RENAMES], cwd=tmp_path) as started:
        yield started
        started.kill()


def disturbance(name: str, error: str = "") -> Disturbance:
    return Disturbance(name, 0, "node", 0, "rename", 3, error)


def test_a_process_is_killed_at_a_system_call(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert trace(process.pid, disturbance(plan.SYSCALL_KILLS), tmp_path / "log", threading.Event())
    assert process.wait(60) == -signal.SIGKILL


def test_a_system_call_fails(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert trace(process.pid, disturbance(plan.SYSCALL_ERRORS, "ENOSPC"), tmp_path / "log", threading.Event())
    assert process.wait(60) == 7


def test_a_process_lives_on_when_the_round_is_over_first(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    over = threading.Event()
    over.set()
    late = Disturbance(plan.SYSCALL_KILLS, 0, "node", 0, "rename", 60_000, "")
    assert not trace(process.pid, late, tmp_path / "log", over)
    assert process.poll() is None


class Over(threading.Event):
    """The end of a round, which tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.is_awaited.set()
        return super().wait(timeout)


def test_a_disk_has_no_room_and_then_has_it_again(tmp_path: Path) -> None:
    mounts.mount("disk", str(tmp_path), "tmpfs", ("size=5m",))
    try:
        over = Over()
        filling = threading.Thread(target=fill, args=(tmp_path, 60, over))
        filling.start()
        assert over.is_awaited.wait(60)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (tmp_path / "more").write_bytes(b"x")
        over.set()
        filling.join()
        (tmp_path / "more").write_bytes(b"x")
    finally:
        mounts.unmount(str(tmp_path))
