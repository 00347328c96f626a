"""A node on a temporary directory, whose mounts and loop devices are taken down whatever the test did."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.host import devices, loopctl, mounts
from csi_cinderlib.node.staging import Staging
from tests.component.node.bed import MIB, Node, WatchedInitiator

LARGE = 16 * MIB


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path)
    for item in reversed(mounts.table()):
        if item.target.startswith(str(tmp_path)):
            with contextlib.suppress(Exception):
                mounts.unmount(item.target, lazy=True)
    for _ in range(2):  # views first, then what they show
        for number in loopctl.attached():
            if leftovers(tmp_path, number):
                with contextlib.suppress(Exception):
                    device = loopctl.node(number)
                    devices.detach_file(device, expected=devices.identity(device))
    for path in tmp_path.iterdir():  # pytest keeps the directories of three runs, and these files have gigabytes in all
        if path.is_file() and path.stat().st_size >= LARGE:
            path.unlink()


@pytest.fixture
def watched(node: Node) -> WatchedInitiator:
    node.initiator = WatchedInitiator(node.base / "state")
    node.staging = Staging(node.records, node.initiator, node.sealer, node.locks)
    return node.initiator


def leftovers(base: Path, number: int) -> bool:
    shown = loopctl.backing_path(number)
    if shown.startswith("/dev/loop"):
        shown = loopctl.backing_path(int(shown.removeprefix("/dev/loop")))
    return shown.startswith(str(base))


def mounted_below(base: Path) -> list[str]:
    return [item.target for item in mounts.table() if item.target.startswith(str(base))]


def loops_of(base: Path) -> list[str]:
    return [loopctl.node(number) for number in loopctl.attached() if leftovers(base, number)]


def assert_nothing_left(base: Path) -> None:
    assert mounted_below(base) == []
    assert loops_of(base) == []
    assert sorted(path.name for path in (base / "state" / "stage").iterdir()) == []
