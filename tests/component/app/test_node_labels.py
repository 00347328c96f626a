"""A node's topology from the labels of its Node object."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from csi_cinderlib.app import registering
from csi_cinderlib.errors import NotReady
from csi_cinderlib.observe import web
from csi_cinderlib.persistence.kubernetes.rest import Access, ApiError, Client
from tests.support.ports import free_port

NODE = {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "a", "disk": "ssd"}}}
ABSENT = {"kind": "Status", "reason": "NotFound", "message": 'nodes "n2" not found'}


@pytest.fixture
def client(unused_port: int) -> Iterator[Client]:
    """Of a server that answers as the API server does."""
    pages = {
        "/api/v1/nodes/n1": lambda: (200, "application/json", json.dumps(NODE).encode()),
        "/api/v1/nodes/n2": lambda: (404, "application/json", json.dumps(ABSENT).encode()),
    }
    stop = web.serve("test", f"127.0.0.1:{unused_port}", pages)
    made = Client(Access(url=f"http://127.0.0.1:{unused_port}"), connections=1)
    yield made
    made.close()
    stop()


@pytest.fixture
def unused_port() -> int:
    return free_port()


def test_the_labels_that_are_asked_for_are_the_segments(client: Client) -> None:
    assert registering.topology_of(client, "n1", ["topology.kubernetes.io/zone"]) == {
        "topology.kubernetes.io/zone": "a"
    }


def test_a_missing_label_is_waited_for_and_named(client: Client) -> None:
    with pytest.raises(NotReady, match=r"node 'n1' has no label topology\.kubernetes\.io/region"):
        registering.topology_of(client, "n1", ["topology.kubernetes.io/region", "disk"])


def test_a_node_that_cannot_be_read_is_told_in_the_servers_words(client: Client) -> None:
    with pytest.raises(ApiError, match='nodes "n2" not found'):
        registering.topology_of(client, "n2", ["disk"])
