"""The node is killed at each step with an encrypted volume; the retry, another node and a restart find a safe state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import UnsafeToFormat
from csi_cinderlib.host import luks, mounts
from csi_cinderlib.model.connection import Formatting
from tests.component.node.bed import BLOCK, CHANGED_KEY, EXT4, NEW_HEADER, NO_HEADER_YET, SIZE, Node
from tests.guest.inside.encrypted import KEY, OTHER, encrypted, killed_at, mappings, opens, power_off
from tests.guest.scenarios.test_guest_encryption import CANARY, digest, later, node, read, start, write

pytestmark = pytest.mark.guest("luks")
__all__ = ["node"]

COMPLETE = [step for step in NEW_HEADER if step not in NO_HEADER_YET]
BACK = ["unmounted", "closed", "disconnected"]


@pytest.mark.parametrize("step", [*NEW_HEADER, "stage.mounted"])
def test_the_retry_finishes_a_mounted_volume(node: Node, step: str) -> None:
    volume = encrypted(node)
    assert killed_at(step, node, "stage", "ext4", volume)
    again = Node(node.base)
    write(again.stage(volume))
    again.unstage(volume)
    assert read(again.stage(later(volume))) == CANARY
    again.unstage(volume)


@pytest.mark.parametrize("step", NEW_HEADER)
def test_the_retry_finishes_a_raw_device(node: Node, step: str) -> None:
    volume = encrypted(node)
    assert killed_at(step, node, "stage", "block", volume)
    again = Node(node.base)
    again.stage(volume, BLOCK)
    assert mappings() == ["cinderlib-vol"]
    again.unstage(volume)


@pytest.mark.parametrize("unstaged", [False, True])
@pytest.mark.parametrize("step", NO_HEADER_YET)
def test_another_node_encrypts_the_volume_again_if_the_first_one_died(node: Node, step: str, unstaged: bool) -> None:
    """Whether the first one comes back before that or not: it writes nothing any more."""
    (node.base / "b").mkdir()
    other = Node(node.base / "b")
    volume = encrypted(node)
    theirs = replace(volume, attachment="of-b@2", formatting=Formatting.UNKNOWN)
    assert killed_at(step, node, "stage", "ext4", volume)
    power_off()
    before = digest(volume)
    if unstaged:
        Node(node.base).unstage(volume)
        assert digest(volume) == before
    write(other.stage(theirs))
    other.unstage(theirs)
    if not unstaged:
        Node(node.base).unstage(volume)
    assert read(other.stage(theirs)) == CANARY
    other.unstage(theirs)


@pytest.mark.parametrize("step", COMPLETE)
@pytest.mark.parametrize("kind", ["ext4", "block"])
def test_what_another_node_has_written_is_kept_when_the_first_one_comes_back(node: Node, step: str, kind: str) -> None:
    """Without fencing, the first node can still reach the volume when its kubelet unstages it after a restart of the machine."""
    (node.base / "b").mkdir()
    other = Node(node.base / "b")
    capability = BLOCK if kind == "block" else EXT4
    volume = encrypted(node)
    assert killed_at(step, node, "stage", kind, volume)
    power_off()
    theirs = replace(volume, attachment="of-b@2", formatting=Formatting.UNKNOWN)
    staged = other.stage(theirs, capability)
    if kind == "block":
        Path(luks.path_of("cinderlib-vol")).write_bytes(CANARY)
    else:
        write(staged)
    other.unstage(theirs)
    Node(node.base).unstage(volume)
    other.stage(theirs, capability)
    found = start(luks.path_of("cinderlib-vol")) if kind == "block" else read(staged)
    other.unstage(theirs)
    assert found == CANARY


@pytest.mark.parametrize("step", COMPLETE)
def test_a_header_that_was_lost_under_any_rule_is_never_replaced(node: Node, step: str) -> None:
    volume = encrypted(node)
    assert killed_at(step, node, "stage", "ext4", volume)
    again = Node(node.base)
    again.unstage(volume)
    theirs = replace(volume, attachment="of-another@2", formatting=Formatting.UNKNOWN)
    write(again.stage(theirs))
    again.unstage(theirs)
    with volume.file.open("r+b") as file:
        file.truncate(0)
        file.truncate(SIZE)
    with pytest.raises(UnsafeToFormat, match="no encryption header was found on the device, but it has had one"):
        again.stage(theirs)


@pytest.mark.parametrize("step", BACK)
def test_the_way_back_is_finished_and_keeps_the_data(node: Node, step: str) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    assert killed_at(f"unstage.{step}", node, "unstage", "ext4", volume)
    again = Node(node.base)
    again.unstage(volume)
    assert mappings() == []
    assert read(again.stage(later(volume))) == CANARY
    again.unstage(volume)


@pytest.mark.parametrize("step", CHANGED_KEY)
def test_a_change_of_the_key_is_finished_by_the_retry(node: Node, step: str) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    node.unstage(volume)
    both = encrypted(node, key=OTHER, previous=KEY, formatting=Formatting.UNKNOWN)
    assert killed_at(step, node, "stage", "ext4", both)
    assert opens(volume, OTHER)
    again = Node(node.base)
    assert read(again.stage(both)) == CANARY
    assert (opens(volume, KEY), opens(volume, OTHER)) == (False, True)
    again.unstage(volume)


def test_a_restart_closes_the_mapping_of_a_stage_that_never_finished(node: Node) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    node.unstage(volume)
    assert killed_at("stage.header-opened", node, "stage", "ext4", later(volume))
    assert mappings() == ["cinderlib-vol"]
    assert Node(node.base).reconcile().cleaned == ("vol",)
    assert mappings() == []
    assert read(node.stage(later(volume))) == CANARY
    node.unstage(volume)


def test_a_restart_keeps_a_volume_in_use(node: Node) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    again = Node(node.base)
    assert again.reconcile().kept == ("vol",)
    assert read(again.stage(later(volume))) == CANARY
    assert again.stats(volume, again.staging_path(volume)).condition.abnormal is False
    again.unstage(volume)


def test_a_mapping_that_was_closed_by_another_program_is_opened_again(node: Node) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    mounts.unmount(node.staging_path(volume))
    luks.close("cinderlib-vol")
    assert read(node.stage(later(volume), EXT4)) == CANARY
    node.unstage(volume)
    assert not Path(luks.path_of("cinderlib-vol")).exists()
