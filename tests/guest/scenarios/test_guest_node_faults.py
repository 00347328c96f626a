"""Devices that fail under the node: nothing unreadable is ever formatted, no lost write is ever passed over (promise 1)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.errors import DriverError, HostError
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.size import Bytes
from tests.guest.inside import faults
from tests.guest.inside.faults import FaultyDevice
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.shell import keep_in_memory, modprobe, run
from tests.guest.inside.staged import Node

pytestmark = pytest.mark.guest("files")

SIZE = 64 << 20


@pytest.fixture
def device(tmp_path: Path) -> Iterator[FaultyDevice]:
    """A device that fails on demand, over a file of zeros."""
    modprobe("loop")
    run("truncate", "-s", str(SIZE), tmp_path / "image")
    loop = run("losetup", "--find", "--show", tmp_path / "image").strip()
    with faults.faulty("faulty", loop) as device:
        yield device
    run("losetup", "--detach", loop)


@pytest.fixture
def node(tmp_path: Path, device: FaultyDevice) -> Iterator[Node]:
    before = Footprint.now()
    node = Node(tmp_path)
    yield node
    device.heal()
    for record in node.records.all().records:
        node.unstage(record.volume_id)
    assert Footprint.now().left_since(before) == {}


def connection(device: FaultyDevice, formatting: Formatting = Formatting.NEVER_FORMATTED) -> Connection:
    return Connection(
        volume_id="volume",
        attachment="of-this-node@1",
        protocol="local",
        data={"device_path": device.path},
        size=Bytes(SIZE),
        formatting=formatting,
    )


def content(device: FaultyDevice) -> bytes:
    run("blockdev", "--flushbufs", device.beneath)
    return Path(device.beneath).read_bytes()


def with_file_system(device: FaultyDevice, text: str, where: Path) -> None:
    run("mkfs.ext4", "-q", device.path)
    run("mount", device.path, where)
    (where / "file").write_text(text)
    run("umount", where)


@pytest.mark.parametrize("fault", ["fail_all", "fail_head", "fail_tail"])
def test_a_device_that_cannot_be_read_is_never_formatted(node: Node, device: FaultyDevice, fault: str) -> None:
    getattr(device, fault)()
    with pytest.raises(HostError, match="Input/output error"):
        node.stage(connection(device))
    device.heal()
    assert not any(content(device))
    assert (node.stage(connection(device)) / "lost+found").is_dir()


def test_a_file_system_behind_an_unreadable_superblock_is_found_when_the_device_heals(
    node: Node, device: FaultyDevice, tmp_path: Path
) -> None:
    where = tmp_path / "by-hand"
    where.mkdir()
    with_file_system(device, "precious", where)
    device.fail_head(16)
    with pytest.raises(DriverError):
        node.stage(connection(device))
    device.heal()
    assert (node.stage(connection(device)) / "file").read_text() == "precious"


def test_a_mkfs_that_failed_half_way_is_done_again(node: Node, device: FaultyDevice) -> None:
    device.fail_writes()
    with pytest.raises(HostError):
        node.stage(connection(device))
    device.heal()
    assert (node.stage(connection(device)) / "lost+found").is_dir()


def test_a_write_that_was_lost_is_told_once_and_then_the_volume_can_go(node: Node, device: FaultyDevice) -> None:
    path = node.stage(connection(device))
    keep_in_memory(path)  # or the journal fails first, on its own, and nothing more is asked of the device
    device.fail_writes()
    with (path / "file").open("wb") as file:
        file.write(os.urandom(1 << 20))
    with pytest.raises(HostError, match="Input/output error"):
        node.unstage("volume")
    assert node.records.find("volume") is not None
    device.heal()
    for _ in range(4):  # as the kubelet does, until the kernel has noticed that this file system is beyond help
        with contextlib.suppress(HostError):
            node.unstage("volume")
    assert node.records.find("volume") is None
