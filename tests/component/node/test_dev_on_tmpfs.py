"""A container's /dev is a tmpfs: a published block volume is known there as well."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.node import mounted
from tests.component.node.bed import BLOCK, MIB, SIZE, Node
from tests.component.node.conftest import assert_nothing_left, loops_of

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def dev_on_tmpfs(tmp_path: Path, node: Node) -> Iterator[None]:
    """Cover /dev, in the private mount namespace of the tests, with a tmpfs that has the same device nodes."""
    nodes: dict[Path, os.stat_result] = {}
    for path in Path("/dev").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the kernel removes those of devices that go
            nodes[path] = path.lstat()
    mounts.mount("tmpfs", "/dev", "tmpfs", ("mode=755",))
    for path, state in nodes.items():
        if stat.S_IFMT(state.st_mode) in (stat.S_IFBLK, stat.S_IFCHR):
            os.mknod(path, state.st_mode, state.st_rdev)
    for number in range(256):
        if not (path := Path(f"/dev/loop{number}")).exists():
            os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, number))
    yield
    for item in reversed(mounts.table()):
        if item.target.startswith(str(tmp_path)):
            mounts.unmount(item.target)
    for _ in range(2):  # views first, then what they show
        for loop in loops_of(tmp_path):
            if not devices.holders(loop):
                devices.detach_file(loop, expected=devices.identity(loop))
    mounts.unmount_uppermost("/dev")


@pytest.mark.parametrize("read_only", [False, True])
def test_a_published_block_volume_is_seen(node: Node, read_only: bool) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    target = node.publish(volume, BLOCK, read_only=read_only)
    here = mounts.find(target)
    assert here
    assert (here.fs_type, mounts.bound_node(here)) == ("tmpfs", Path(target).stat().st_rdev)
    record = node.records.find("vol")
    assert record
    assert set(mounted.observe(record).places()[1]) == {target}
    assert node.publish(volume, BLOCK, read_only=read_only) == target
    assert mounts.find_all(target) == (here,)
    with pytest.raises(PreconditionFailed, match=r"is already published at .* allows only one target"):
        node.publish(volume, BLOCK, node.target("pod2"))
    with pytest.raises(PreconditionFailed, match="still published at"):
        node.unstage(volume)
    assert node.stats(volume, target).usage[0].total == SIZE
    volume.resize(SIZE + MIB)
    assert node.expand(volume, target, SIZE + MIB) == SIZE + MIB
    assert devices.size(target) == SIZE + MIB
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)
