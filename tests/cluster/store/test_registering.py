"""A node makes itself known, as its own account, from a process that ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.app.registering import Registered, Request, in_child
from csi_cinderlib.errors import ConfigurationError, NotReady, StoreUnavailable
from csi_cinderlib.model.records import EMPTY, Node
from csi_cinderlib.node.own_keys import OwnKeys
from tests.cluster.bed.custom_resources import Namespace
from tests.support.ports import free_port

pytestmark = pytest.mark.cluster

CONNECTOR = {"host": "worker-1", "initiator": "iqn.1993-08.org.debian:01:a", "wwpns": ["5001"]}


def request(namespace: Namespace, **changes: object) -> Request:
    options = {"kubeconfig": str(namespace.kubeconfigs["node"]), "namespace": namespace.name}
    values: dict[str, object] = {
        "options": options,
        "node": "worker-1",
        "state_dir": str(namespace.folder),
        "connector": CONNECTOR,
        "topology": EMPTY,
        "labels": (),
    }
    return Request(**{**values, **changes})  # type: ignore[arg-type]


def test_a_node_is_known_afterwards_and_a_second_time_is_no_change(namespace: Namespace) -> None:
    assert in_child(request(namespace, topology={"zone": "a"})) == Registered(topology={"zone": "a"}, signers={})
    known = namespace.store(None).get(Node, "worker-1")
    assert (known.connector, known.topology) == (CONNECTOR, {"zone": "a"})
    assert [key.public for key in OwnKeys(namespace.folder, "worker-1").read()] == [known.public_key]
    in_child(request(namespace, topology={"zone": "a"}))
    assert namespace.store(None).get(Node, "worker-1") == known


def test_a_node_that_registers_again_learns_who_signs_and_leaves_that_as_it_is(namespace: Namespace) -> None:
    in_child(request(namespace))
    store = namespace.store(None)
    signers = {"c1": "a-public-key"}
    store.replace(replace(store.get(Node, "worker-1"), signers=signers))
    assert in_child(request(namespace, topology={"zone": "b"})).signers == signers
    known = store.get(Node, "worker-1")
    assert (known.signers, known.topology) == (signers, {"zone": "b"})


def test_labels_of_the_node_are_topology_and_a_missing_one_is_waited_for(namespace: Namespace) -> None:
    namespace.grant_in_cluster("node", "get", "nodes")
    namespace.server.admin.post("/api/v1/nodes", {"metadata": {"name": namespace.name, "labels": {"rack": "r7"}}})
    node = request(namespace, node=namespace.name, labels=("rack",))
    assert in_child(node).topology == {"rack": "r7"}
    with pytest.raises(NotReady, match="zone"):
        in_child(request(namespace, node=namespace.name, labels=("rack", "zone")))


def test_what_the_child_meets_is_told_as_if_it_had_been_met_here(namespace: Namespace, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="kubeconfig"):
        in_child(request(namespace, options={"kubeconfig": str(tmp_path / "none")}))
    text = namespace.kubeconfigs["node"].read_text().replace(namespace.server.url, f"https://127.0.0.1:{free_port()}")
    (tmp_path / "away").write_text(text)
    with pytest.raises(StoreUnavailable, match="did not respond"):
        in_child(request(namespace, options={"kubeconfig": str(tmp_path / "away")}))
    with pytest.raises(StoreUnavailable, match="forbidden"):
        in_child(request(namespace, options={**request(namespace).options, "namespace": "default"}))
