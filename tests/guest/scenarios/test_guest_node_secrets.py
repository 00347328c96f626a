"""A CHAP password on its way through a node: no other process, no file of the driver and no message shows it."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from tests.guest.inside import lvm
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.lio import Target
from tests.guest.inside.node_process import NodeProcess
from tests.guest.inside.offer import CHAP, Offer
from tests.support.spelled import holders, is_shown

pytestmark = pytest.mark.guest("crash")

PASSWORD = CHAP[1]
RECORDS = Path("/etc/iscsi/nodes")
NOTING = """#!/bin/sh
{ printf '%s ' "$0" "$@"; echo; env; } >> LOG < /dev/null
exec REAL "$@"
"""


@pytest.fixture
def offer(group: str, initiator: str, addresses: list[str]) -> Iterator[Offer]:
    target = Target("iqn.2010-10.org.openstack:secrets", addresses, chap=CHAP)
    with lvm.logical_volume(group, "v", "80M") as device:
        volume = Offer("v", device, target, 0, tuple(addresses))
        volume.map()
        yield volume
        volume.unmap()
    target.delete()


@pytest.fixture
def node(offer: Offer, tmp_path: Path) -> Iterator[NodeProcess]:
    """Its iscsiadm notes how it is called, and then runs the real one."""
    before = Footprint.now()
    tools, log = tmp_path / "tools", tmp_path / "called"
    tools.mkdir()
    tool = tools / "iscsiadm"
    tool.write_text(NOTING.replace("LOG", str(log)).replace("REAL", "/usr/sbin/iscsiadm"))
    tool.chmod(0o755)
    node = NodeProcess(tmp_path / "node")
    (tmp_path / "temporary").mkdir()
    node.start(PATH=f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin", TMPDIR=str(tmp_path / "temporary"))
    yield node
    node.unpublish("v")
    node.unstage("v")
    node.stop()
    assert Footprint.now().left_since(before) == {}


@contextmanager
def sampled() -> Iterator[set[bytes]]:
    """Whatever processes show of their arguments and environments meanwhile."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.002):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        seen.add((process / name).read_bytes())
                    except OSError:
                        continue  # it has ended

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def test_a_password_is_shown_nowhere_in_a_volumes_life(node: NodeProcess, offer: Offer, tmp_path: Path) -> None:
    places = (node.folder / "state", tmp_path / "temporary")
    in_records = []
    with sampled() as seen:
        for step in life(node, offer):
            step()
            in_records += holders(PASSWORD, *places)
            for record in holders(PASSWORD, RECORDS, tmp_path / "tools"):
                assert record.is_relative_to(RECORDS), "iscsid's own place for it"
                assert stat.S_IMODE(record.stat().st_mode) == 0o600
    called = (tmp_path / "called").read_bytes()
    assert b"--login" in called
    assert [item for item in (called, *seen) if is_shown(PASSWORD, item)] == []
    assert in_records == []


def life(node: NodeProcess, offer: Offer) -> tuple[Callable[[], None], ...]:
    return (
        lambda: node.stage(offer.connection()),
        lambda: node.publish("v"),
        lambda: grow(node, offer),
        lambda: node.unpublish("v"),
        lambda: node.unstage("v"),
    )


def grow(node: NodeProcess, offer: Offer) -> None:
    offer.grow("160M")
    node.expand("v", offer.size)


def test_a_wrong_password_is_not_shown_by_what_fails(node: NodeProcess, offer: Offer, tmp_path: Path) -> None:
    wrong = "wrong-canary-91c"
    connection = offer.connection()
    with pytest.raises(grpc.RpcError) as failed, sampled() as seen:
        node.stage(replace(connection, data={**connection.data, "auth_password": wrong}))
    shown = (str(failed.value).encode(), (tmp_path / "called").read_bytes(), *seen)
    assert [item for item in shown if is_shown(wrong, item)] == []
    assert holders(wrong, node.folder / "state") == []
    node.stage(connection)
    node.unstage("v")
