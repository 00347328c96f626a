"""A share or a device that does not respond costs its own volumes only: NFS, LVM behind iSCSI, and multipath that queues."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.host import mounts
from csi_cinderlib.host.patience import LOOK_SECONDS
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.size import Bytes
from tests.guest.inside import faults, iscsi, lvm, multipath, network, nfs
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.lio import Target
from tests.guest.inside.node_process import NodeProcess
from tests.guest.inside.offer import CHAP, Offer
from tests.guest.inside.shell import wait_until

pytestmark = pytest.mark.guest("hangs")

SIZE = 64 << 20
SERVED = Path("/srv/nfs/volumes")
SLACK = 4.0
"""Seconds of a busy machine; less than one look at a source that hangs."""
QUEUEING = f"{multipath.CONFIG}overrides {{\n    no_path_retry queue\n}}\n"
PENDING = {grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.fixture
def target(initiator: str, addresses: list[str]) -> Iterator[Target]:
    target = Target("iqn.2010-10.org.openstack:hangs", addresses, chap=CHAP)
    yield target
    target.delete()


@pytest.fixture
def offer(group: str, addresses: list[str], target: Target) -> Iterator[Callable[..., Offer]]:
    with ExitStack() as made:

        def maker(name: str, lun: int = 0) -> Offer:
            device = made.enter_context(lvm.logical_volume(group, name, "64M"))
            volume = Offer(name, device, target, lun, tuple(addresses))
            made.callback(volume.unmap)
            volume.map()
            return volume

        yield maker


@pytest.fixture
def on_share(nfs_share: str) -> Iterator[Callable[..., Connection]]:
    """Makes a file on the share, which is mounted by an address of the server."""
    names = []

    def maker(name: str, address: str = "127.0.0.1") -> Connection:
        names.append(name)
        with (SERVED / name).open("wb") as file:
            file.truncate(SIZE)
        return Connection(
            volume_id=name,
            attachment="of-this-node@1",
            protocol="nfs",
            data={"export": f"{address}:{nfs_share.partition(':')[2]}", "name": name, "options": "-o vers=4.2"},
            size=Bytes(SIZE),
            formatting=Formatting.NEVER_FORMATTED,
        )

    yield maker
    for name in names:
        (SERVED / name).unlink()


@contextmanager
def serving(folder: Path, config: str = "") -> Iterator[NodeProcess]:
    """Nothing of its volumes may be left afterwards."""
    before = Footprint.now()
    node = NodeProcess(folder, config=config)
    node.start()
    yield node
    node.take_down()
    node.stop()
    assert Footprint.now().left_since(before) == {}


@pytest.fixture
def node(tmp_path: Path, offer: Callable[..., Offer], on_share: Callable[..., Connection]) -> Iterator[NodeProcess]:
    with serving(tmp_path / "node") as node:
        yield node


@pytest.fixture
def multipath_node(
    tmp_path: Path, offer: Callable[..., Offer], on_share: Callable[..., Connection]
) -> Iterator[NodeProcess]:
    """Its maps keep what they are asked for as long as they have no path."""
    with multipath.daemon(QUEUEING), serving(tmp_path / "node", "multipath: true\n") as node:
        yield node


class Beside:
    """Another volume of the node. It lives once while nothing hangs, to be compared with."""

    def __init__(self, node: NodeProcess, connection: Connection) -> None:
        self._node = node
        self._connection = connection
        self._quiet = self._life()

    def _life(self) -> list[float]:
        """Seconds of each step."""
        name = self._connection.volume_id
        return [
            seconds(lambda: self._node.stage(self._connection)),
            seconds(lambda: self._node.publish(name)),
            seconds(lambda: self._must_work(name)),
            seconds(lambda: self._node.unpublish(name)),
            seconds(lambda: self._node.unstage(name)),
        ]

    def _must_work(self, name: str) -> None:
        assert self._node.problem(name) == ""
        write(self._node, name, "of the other volume")

    def lives(self) -> None:
        """Without a delay, unless something else kept the machine busy just then: a second life has none."""
        if slow := self._slow(self._life()):
            assert not self._slow(self._life()), slow

    def _slow(self, life: list[float]) -> list[tuple[float, float]]:
        return [(now, quiet) for now, quiet in zip(life, self._quiet, strict=True) if now > 3 * quiet + SLACK]


def seconds(step: Callable[[], object]) -> float:
    started = time.monotonic()
    step()
    return time.monotonic() - started


def prepared(node: NodeProcess, connection: Connection) -> None:
    """Staged and published, with a file that is safe."""
    node.stage(connection)
    node.publish(connection.volume_id)
    write(node, connection.volume_id, "of before")


def write(node: NodeProcess, volume_id: str, text: str) -> None:
    with (node.target(volume_id) / "file").open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_late(node: NodeProcess, volume_id: str) -> None:
    """To the kernel's memory, before the device hangs: this process must not wait for it."""
    (node.target(volume_id) / "late").write_text("in memory")


def content(node: NodeProcess, volume_id: str) -> dict[str, str]:
    files = (path for path in node.target(volume_id).iterdir() if path.is_file())
    return {path.name: path.read_text() for path in files}


ALL = {"file": "of before", "late": "in memory"}


