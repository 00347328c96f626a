"""What a node registered about itself goes when the node has left the cluster."""

from __future__ import annotations

import pytest

from csi_cinderlib.app.cluster import DepartedNodes
from csi_cinderlib.model.records import Node
from csi_cinderlib.node.registration import register
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from tests.cluster.bed.custom_resources import Namespace

pytestmark = pytest.mark.cluster


def test_a_registration_goes_once_its_node_was_missed_twice(namespace: Namespace) -> None:
    """By the controller's own account; a node that comes back in between keeps it."""
    admin = namespace.server.admin
    stays, leaves, returns = (f"{namespace.name}-{what}" for what in ("stays", "leaves", "returns"))
    for name in (stays, leaves, returns):
        admin.post("/api/v1/nodes", {"metadata": {"name": name}})
        register(namespace.store(None, "node"), Node(id=name, connector={"host": name}))
    namespace.grant_in_cluster("controller", "list", "nodes")
    departed = DepartedNodes(Client(from_kubeconfig(namespace.kubeconfigs["controller"])), namespace.store(None))
    for name in (leaves, returns):
        admin.delete(f"/api/v1/nodes/{name}")
    departed.look()
    admin.post("/api/v1/nodes", {"metadata": {"name": returns}})
    assert {node.id for node in namespace.store(None).page(Node).records} == {stays, leaves, returns}
    departed.look()
    assert {node.id for node in namespace.store(None).page(Node).records} == {stays, returns}
    admin.delete(f"/api/v1/nodes/{returns}")
    departed.look()
    assert {node.id for node in namespace.store(None).page(Node).records} == {stays, returns}
