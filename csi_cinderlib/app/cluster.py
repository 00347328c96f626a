"""What a controller asks of its Kubernetes cluster: which one it is, and which nodes it has."""

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
"""Every cluster has it, and it is never made anew: its UID is what stands for the cluster by convention."""
LOOK_SECONDS = 600.0
"""Between two looks at the nodes. A registration goes at the second one that finds no Node of its name: a kubelet may make that anew."""
_PAGE = 500

_log = logs.logger(__name__)


def cluster_id(client: Client) -> str:
    """The cluster's UID, or "" where this process may not read it.

    Raises:
        StoreUnavailable: the API server does not answer.
    """
    try:
        return str(client.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["uid"])
    except ApiError as error:
        _log.warning("whether the store belongs to this cluster is not known", reason=str(error))
        return ""


def has_left(client: Client, node: str) -> bool:
    """Whether the cluster has no Node of that name; False where this process may not see it.

    Raises:
        StoreUnavailable: the API server does not answer.
    """
    try:
        client.get(f"/api/v1/nodes/{node}")
    except ApiError as error:
        return error.status == 404
    return False


class DepartedNodes:
    """Removes what nodes registered about themselves once they have left the cluster for good.

    Args:
        client: may list the cluster's Nodes.
        registry: where nodes register.
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
                with suppress(NotFound, StaleRecord):  # another controller's, or registered anew
                    self._registry.remove(node)
                    _log.info("a node's registration is removed: it has left the cluster", node=node.id)
        self._missed = frozenset(node.id for node in missing)

    def _present(self) -> Iterator[str]:
        """The names of the cluster's Nodes."""
        going_on: dict[str, str] = {}
        while True:
            page = self._client.get("/api/v1/nodes", limit=str(_PAGE), **going_on)
            yield from (node["metadata"]["name"] for node in page["items"])
            if not (token := page["metadata"].get("continue")):
                return
            going_on = {"continue": token}
