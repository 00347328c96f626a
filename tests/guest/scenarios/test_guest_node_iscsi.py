"""The node on iSCSI: the promises of data safety, against a target that misbehaves on purpose."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.brick.execute import execute
from csi_cinderlib.errors import HostError, PreconditionFailed
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.records import Imported
from csi_cinderlib.provisioning.attachments import least_size
from tests.guest.inside import iscsi, lvm, multipath, network
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.lio import Target
from tests.guest.inside.offer import CHAP, Offer
from tests.guest.inside.shell import keep_in_memory, run, settle, wait_until
from tests.guest.inside.staged import Node
from tests.support.fakes import makers

pytestmark = pytest.mark.guest("iscsi")

IQN = "iqn.2010-10.org.openstack:node"
MIB = 1 << 20
CYCLES = int(os.environ.get("CINDERLIB_GUEST_CYCLES", "200"))
"""A cycle takes about two seconds, most of which os-brick sleeps."""


@pytest.fixture
def target(initiator: str, addresses: list[str]) -> Iterator[Target]:
    target = Target(IQN, addresses, chap=CHAP)
    yield target
    target.delete()


@pytest.fixture
def offer(group: str, addresses: list[str], target: Target) -> Iterator[Callable[..., Offer]]:
    """Makes a volume and maps it; `mapped=False` only makes it."""
    with ExitStack() as made:

        def maker(name: str, lun: int = 0, *, size: str = "80M", mapped: bool = True) -> Offer:
            device = made.enter_context(lvm.logical_volume(group, name, size))
            volume = Offer(name, device, target, lun, tuple(addresses))
            made.callback(volume.unmap)
            if mapped:
                volume.map()
            return volume

        yield maker


@pytest.fixture
def before(target: Target) -> Footprint:
    return Footprint.now()


@pytest.fixture
def node(tmp_path: Path, before: Footprint, offer: Callable[..., Offer]) -> Iterator[Node]:
    """A node; whatever a test does with it, nothing of it may be left on the host afterwards."""
    node = Node(tmp_path)
    yield node
    _nothing_left(node, before)


@pytest.fixture
def multipath_node(tmp_path: Path, before: Footprint, offer: Callable[..., Offer], multipathd: None) -> Iterator[Node]:
    node = Node(tmp_path, multipath=True)
    yield node
    _nothing_left(node, before)


def _nothing_left(node: Node, before: Footprint) -> None:
    for record in node.records.all().records:
        node.unstage(record.volume_id)
    assert Footprint.now().left_since(before) == {}


def write(path: Path, text: str = "data of this volume") -> None:
    with (path / "file").open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> str:
    return (path / "file").read_text()


def stamp(device: str, mark: bytes) -> None:
    """Write a block past all caches."""
    run("dd", f"of={device}", "bs=4096", "conv=sync", "oflag=direct", "status=none", input=mark.decode())


def content(device: str) -> bytes:
    """The whole of a volume, as the back end sees it now."""
    run("blockdev", "--flushbufs", device)
    return Path(device).read_bytes()


def test_a_volume_is_formatted_once_and_keeps_its_data(node: Node, offer: Callable[..., Offer]) -> None:
    volume = offer("a")
    write(node.stage(volume.connection()))
    node.unstage("a")
    assert read(node.stage(volume.connection(Formatting.UNKNOWN))) == "data of this volume"


def test_os_brick_is_told_the_disks_name_as_scsi_id_would(node: Node, offer: Callable[..., Offer]) -> None:
    """Fibre Channel's connector asks for it."""
    node.stage(offer("a").connection(), block=True)
    question = ("/lib/udev/scsi_id", "--page", "0x83", "--whitelisted", node.device("a"))
    assert execute(*question, run_as_root=True, root_helper="") == (run(*question), "")