def code(step: Callable[[], object]) -> grpc.StatusCode:
    try:
        step()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def require_abnormal(node: NodeProcess, volume_id: str) -> None:
    """The first look at a source that hangs takes its time, further ones do not."""
    assert seconds(lambda: node.problem(volume_id)) < LOOK_SECONDS + SLACK
    assert min(seconds(lambda: node.problem(volume_id)) for _ in range(3)) < SLACK
    assert node.problem(volume_id)


def begin_to_unstage(node: NodeProcess, volume_id: str) -> None:
    """It hangs. While it does, further calls are told so at once."""

    def is_refused() -> bool:
        return code(lambda: node.unstage_once(volume_id, timeout=SLACK)) is grpc.StatusCode.ABORTED

    assert code(lambda: node.unstage_once(volume_id, timeout=3)) is grpc.StatusCode.DEADLINE_EXCEEDED
    # Where the node was slower than the first caller's patience, it is one of these that begins.
    wait_until(is_refused, "the refusal of a second unstage")


def restart(node: NodeProcess) -> None:
    node.kill()
    node.start()


def test_a_server_of_shares_that_is_silent_costs_its_own_volumes_only(
    node: NodeProcess, offer: Callable[..., Offer], on_share: Callable[..., Connection]
) -> None:
    hung, new = (on_share(name, network.address(2)) for name in ("hung", "new"))
    prepared(node, hung)
    beside = Beside(node, offer("other").connection())
    write_late(node, "hung")
    with network.silent(2):
        require_abnormal(node, "hung")
        beside.lives()
        for step in (lambda: node.unstage("hung"), lambda: node.stage(hung), lambda: node.stage(new)):
            assert code(step) is grpc.StatusCode.UNAVAILABLE
        node.unpublish("hung")
        restart(node)
        beside.lives()
        require_abnormal(node, "hung")
    wait_until(lambda: not node.problem("hung"), "the server's answer", seconds=120)
    node.publish("hung")
    assert content(node, "hung") == ALL


def test_a_device_that_is_suspended_costs_its_own_volume_only(node: NodeProcess, offer: Callable[..., Offer]) -> None:
    """Two more disks of its session: the kernel waits for a disk that hangs when it is to be the only one no more."""
    hung = offer("hung")
    prepared(node, hung.connection())
    for disk in iscsi.disks():  # or the kernel holds up the whole session after 30 s
        Path(f"/sys/block/{disk}/device/timeout").write_text("600")
    node.stage(offer("neighbour", 1).connection())
    beside = Beside(node, offer("other", 2).connection())
    write_late(node, "hung")
    with faults.suspended(hung.device):
        require_abnormal(node, "hung")
        node.unpublish("hung")
        begin_to_unstage(node, "hung")
        beside.lives()
        restart(node)
        beside.lives()
        assert node.problem("neighbour") == ""
        require_abnormal(node, "hung")
        assert code(lambda: node.unstage_once("hung", timeout=3)) in PENDING
    node.unstage("hung")
    node.stage(hung.connection(Formatting.UNKNOWN))
    node.publish("hung")
    assert content(node, "hung") == ALL


def test_a_map_without_paths_costs_its_own_volume_only(
    multipath_node: NodeProcess, offer: Callable[..., Offer], on_share: Callable[..., Connection]
) -> None:
    node = multipath_node
    prepared(node, offer("hung").connection(multipath=True))
    beside = Beside(node, on_share("other"))
    write_late(node, "hung")
    with faults.offline(iscsi.disks()):
        require_abnormal(node, "hung")
        beside.lives()
        restart(node)
        beside.lives()
        require_abnormal(node, "hung")
    wait_until(lambda: not node.problem("hung"), "the paths", seconds=120)
    assert content(node, "hung") == ALL


def test_an_unstage_that_began_before_a_map_lost_its_paths_for_good_ends(
    multipath_node: NodeProcess, offer: Callable[..., Offer]
) -> None:
    """It waits in the map, which would queue what it writes for ever."""
    node = multipath_node
    prepared(node, offer("hung").connection(multipath=True))
    write_late(node, "hung")
    node.unpublish("hung")
    with network.silent(1, 2):
        begin_to_unstage(node, "hung")
        wait_until(lambda: iscsi.states() <= {"transport-offline"}, "the loss of the paths")
        wait_until(lambda: is_unstaged(node, "hung"), "the end of the unstage", seconds=120)


def is_unstaged(node: NodeProcess, volume_id: str) -> bool:
    return code(lambda: node.unstage_once(volume_id, timeout=30)) is grpc.StatusCode.OK


def test_a_share_that_is_stale_costs_its_own_volumes_only(
    node: NodeProcess, offer: Callable[..., Offer], on_share: Callable[..., Connection]
) -> None:
    stale = on_share("stale")
    prepared(node, stale)
    beside = Beside(node, offer("other").connection())
    write_late(node, "stale")
    with nfs.replaced():
        assert "Stale file handle" in node.problem("stale")
        beside.lives()
        restart(node)
        assert "Stale file handle" in node.problem("stale")
        beside.lives()
        node.unpublish("stale")
        node.unstage("stale")
        assert not [mount for mount in mounts.table() if mount.target.startswith(f"{node.folder}/")]
    node.stage(stale)
    node.publish("stale")
    assert content(node, "stale")["file"] == "of before"
