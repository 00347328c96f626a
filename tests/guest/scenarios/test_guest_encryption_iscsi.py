"""Encrypted volumes on iSCSI: a disk that is lost under its mapping, and one that grows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, PreconditionFailed
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.encryption import HEADER
from tests.guest.inside import iscsi, lvm
from tests.guest.inside.encrypted import KEY, mappings
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.lio import Target
from tests.guest.inside.offer import CHAP, Offer
from tests.guest.inside.shell import modprobe, run
from tests.guest.inside.staged import Node

pytestmark = pytest.mark.guest("luks")
MIB = 1 << 20


@pytest.fixture
def volume(group: str, initiator: str, addresses: list[str]) -> Iterator[Offer]:
    modprobe("dm_crypt")
    target = Target("iqn.2010-10.org.openstack:luks", addresses, chap=CHAP)
    with lvm.logical_volume(group, "secret", "120M") as device:
        offer = Offer("secret", device, target, 0, tuple(addresses))
        offer.map()
        yield offer
        target.delete()


@pytest.fixture
def node(tmp_path: Path, volume: Offer) -> Iterator[Node]:
    before = Footprint.now()
    node = Node(tmp_path)
    yield node
    for record in node.records.all().records:
        node.unstage(record.volume_id)
    assert Footprint.now().left_since(before) == {}


def connection(
    volume: Offer, formatting: Formatting = Formatting.NEVER_FORMATTED, attachment: str = "here@1"
) -> Connection:
    return replace(volume.connection(formatting, attachment=attachment), encryption="luks2")


def stage(
    node: Node, volume: Offer, formatting: Formatting = Formatting.NEVER_FORMATTED, attachment: str = "here@1"
) -> Path:
    return node.stage(connection(volume, formatting, attachment), secrets={"passphrase": KEY})


def write(folder: Path) -> None:
    with (folder / "file").open("w") as file:
        file.write("data")
        file.flush()
        os.fsync(file.fileno())


def test_a_volume_keeps_its_data_and_grows(node: Node, volume: Offer) -> None:
    path = stage(node, volume)
    write(path)
    volume.grow("200M")
    assert node.expand("secret", 200 * MIB) == 200 * MIB
    size = os.statvfs(path)
    assert size.f_blocks * size.f_frsize > 150 * MIB
    node.unstage("secret")
    assert mappings() == []
    assert (stage(node, volume, Formatting.UNKNOWN) / "file").read_text() == "data"
    assert int(run("blockdev", "--getsize64", "/dev/mapper/cinderlib-secret")) == 200 * MIB - HEADER


def test_a_disk_that_is_gone_is_let_go_with_its_mapping(node: Node, volume: Offer) -> None:
    write(stage(node, volume))
    for disk in iscsi.disks():
        Path(f"/sys/block/{disk}/device/delete").write_text("1")
    node.unstage("secret")
    assert mappings() == []
    assert (stage(node, volume, Formatting.UNKNOWN) / "file").read_text() == "data"


def test_a_lost_session_is_restored_by_staging_again(node: Node, volume: Offer) -> None:
    write(stage(node, volume))
    run("iscsiadm", "-m", "node", "-T", volume.target.iqn, "-u")
    assert (stage(node, volume, Formatting.UNKNOWN) / "file").read_text() == "data"


def test_what_an_earlier_attachment_did_not_write_is_never_written(node: Node, volume: Offer) -> None:
    write(stage(node, volume))
    with (node.path("secret") / "late").open("w") as late:
        late.write("in memory only")
    run("blockdev", "--flushbufs", volume.device)
    again = stage(node, volume, Formatting.UNKNOWN, "here@2")
    assert (again / "file").read_text() == "data"
    assert not (again / "late").exists() or (again / "late").read_text() == ""


def test_another_disk_at_the_address_is_not_opened(node: Node, volume: Offer, group: str) -> None:
    write(stage(node, volume))
    node.unstage("secret")
    with lvm.logical_volume(group, "other", "120M") as device:
        other = replace(volume, name="other", device=device)
        volume.unmap()
        other.map()
        before = Path(device).read_bytes()
        with pytest.raises((PreconditionFailed, HostError)):
            stage(node, volume, Formatting.UNKNOWN)
        run("blockdev", "--flushbufs", device)
        assert Path(device).read_bytes() == before
        assert mappings() == []
        for record in node.records.all().records:
            node.unstage(record.volume_id)
        other.unmap()
    volume.map()
