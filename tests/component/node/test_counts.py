"""How often a node asks the kernel in a volume's life: fsyncs, reads of the mount table, opens of the device, scans of loop devices, programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.component.node.bed import Node

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[3]
KINDS = ("ext4", "block")

INTENT = RECORDED = STAGED = ["vol.json.new", "stage/"]
MARK = ["vol.new", "formatted/"]
REMOVAL = ["stage/"]


def lives(node: Node, kind: str) -> list[Any]:
    """What was heard of two lives: of a new volume, and of the same one with what the first life left on it."""
    argv = [sys.executable, "-m", "tests.component.node.counting", str(node.base), kind]
    heard: list[Any] = json.loads(subprocess.run(argv, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout)
    return heard


@pytest.mark.parametrize("kind", KINDS)
def test_what_must_survive_the_loss_of_power_is_synced_and_nothing_else(node: Node, kind: str) -> None:
    first, again = lives(node, kind)
    if kind == "ext4":
        device = Path(first["device"]).name
        assert first["stage"]["synced"] == [*INTENT, *RECORDED, device, *MARK, device, *STAGED]
        assert again["stage"]["synced"] == [*INTENT, *STAGED]  # what was found on the device is found again
    for life in (first, again):
        assert kind == "ext4" or life["stage"]["synced"] == [*INTENT, *STAGED]
        assert life["publish"]["synced"] == life["stats"]["synced"] == life["unpublish"]["synced"] == []
        assert life["unstage"]["synced"] == [Path(life["device"]).name, *REMOVAL]


def assert_opened_at_most(life: Any, path: str, most: Mapping[str, int]) -> None:
    seen = {call: life[call]["opened"].count(path) for call in most}
    assert all(seen[call] <= most[call] for call in most), f"{path}: {seen}, at most {most}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_mount_table_is_read_once_and_again_before_an_unmount(node: Node, kind: str) -> None:
    most = {"stage": 1, "publish": 1, "stats": 1, "unpublish": 2, "unstage": 2}
    for life in lives(node, kind):
        assert_opened_at_most(life, "/proc/thread-self/mountinfo", most)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("ext4", {"stage": 13, "publish": 1, "stats": 2, "unpublish": 1, "unstage": 4}),
        ("block", {"stage": 5, "publish": 2, "stats": 4, "unpublish": 2, "unstage": 5}),
    ],
)
def test_the_device_is_not_opened_to_ask_again_what_it_is(node: Node, kind: str, most: Mapping[str, int]) -> None:
    """Once of it is to see that a loop device shows the very file that was allowed, and none that took its place; and once, that the mark of
    the creation is still there before it is removed.
    """
    for life in lives(node, kind):
        assert_opened_at_most(life, life["device"], most)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("ext4", {"stage": 2, "publish": 0, "stats": 0, "unpublish": 0, "unstage": 0}),
        ("block", {"stage": 2, "publish": 1, "stats": 1, "unpublish": 1, "unstage": 1}),
    ],
)
def test_all_loop_devices_are_looked_through_no_more_than_needed(
    node: Node, kind: str, most: Mapping[str, int]
) -> None:
    """Before and after a file is attached, since another process may attach it too; of a block volume for its read-only view."""
    for life in lives(node, kind):
        assert_opened_at_most(life, "/sys/devices/virtual/block", most)
        assert life["stage"]["opened"].count("/sys/devices/virtual/block")


def test_mkfs_is_the_only_program_that_a_life_starts(node: Node) -> None:
    for life, started in zip(lives(node, "ext4"), (["mkfs.ext4"], []), strict=True):
        assert life["stage"]["started"] == started
        assert not any(life[call]["started"] for call in ("publish", "stats", "unpublish", "unstage"))
