"""Promise 28: with a disk full, everything can be taken down, also by processes that start on the full disk."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host import loopctl
from tests.support import loops
from tests.support.disks import Disk, mounted
from tests.support.repeating import repeated

pytestmark = pytest.mark.root

MIB = 1024**2
PLACES = ("store", "state", "records", "pool")
"""The database, the controller's state directory, the node's, and the volumes' files."""
RUN = "run"
"""The sockets and logs. A start needs room for a socket, which it has on the disk of a state directory alone."""
REFUSALS = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
MOUNT = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)
SIZES = {"xfs": 320, "btrfs": 192}
"""MiB: as small as they may be, or 128."""
DRIVER = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


class Site:
    """A controller and a node whose places are on disks that can be full."""

    def __init__(self, root: Path, places: dict[str, Path]) -> None:
        self._root = root
        self._places = places
        self.pods = root / "pods"
        for place in (*places.values(), places[RUN] / "controller", places[RUN] / "node"):
            place.mkdir(parents=True, exist_ok=True)
        backend = {
            "driver": DRIVER,
            "options": {"loopfile_directories": [str(places["pool"])], "max_over_subscription_ratio": "1000"},
        }
        store = {"plugin": "sql", "options": {"url": f"sqlite:///{places['store']}/metadata.db"}}
        (root / "controller.yaml").write_text(json.dumps({"backends": {"array": backend}, "store": store}))
        (root / "node.yaml").write_text(json.dumps({"local_paths": [str(places["pool"])]}))
        self.start()
        self._node_id = self._node().NodeGetInfo(csi_pb2.NodeGetInfoRequest()).node_id

    def start(self) -> None:
        self._processes = {
            mode: DriverProcess(
                self._places[RUN] / mode,
                ("--state-dir", str(self._places[place]), "--mode", mode, "--config", str(self._root / f"{mode}.yaml")),
            )
            for mode, place in (("controller", "state"), ("node", "records"))
        }
        for process in self._processes.values():
            process.wait_until_ready()

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.channel.close()

    def stop(self) -> None:
        for process in self._processes.values():
            process.stop()

    def end(self) -> None:
        """Also where a test failed."""
        self.stop()
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if (point := line.split()[4]).startswith(str(self.pods)):
                subprocess.run(["umount", point], check=True)
        for number in loops.below(str(self._places["pool"])):
            subprocess.run(["losetup", "--detach", loopctl.node(number)], check=True)

    def _controller(self) -> Any:
        return csi_pb2_grpc.ControllerStub(self._processes["controller"].channel)

    def _node(self) -> Any:
        return csi_pb2_grpc.NodeStub(self._processes["node"].channel)

    def create(self, name: str, source: str = "") -> str:
        request = csi_pb2.CreateVolumeRequest(name=name, volume_capabilities=[MOUNT])
        if source:
            request.volume_content_source.volume.volume_id = source
        return str(self._controller().CreateVolume(request, timeout=60).volume.volume_id)

    def create_when_there_is_room(self, name: str) -> str:
        """XFS gives the blocks of a removed file back some time later."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return self.create(name)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def snapshot(self, name: str, volume_id: str) -> str:
        request = csi_pb2.CreateSnapshotRequest(name=name, source_volume_id=volume_id)
        return str(self._controller().CreateSnapshot(request, timeout=60).snapshot.snapshot_id)

    def up(self, volume_id: str) -> None:
        """From attached to mounted for a pod."""
        attach = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume_id, node_id=self._node_id, volume_capability=MOUNT
        )
        context = self._controller().ControllerPublishVolume(attach, timeout=60).publish_context
        staging, target = self._paths(volume_id)
        Path(staging).mkdir(parents=True)
        common = {
            "volume_id": volume_id,
            "publish_context": context,
            "volume_capability": MOUNT,
            "staging_target_path": staging,
        }
        stage = csi_pb2.NodeStageVolumeRequest(**common)
        publish = csi_pb2.NodePublishVolumeRequest(target_path=target, **common)
        repeated(lambda: self._node().NodeStageVolume(stage, timeout=60))
        repeated(lambda: self._node().NodePublishVolume(publish, timeout=60))

    def down(self, volume_id: str) -> None:
        """Each call once, unless the volume is busy."""
        staging, target = self._paths(volume_id)
        unpublish = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=target)
        unstage = csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=staging)
        repeated(lambda: self._node().NodeUnpublishVolume(unpublish, timeout=60))
        repeated(lambda: self._node().NodeUnstageVolume(unstage, timeout=60))
        self._controller().ControllerUnpublishVolume(
            csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=self._node_id), timeout=60
        )

    def write(self, volume_id: str, size: int) -> None:
        """In the page cache: whether there is room for it shows later."""
        Path(self._paths(volume_id)[1], "data").write_bytes(bytes(size))

    def delete(self, volume_id: str) -> None:
        self._controller().DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id), timeout=60)

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._controller().DeleteSnapshot(csi_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id), timeout=60)

    def listed(self) -> list[str]:
        entries = self._controller().ListVolumes(csi_pb2.ListVolumesRequest(), timeout=60).entries
        return [entry.volume.volume_id for entry in entries]

    def files(self) -> list[str]:
        return sorted(path.name for path in self._places["pool"].glob("[vs]*-*"))

    def _paths(self, volume_id: str) -> tuple[str, str]:
        return str(self.pods / volume_id / "staging"), str(self.pods / volume_id / "target")


@dataclass
class Bed:
    site: Site
    disk: Disk


Make = Callable[..., Bed]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A site that has some of its places on a small disk."""
    with ExitStack() as undo:

        def maker(on_disk: tuple[str, ...], kind: str = "ext4") -> Bed:
            disk = undo.enter_context(mounted(tmp_path / "disk", SIZES.get(kind, 128), kind))
            places = {place: (disk.path if place in on_disk else tmp_path) / place for place in (*PLACES, RUN)}
            site = Site(tmp_path, places)
            undo.callback(site.end)
            return Bed(site, disk)

        yield maker