def test_a_lun_that_now_is_another_volume_is_never_taken_for_the_old_one(
    node: Node, offer: Callable[..., Offer]
) -> None:
    other, old = offer("keeps-the-session"), offer("old", 1)
    new = offer("new", 1, mapped=False)
    node.stage(other.connection())
    node.stage(old.connection(), block=True)
    stamp(node.device("old"), b"old")
    old.unmap()
    new.map()
    write(node.stage(new.connection()), "data of the new volume")
    for volume in ("old", "new"):
        node.unstage(volume)
    assert content(old.device)[:4096] == b"old".ljust(4096, b"\0")
    assert not any(content(old.device)[4096:])
    assert b"data of the new volume" in content(new.device)


@pytest.mark.parametrize("paths", ["node", "multipath_node"])
def test_what_an_earlier_attachment_did_not_write_is_never_written(
    request: pytest.FixtureRequest, offer: Callable[..., Offer], paths: str
) -> None:
    """The unstage never came, another node had the volume, and it is back at the same address."""
    node, several = request.getfixturevalue(paths), paths == "multipath_node"
    keep, volume = offer("keeps-the-session"), offer("a", 1)
    node.stage(keep.connection(multipath=several))
    path = node.stage(volume.connection(multipath=several))
    keep_in_memory(path)
    write(path, "of the first attachment")
    (path / "late").write_text("in memory only")
    volume.unmap()
    elsewhere = node.folder / "elsewhere"
    elsewhere.mkdir()
    run("mount", volume.device, str(elsewhere))
    write(elsewhere, "of the other node")
    run("umount", str(elsewhere))
    volume.map()
    before = content(volume.device)
    again = volume.connection(Formatting.UNKNOWN, multipath=several, attachment="of-this-node@2")
    node.stage(again, block=True)
    assert content(volume.device) == before, "taking the old mount down wrote nothing"
    node.unstage("a")
    node.stage(again)
    assert read(path) == "of the other node"
    assert not (path / "late").exists()
    node.unstage("a")


def test_a_volume_is_not_staged_again_on_what_took_over_its_lun(node: Node, offer: Callable[..., Offer]) -> None:
    other, old = offer("keeps-the-session"), offer("old", 1)
    new = offer("new", 1, mapped=False)
    node.stage(other.connection())
    node.stage(old.connection(), block=True)
    old.unmap()
    new.map()
    with pytest.raises(PreconditionFailed, match="the device was not touched"):
        node.stage(old.connection(), block=True)
    assert not any(content(new.device))


def test_a_target_that_is_gone_does_not_hold_up_unstaging(
    node: Node, offer: Callable[..., Offer], target: Target
) -> None:
    volume = offer("a")
    node.stage(volume.connection())
    target.delete()
    with pytest.raises(HostError):
        node.unstage("a")  # the first time it waits for the target, and tells that what was written may be lost
    started = time.monotonic()
    node.unstage("a")
    assert time.monotonic() - started < 20


