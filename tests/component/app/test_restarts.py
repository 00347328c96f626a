"""How an administrator's command and the controller speak about a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.app import restarts
from csi_cinderlib.app.state_dir import hold
from csi_cinderlib.errors import HostError, NotFound


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Of a controller that runs."""
    with hold(tmp_path):
        yield tmp_path


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a b", "\u0101", "a" * 300])
def test_a_name_that_no_back_end_can_have_is_unknown(directory: Path, name: str) -> None:
    with pytest.raises(NotFound):
        restarts.request(directory, name)
    assert list(directory.rglob("*passwd")) == []


def test_requests_return_while_the_controller_answers(directory: Path) -> None:
    """Also when it answers between two looks at the file, and when two ask at once."""
    asking = threading.Event()
    asking.set()
    answered: list[str] = []

    def obey() -> None:
        while asking.is_set():
            for name in restarts.requested(directory):
                restarts.answer(directory, name)
                answered.append(name)

    controller = threading.Thread(target=obey)
    controller.start()
    try:
        deadline = time.monotonic() + 3
        restarts.request(directory, "array", patience=60)
        while time.monotonic() < deadline:
            restarts.request(directory, "array", patience=60)
    finally:
        asking.clear()
        controller.join()
    assert set(answered) == {"array"}


def test_a_controller_that_does_not_answer_leaves_no_request_behind(directory: Path) -> None:
    with pytest.raises(HostError, match=r"did not answer .*; if it stands by, ask the active one"):
        restarts.request(directory, "array", patience=0.1)
    assert list(restarts.requested(directory)) == []


def test_a_directory_that_cannot_be_written_is_named(directory: Path) -> None:
    (directory / restarts.DIRECTORY).write_text("no directory")
    with pytest.raises(HostError, match="cannot be asked"):
        restarts.request(directory, "array")
