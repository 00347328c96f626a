"""Queries the Kubernetes cluster of a controller: its identity and its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from csi_cinderlib.errors import NotFound, StaleRecord
from csi_cinderlib.model.records import Node
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

NAMESPACE = "kube-system"
"""Every cluster has this namespace and never recreates it. By convention its UID identifies the cluster."""
LOOK_SECONDS = 600.0
"""Interval between two checks of the nodes. A registration is removed when two checks find no Node of its name, because a kubelet may
recreate the Node."""
_PAGE = 500

_log = logs.logger(__name__)


def cluster_id(client: Client) -> str:
    """The UID of the cluster, or "" without permission to read it.

    Raises:
        StoreUnavailable: the API server does not respond.
    """
    try:
        return str(client.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["uid"])
    except ApiError as error:
        _log.warning("store ownership not verified", reason=str(error))
        return ""


def has_left(client: Client, node: str) -> bool:
    """Whether the cluster has no Node of that name; False without permission to read it.

    Raises:
        StoreUnavailable: the API server does not respond.
    """
    try:
        client.get(f"/api/v1/nodes/{node}")
    except ApiError as error:
        return error.status == 404
    return False


class DepartedNodes:
    """Removes the registrations of nodes that have left the cluster permanently.

    Args:
        client: has permission to list the Nodes of the cluster.
        registry: registry of the nodes.
    """

    def __init__(self, client: Client, registry: Store) -> None:
        self._client = client
        self._registry = registry
        self._missed: frozenset[str] = frozenset()

    def look(self) -> None:
        """Raises ApiError, StoreUnavailable."""
        registered = list(walk(self._registry, Node))
        present = frozenset(self._present()) if registered else frozenset()
        missing = [node for node in registered if node.id not in present]
        for node in missing:
            if node.id in self._missed:
                with suppress(NotFound, StaleRecord):  # removed by another controller, or registered again
                    self._registry.remove(node)
                    _log.info("node registration removed", node=node.id, reason="the node has left the cluster")
        self._missed = frozenset(node.id for node in missing)

    def _present(self) -> Iterator[str]:
        """The names of the Nodes of the cluster."""
        going_on: dict[str, str] = {}
        while True:
            page = self._client.get("/api/v1/nodes", limit=str(_PAGE), **going_on)
            yield from (node["metadata"]["name"] for node in page["items"])
            if not (token := page["metadata"].get("continue")):
                return
            going_on = {"continue": token}
