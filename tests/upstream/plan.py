"""Which of Cinder's unit tests are run, and which process runs them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

SHARDS = 4
"""Processes per mode. Fixed, whatever the number of CPUs: the same tests share a process everywhere."""

FOLDERS = ("brick", "objects", "privsep", "targets", "volume/drivers", "zonemanager")
FILES = (
    "test_context",
    "test_coordination",
    "test_exception",
    "test_image_utils",
    "test_interface",
    "test_qos_specs",
    "test_ssh_utils",
    "test_utils",
    "test_volume_configuration",
    "test_volume_throttling",
    "test_volume_types",
    "test_volume_utils",
    "volume/test_capabilities",
    "volume/test_driver",
)
"""The drivers, and what Cinder's code that drivers share is tested by. The rest is of Cinder's services."""


def source_root() -> Path:
    """The directory that holds Cinder's package, without importing it."""
    found = importlib.util.find_spec("cinder")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parents[1]


def modules(root: Path, parts: Sequence[str] = ()) -> list[str]:
    """The names of the test modules, sorted; only those that contain one of `parts`, if there are any."""
    tests = root / "cinder" / "tests" / "unit"
    files = [file for folder in FOLDERS for file in (tests / folder).rglob("test_*.py")]
    files += [tests / f"{name}.py" for name in FILES]
    names = sorted(".".join(file.relative_to(root).with_suffix("").parts) for file in files)
    return [name for name in names if not parts or any(part in name for part in parts)]


def shards(names: Sequence[str]) -> list[list[str]]:
    """Cut the modules into stretches, none of them empty. A driver's modules stay together: some need what others have imported."""
    size = -(-len(names) // SHARDS)
    return [list(names[start : start + size]) for start in range(0, len(names), size)]
