"""What a node does now and then while it serves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.app import registering
from csi_cinderlib.app.keys import Keys
from csi_cinderlib.app.node import NodeSide
from csi_cinderlib.app.registering import Registered, Request
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.node.format_marks import KEPT_SECONDS, FormatMarks


@pytest.fixture
def stopping() -> Iterator[Stopping]:
    made = Stopping()
    yield made
    made.reason = "the test ends"
    made.rest()


def test_old_format_marks_are_removed_while_the_node_serves(tmp_path: Path, stopping: Stopping) -> None:
    settings = Settings(state_dir=tmp_path)
    node = NodeSide(settings, stopping, Keys(settings), prune_seconds=0.05)
    node.open()
    node.wait()
    marks = FormatMarks(tmp_path / "formatted")
    marks.set("new", "a@1")
    marks.set("old", "a@1")
    long_ago = time.time() - KEPT_SECONDS - 60
    os.utime(marks.directory / "old", (long_ago, long_ago))
    deadline = time.monotonic() + 60
    while (marks.directory / "old").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert marks.holds("new", "a@1")


def test_a_label_that_is_taken_away_keeps_no_node_from_the_controllers_keys(
    tmp_path: Path, stopping: Stopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []
    zone = {"zone": "a"}

    def register(request: Request) -> Registered:
        asked.append(request)
        return Registered(topology={**request.topology, **(zone if request.labels else {})}, signers={})

    monkeypatch.setattr(registering, "in_child", register)
    settings = Settings(state_dir=tmp_path, kubernetes=True, node_name="n1", topology_labels=("zone",))
    node = NodeSide(settings, stopping, Keys(settings))
    node.open()
    with pytest.raises(InvalidRequest, match="which is not registered for node"):
        node._staging._contexts.open("n1:c1:0:AAAA")
    assert [(tuple(request.labels), dict(request.topology)) for request in asked] == [(("zone",), {}), ((), zone)]


@pytest.mark.parametrize("own", [{}, {"topology.csi.cinderlib.io/zone": "a"}], ids=["none", "its own"])
def test_a_node_in_kubernetes_has_a_segment_at_least(tmp_path: Path, stopping: Stopping, own: dict[str, str]) -> None:
    """The controller always reports topologies, and the provisioner refuses nodes without segments then."""
    settings = Settings(state_dir=tmp_path, kubernetes=True, topology=own)
    node = NodeSide(settings, stopping, Keys(settings))
    assert node.status()["topology"] == (own or {"topology.csi.cinderlib.io/cluster": "all"})
    plain = Settings(state_dir=tmp_path, topology=own)
    assert NodeSide(plain, stopping, Keys(plain)).status()["topology"] == own
