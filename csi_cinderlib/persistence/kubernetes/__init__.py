"""Metadata as custom resources in a Kubernetes cluster: plugin `kubernetes`.

Options (all may be left out inside a pod):
    kubeconfig: path of a kubeconfig that logs in by a token or a client certificate; without it, the pod's own service account.
    namespace: where the objects lie; without it, the pod's own namespace, or the kubeconfig's.
    allow_unsealed: true lets records lie there in plain. For experiments: whoever may read the objects reads the secrets.
        With `kubernetes` in the settings volumes are attached by keys alone, so there it serves for what attaches none.
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
    state_dir: Path,  # noqa: ARG001  # the protocol's; nothing of this store lies on this machine
    sealer: Sealer | None = None,
) -> KubernetesStore:
    """Open the store; the custom resource definitions must be installed.

    Raises:
        ConfigurationError: an option is wrong, there is no sealing key, or the definitions are missing.
        StoreUnavailable: the API server does not answer.
    """
    reached = access(options)
    if sealer is None and options.get("allow_unsealed") is not True:
        raise ConfigurationError(
            "sealing_keys", "must hold a key: custom resources are read by many, so secrets in them are sealed"
        )
    store = KubernetesStore(Client(reached), reached.namespace, sealer)
    store.check()
    return store


def open_for_reading(options: Mapping[str, object], sealer: Sealer | None) -> KubernetesStore:
    """The same for a look, which needs no more rights than to what it reads.

    Raises:
        ConfigurationError: an option is wrong, or the definitions are missing.
        StoreUnavailable: the API server does not answer.
    """
    reached = access(options)
    store = KubernetesStore(Client(reached, connections=1), reached.namespace, sealer)
    store.check_definitions()
    return store


def open_for_node(options: Mapping[str, object]) -> KubernetesStore:
    """The same for a node, which may write its own `Node` record and nothing else, so nothing is checked beforehand."""
    reached = access(options)
    return KubernetesStore(Client(reached, connections=1), reached.namespace, None)


def access(options: Mapping[str, object]) -> Access:
    """How these options reach the API server. Raises ConfigurationError."""
    check_options(options, ("kubeconfig", "namespace", "allow_unsealed"))
    for name in ("kubeconfig", "namespace"):
        if not isinstance(options.get(name, ""), str):
            raise ConfigurationError(f"store.options.{name}", "must be text")
    kubeconfig, namespace = str(options.get("kubeconfig", "")), str(options.get("namespace", ""))
    found = from_kubeconfig(Path(kubeconfig)) if kubeconfig else in_cluster()
    return replace(found, namespace=namespace) if namespace else found
