"""The node's id, and its record in a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import StaleRecord
from csi_cinderlib.model.nodes import decode
from csi_cinderlib.model.records import Node
from csi_cinderlib.node.registration import node_id, register
from csi_cinderlib.persistence.memory import MemoryStore

CONNECTOR = {"host": "n1", "ip": "192.0.2.1", "initiator": "iqn.1993-08.org.debian:01:abc"}


def test_in_kubernetes_the_id_is_the_name_and_elsewhere_it_carries_the_properties(tmp_path: Path) -> None:
    plain = Settings(state_dir=tmp_path, node_name="n1")
    assert node_id(CONNECTOR, replace(plain, kubernetes=True)) == "n1"
    carried = decode(node_id(CONNECTOR, plain))
    assert carried is not None
    assert carried.items() >= CONNECTOR.items()


def test_a_node_registers_once_and_again_when_it_changed() -> None:
    store = MemoryStore()
    node = Node(id="n1", connector=CONNECTOR)
    first = register(store, node)
    assert register(store, node) == first
    changed = register(store, replace(node, connector={**CONNECTOR, "ip": "192.0.2.2"}))
    assert store.get(Node, "n1") == changed
    assert changed.connector["ip"] == "192.0.2.2"


class Contended(MemoryStore):
    """Somebody else changes the record between every read and write."""

    def replace(self, record):  # type: ignore[no-untyped-def] # the store's own generic signature
        raise StaleRecord("node", record.id)


def test_two_nodes_of_one_name_are_told() -> None:
    store = Contended()
    register(store, Node(id="n1"))
    with pytest.raises(StaleRecord):
        register(store, Node(id="n1", connector=CONNECTOR))
