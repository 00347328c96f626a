"""Removing what an interrupted mkfs left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, devices, filesystems, mounts
from csi_cinderlib.node.formatting import wipe
from tests.component.node.bed import MIB, Node

pytestmark = pytest.mark.root


def device_of(node: Node, size: int) -> str:
    """A device that is full of ones, and has 512 bytes more than whole MiB."""
    volume = node.volume(size=size + 512)
    volume.file.write_bytes(b"\1" * (size + 512))
    return devices.attach_file(str(volume.file))


def test_both_ends_are_zeroed_and_the_rest_is_left_alone(node: Node) -> None:
    device = device_of(node, 4 * MIB)
    wipe(device)
    content = Path(device).read_bytes()
    assert content == bytes(MIB) + b"\1" * (2 * MIB + 512) + bytes(MIB)
    assert filesystems.is_zero_head_and_tail(device)


def test_a_device_that_is_smaller_than_both_ends_is_zeroed_as_a_whole(node: Node) -> None:
    for device in (device_of(node, MIB), device_of(node, MIB // 2)):
        wipe(device)
        assert not any(Path(device).read_bytes())


def test_the_zeros_are_on_the_disk_before_the_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_of(node, 2 * MIB)
    synced = []
    fsync = os.fsync

    def observed(fd: int) -> None:
        synced.append((Path(f"/proc/self/fd/{fd}").readlink(), any(os.pread(fd, MIB, 0))))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", observed)
    wipe(device)
    assert synced == [(Path(device), False)]


def test_a_device_that_is_in_use_is_left_alone(node: Node) -> None:
    volume = node.volume()
    device = devices.attach_file(str(volume.file))
    commands.run(["mkfs.ext4", "-q", device], timeout=60)
    mounts.mount(device, node.staging_path(volume), "ext4", ())
    with pytest.raises(HostError, match=f"clearing {device}: Device or resource busy"):
        wipe(device)
    mounts.unmount(node.staging_path(volume))
    assert filesystems.probe(device)
