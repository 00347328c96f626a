"""A mount may be hidden from its own path by a later one above it. What the path leads to then is never taken for the volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import AlreadyExists, HostError, PreconditionFailed
from csi_cinderlib.host import mounts
from csi_cinderlib.model.capability import Capability
from tests.component.node.bed import BLOCK, EXT4, Node, Volume
from tests.component.node.conftest import assert_nothing_left

pytestmark = pytest.mark.root

CALLS: dict[str, Callable[[Node, Volume, str], object]] = {
    "stage": lambda node, volume, _: node.stage(volume),
    "publish": lambda node, volume, _: node.publish(volume),
    "stats": lambda node, volume, staged: node.stats(volume, staged),
    "expand": lambda node, volume, staged: node.expand(volume, staged),
    "unstage": lambda node, volume, _: node.unstage(volume),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_hidden_staging_mount_is_named_and_nothing_else_is_used(node: Node, call: str) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    above = str(Path(staged).parent)
    mounts.mount("foreign", above, "tmpfs")
    Path(staged).mkdir()
    with pytest.raises(HostError, match=rf"{staged} is hidden: tmpfs from foreign is mounted over it at {above}; "):
        CALLS[call](node, volume, staged)
    assert mounts.find(node.target()) is None
    mounts.unmount_uppermost(above)
    node.publish(volume)
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_volume_is_not_staged_where_it_would_hide_another_one(node: Node) -> None:
    volume, other = node.volume("one"), node.volume("other")
    staged = node.stage(volume)
    with pytest.raises(AlreadyExists, match=f"a mount there would hide {staged}"):
        node.stage(other, path=str(Path(staged).parent))
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("capability", [EXT4, BLOCK], ids=["mount", "block"])
def test_a_hidden_target_keeps_the_volume_published(node: Node, capability: Capability) -> None:
    volume = node.volume()
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    above = str(Path(target).parent)
    mounts.mount("foreign", above, "tmpfs")
    with pytest.raises(HostError, match=f"{target} is hidden: tmpfs from foreign"):
        node.publish(volume, capability)
    with pytest.raises(HostError, match=f"{target} is hidden: tmpfs from foreign"):
        node.unpublish(volume)
    with pytest.raises(PreconditionFailed, match=f"still published at {target}"):
        node.unstage(volume)
    mounts.unmount_uppermost(above)
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)
