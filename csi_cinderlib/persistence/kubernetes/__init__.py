"""The plugin `kubernetes`: metadata as custom resources in a Kubernetes cluster.

Options (all are optional inside a pod):
    kubeconfig: path of a kubeconfig with a token or client certificate. Default: the service account of the pod.
    namespace: namespace of the objects. Default: the namespace of the pod or of the kubeconfig.
    allow_unsealed: true allows records in plain text. For experiments only: users who can read the objects can read the secrets.
        With the setting `kubernetes`, attaching a volume needs keys, so this is useful only without attachments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.api import Sealer
from csi_cinderlib.persistence.kubernetes.rest import Access, Client, from_kubeconfig, in_cluster
from csi_cinderlib.persistence.kubernetes.store import KubernetesStore
from csi_cinderlib.persistence.plugins import check_options


def open_store(
    options: Mapping[str, object],
    *,
    state_dir: Path,  # noqa: ARG001  # required by the protocol; this store has no local files
    sealer: Sealer | None = None,
) -> KubernetesStore:
    """Open the store; the custom resource definitions must be installed.

    Raises:
        ConfigurationError: an option is invalid, there is no sealing key, or the definitions are missing.
        StoreUnavailable: the API server does not respond.
    """
    reached = access(options)
    if sealer is None and options.get("allow_unsealed") is not True:
        raise ConfigurationError("sealing_keys", "must contain a key: secrets in custom resources must be sealed")
    store = KubernetesStore(Client(reached), reached.namespace, sealer)
    store.check()
    return store


def open_for_reading(options: Mapping[str, object], sealer: Sealer | None) -> KubernetesStore:
    """Open the store for reading, which needs only read permissions.

    Raises:
        ConfigurationError: an option is invalid, or the definitions are missing.
        StoreUnavailable: the API server does not respond.
    """
    reached = access(options)
    store = KubernetesStore(Client(reached, connections=1), reached.namespace, sealer)
    store.check_definitions()
    return store


def open_for_node(options: Mapping[str, object]) -> KubernetesStore:
    """Open the store for a node without checks. A node may write only its own `Node` record."""
    reached = access(options)
    return KubernetesStore(Client(reached, connections=1), reached.namespace, None)


def access(options: Mapping[str, object]) -> Access:
    """Return the access to the API server from the options. Raises ConfigurationError."""
    check_options(options, ("kubeconfig", "namespace", "allow_unsealed"))
    for name in ("kubeconfig", "namespace"):
        if not isinstance(options.get(name, ""), str):
            raise ConfigurationError(f"store.options.{name}", "must be text")
    kubeconfig, namespace = str(options.get("kubeconfig", "")), str(options.get("namespace", ""))
    found = from_kubeconfig(Path(kubeconfig)) if kubeconfig else in_cluster()
    return replace(found, namespace=namespace) if namespace else found