@pytest.mark.guest("cycles")
@pytest.mark.timeout(1200)
def test_many_stages_leave_the_sessions_of_before(
    node: Node, offer: Callable[..., Offer], before: Footprint, record_property: Callable[[str, object], None]
) -> None:
    """Of four volumes behind one target at once: they share its session, and the last one out logs out."""
    volumes = [offer(f"volume{lun}", lun) for lun in range(4)]

    def cycle(volume: Offer) -> None:
        for _ in range(CYCLES // len(volumes)):
            node.stage(volume.connection(), block=True)
            node.unstage(volume.name)

    started = time.monotonic()
    with ThreadPoolExecutor(len(volumes)) as threads:
        list(threads.map(cycle, volumes))
    assert Footprint.now().left_since(before) == {}
    record_property("closing line", f"{CYCLES} stages and unstages over iSCSI in {time.monotonic() - started:.0f} s")


def test_a_session_lost_in_mid_life_is_restored_by_staging_again(node: Node, offer: Callable[..., Offer]) -> None:
    volume = offer("a")
    write(node.stage(volume.connection()))
    run("iscsiadm", "-m", "node", "-T", IQN, "-u")
    settle()
    assert read(node.stage(volume.connection(Formatting.UNKNOWN))) == "data of this volume"
    assert [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(node.path("a")) in line][
        1:
    ] == []


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_a_mounted_file_system_grows(node: Node, offer: Callable[..., Offer], fs_type: str) -> None:
    volume = offer("a", size="320M")
    path = node.stage(volume.connection(), fs_type=fs_type)
    write(path)
    volume.grow("400M")
    assert node.expand("a", 400 * MIB) == 400 * MIB
    size = os.statvfs(path)
    assert size.f_blocks * size.f_frsize > 330 * MIB
    assert read(path) == "data of this volume"


def test_a_volume_that_grew_while_it_was_detached_fills_its_device(node: Node, offer: Callable[..., Offer]) -> None:
    volume = offer("a")
    node.stage(volume.connection())
    node.unstage("a")
    volume.grow("160M")
    size = os.statvfs(node.stage(volume.connection(Formatting.FORBIDDEN)))
    assert size.f_blocks * size.f_frsize > 120 * MIB


def test_growth_waits_for_the_path_that_is_down(multipath_node: Node, offer: Callable[..., Offer]) -> None:
    volume = offer("a")
    path = multipath_node.stage(volume.connection(multipath=True))
    name = Path(f"/sys/class/block/{Path(multipath_node.device('a')).name}/dm/name").read_text().strip()
    wait_until(lambda: multipath.active_paths(name) == 2, "both paths")
    network.cut(2)
    try:
        wait_until(lambda: multipath.active_paths(name) == 1, "the dead path's detection")
        volume.grow("160M")
        with pytest.raises(HostError, match="do not show the new size"):
            multipath_node.expand("a", 160 * MIB)
        write(path)
    finally:
        network.heal(2)
    wait_until(lambda: multipath.active_paths(name) == 2, "the path's return")
    assert multipath_node.expand("a", 160 * MIB) == 160 * MIB
    size = os.statvfs(path)
    assert size.f_blocks * size.f_frsize > 120 * MIB
    assert read(path) == "data of this volume"


def test_a_map_whose_paths_vanished_first_is_taken_away(multipath_node: Node, offer: Callable[..., Offer]) -> None:
    volume = offer("a")
    multipath_node.stage(volume.connection(multipath=True))
    for disk in iscsi.disks():
        Path(f"/sys/block/{disk}/device/delete").write_text("1")
    multipath_node.unstage("a")
    assert multipath.maps() == set()


def test_a_map_that_something_holds_open_is_an_error_and_goes_later(
    multipath_node: Node, offer: Callable[..., Offer]
) -> None:
    volume = offer("a")
    multipath_node.stage(volume.connection(multipath=True), block=True)
    fd = os.open(multipath_node.device("a"), os.O_RDONLY)
    try:
        with pytest.raises(HostError):
            multipath_node.unstage("a")
        assert multipath_node.records.find("a") is not None
    finally:
        os.close(fd)
    multipath_node.unstage("a")
    assert multipath.maps() == set()


def test_writing_goes_on_over_the_path_that_is_left(multipath_node: Node, offer: Callable[..., Offer]) -> None:
    volume = offer("a")
    path = multipath_node.stage(volume.connection(multipath=True))
    network.cut(1)
    try:
        write(path, "written on one path")
    finally:
        network.heal(1)
    assert read(path) == "written on one path"


def test_a_disk_that_multipathd_claimed_is_used_through_its_map(
    node: Node, multipathd: None, offer: Callable[..., Offer]
) -> None:
    volume = offer("a")
    node.stage(volume.connection())
    record = node.records.find("a")
    assert record
    assert record.device
    assert record.device.multipath
    write(node.path("a"))
    assert read(node.path("a")) == "data of this volume"
    node.unstage("a")
    assert multipath.maps() == set()


def test_an_imported_volume_that_is_not_whole_gib_is_staged(node: Node, offer: Callable[..., Offer]) -> None:
    """Its record has 1 GiB."""
    volume = offer("a", mapped=False)
    run("mkfs.ext4", "-q", volume.device)
    volume.map()
    record = replace(makers.volume("array"), imported=Imported(name="a"))
    least = least_size(record)
    node.stage(replace(volume.connection(Formatting.FORBIDDEN), size=least))
    node.unstage("a")
