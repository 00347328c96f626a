"""Not collected by itself: what test_guest_launcher.py has a guest run, to see a guest die under a test."""

from __future__ import annotations

import time
from pathlib import Path


def test_before() -> None:
    assert Path("/dev/ubda").exists() is False


def test_deadly() -> None:
    Path("/proc/sysrq-trigger").write_text("c")
    time.sleep(100)
    raise AssertionError("the kernel outlived its crash")


def test_after() -> None:
    assert Path("/run/udev").is_dir()
