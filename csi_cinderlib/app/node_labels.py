"""A node's topology as its cluster keeps it: labels of the Node object."""

from __future__ import annotations

from collections.abc import Sequence

from csi_cinderlib.errors import NotReady
from csi_cinderlib.persistence.kubernetes.rest import Client


def segments(client: Client, node: str, labels: Sequence[str]) -> dict[str, str]:
    """The values of these labels of a Node object.

    Raises:
        NotReady: one is missing; a cloud's controller sets them a while after a node has joined.
        ApiError, StoreUnavailable: the object cannot be read.
    """
    found = client.get(f"/api/v1/nodes/{node}")["metadata"].get("labels") or {}
    if missing := [label for label in labels if not found.get(label)]:
        raise NotReady(f"node {node} has no label {', '.join(missing)} (topology_labels)")
    return {label: found[label] for label in labels}
