"""From where the controller knows how to reach a node: its id, or what it registered."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.errors import InvalidRequest, NotFound
from csi_cinderlib.model import nodes
from csi_cinderlib.model.records import Attachment, Node
from csi_cinderlib.model.requests import PublishVolume
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.attachments import Attachments
from csi_cinderlib.provisioning.contexts import Contexts

from .conftest import MOUNT, Site


def unregistered(site: Site) -> Attachments:
    """Where no nodes register."""
    return Attachments(
        site.store, site.backends, site.locks, ids=site.ids, contexts=Contexts(site.sealer, nodes=site.store)
    )


def test_a_node_id_carries_the_connector_itself_where_nodes_do_not_register(site: Site, driver: Any) -> None:
    volume = site.create()
    node = nodes.encode({"host": "far-away", "initiator": "iqn.far"})
    controller = unregistered(site)
    controller.publish(PublishVolume(volume_id=volume.id, node_id=node, capability=MOUNT))
    assert driver.mapped == {(volume.id, "far-away")}
    controller.unpublish(volume.id, node)
    assert driver.mapped == set()
    with pytest.raises(NotFound, match="node 'n1'"):
        controller.publish(PublishVolume(volume_id=volume.id, node_id="n1", capability=MOUNT))


def test_nodes_may_register_in_a_store_of_their_own(site: Site, driver: Any) -> None:
    site.nodes = MemoryStore()
    volume = site.create()
    site.publish(volume, site.node("n1"))
    assert driver.mapped == {(volume.id, "n1")}
    site.store.add(Node(id="n2", connector={"host": "n2"}))
    with pytest.raises(NotFound, match="node 'n2'"):
        site.publish(volume, "n2")


def test_a_node_that_cannot_reach_the_back_end_gets_nothing(site: Site, driver: Any) -> None:
    volume, node = site.create(), nodes.encode({"initiator": "iqn.odd"})
    with pytest.raises(InvalidRequest, match="cannot reach"):
        unregistered(site).publish(PublishVolume(volume_id=volume.id, node_id=node, capability=MOUNT))
    assert site.store.page(Attachment).records == ()
    assert driver.mapped == set()
