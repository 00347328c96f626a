"""Which Kubernetes cluster this is."""

from __future__ import annotations

from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

NAMESPACE = "kube-system"
"""Every cluster has it, and it is never made anew: its UID is what stands for the cluster by convention."""

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