HOW = pytest.mark.parametrize("how", ["fill", "use_all_inodes"])


@HOW
@pytest.mark.parametrize("place", PLACES)
def test_everything_can_be_taken_down_where_one_disk_is_full(place: str, how: str, make: Make) -> None:
    take_down(make((place,)), how)


@HOW
@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs"])
def test_everything_can_be_taken_down_where_all_is_on_one_full_disk(kind: str, how: str, make: Make) -> None:
    take_down(make((*PLACES, RUN), kind), how)


def test_everything_can_be_taken_down_where_the_state_directories_are_on_a_full_btrfs(make: Make) -> None:
    """Without the store: SQLite maps an index into memory, and btrfs ends a process (SIGBUS) that changes a mapped page on a full disk.
    Without the pool: what a volume has to write has no room there, not even in the place of what it wrote before."""
    take_down(make(("state", "records", RUN), "btrfs"), "fill")


def take_down(bed: Bed, how: str) -> None:
    """By the processes that filled it, by others after a kill, and by others after an orderly end."""
    site = bed.site
    volumes = [site.create(f"v{number}") for number in range(3)]
    snapshots = [site.snapshot(f"s{number}", volume) for number, volume in enumerate(volumes)]
    for volume in volumes:
        site.up(volume)
    fill = getattr(bed.disk, how)
    fill()
    for end, snapshot, volume in zip((None, site.kill, site.stop), snapshots, volumes, strict=True):
        if end is not None:
            end()
            fill()  # others take what the end gave back
            site.start()
        site.delete_snapshot(snapshot)
        site.down(volume)
        site.delete(volume)
        fill()
    assert site.listed() == site.files() == []
    bed.disk.clear()
    site.up(site.create_when_there_is_room("again"))
    site.down(*site.listed())
    site.delete(*site.listed())


def test_a_copy_that_has_no_room_for_a_lock_names_the_disk_and_leaves_nothing(make: Make) -> None:
    bed = make(("state",))
    source = bed.site.create("v")
    bed.disk.use_all_inodes()
    with pytest.raises(grpc.RpcError, match=rf"No space left on device: .*{bed.disk.path}/state") as refused:
        bed.site.create("copy", source)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert bed.site.listed() == [source]
    bed.site.delete(source)
    assert bed.site.listed() == bed.site.files() == []


@pytest.mark.parametrize(("place", "how"), [("store", "fill"), ("pool", "fill"), ("pool", "use_all_inodes")])
def test_a_creation_on_a_full_disk_names_it_and_leaves_nothing(place: str, how: str, make: Make) -> None:
    bed = make((place,))
    site = bed.site
    source = site.create("v")
    before = site.files()
    getattr(bed.disk, how)()
    for name in ("a", "b", "c"):
        with pytest.raises(grpc.RpcError, match=str(bed.disk.path / place)) as refused:
            site.create(name)
        assert refused.value.code() in REFUSALS
        with pytest.raises(grpc.RpcError) as refused:
            site.snapshot(name, source)
        assert refused.value.code() in REFUSALS
    assert (site.listed(), site.files()) == ([source], before)
    site.delete(source)
    assert site.listed() == site.files() == []


def test_what_a_volume_cannot_write_to_a_full_pool_is_told_before_it_is_taken_down(make: Make) -> None:
    bed = make(("pool",))
    volume = bed.site.create("v")
    bed.site.up(volume)
    bed.disk.fill()
    bed.site.write(volume, 30 * MIB)
    with pytest.raises(grpc.RpcError, match="Input/output error"):
        bed.site.down(volume)
    for _ in range(3):  # the kernel tells once of the file system, and once of the device
        with suppress(grpc.RpcError):
            bed.site.down(volume)
    bed.site.down(volume)
    bed.site.delete(volume)
    assert bed.site.files() == []
