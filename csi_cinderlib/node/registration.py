"""The registration of this node: its id, and its connector properties if there is a store for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import AlreadyExists, NotFound, StaleRecord
from csi_cinderlib.model import nodes
from csi_cinderlib.model.records import Node
from csi_cinderlib.persistence.api import Store

_ATTEMPTS = 5


def node_id(connector: Mapping[str, object], settings: Settings) -> str:
    """The node id that NodeGetInfo returns.

    In Kubernetes it is the node's name, under which the connector properties are registered. Elsewhere it contains the
    properties.

    Raises:
        Unsupported: the properties do not fit into CSI's 256 bytes.
    """
    if settings.kubernetes and settings.node_name:
        return settings.node_name
    return nodes.encode(connector)


def register(store: Store, node: Node) -> Node:
    """Store this node's record if it is new or changed. The controller owns its signers, which are kept.

    Raises:
        StaleRecord: another process keeps changing the record: two nodes have the same name.
    """
    for _ in range(_ATTEMPTS):
        try:
            known = store.get(Node, node.id)
            wanted = replace(node, signers=known.signers, revision=known.revision)
            return known if known == wanted else store.replace(wanted)
        except NotFound:
            try:
                return store.add(replace(node, revision=""))
            except AlreadyExists:
                continue
        except StaleRecord:
            continue
    raise StaleRecord("node", node.id)
