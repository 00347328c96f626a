"""Reads with limited patience."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from csi_cinderlib.brick.device import Device
from csi_cinderlib.node import health


def test_a_device_that_is_not_there_is_reported(tmp_path: Path) -> None:
    assert "gone" in health.device_problem(Device(path=str(tmp_path / "absent"), wwid="x"))
    assert "No such file" in health.Reader().problem(str(tmp_path / "absent"))


def test_a_file_that_answers_is_fine(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))
    assert health.Reader().problem(str(tmp_path / "f")) == ""


def test_a_read_that_hangs_is_reported_and_not_repeated(tmp_path: Path) -> None:
    """Opening a FIFO that nobody writes to hangs as a read from a device without paths does."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    reader = health.Reader(patience=0.1)
    assert "has not answered" in reader.problem(fifo)
    assert "has not answered" in reader.problem(fifo)
    (reading,) = (thread for thread in threading.enumerate() if thread.name == f"read {fifo}")
    os.close(os.open(fifo, os.O_WRONLY))
    reading.join()
    (tmp_path / "fifo").unlink()
    (tmp_path / "fifo").write_bytes(bytes(8192))
    assert reader.problem(fifo) == ""


def test_no_notes_of_errors_are_no_problem(tmp_path: Path) -> None:
    assert health.errors_noted(str(tmp_path / "absent")) == ""
