"""Parts of a support bundle about the Kubernetes cluster, as far as this process may read it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from csi_cinderlib.commands.bundle import LONGEST, Absent, Content, Part, Source
from csi_cinderlib.errors import ConfigurationError, DriverError

if TYPE_CHECKING:
    from csi_cinderlib.persistence.kubernetes.rest import Client

SELECTOR = "app.kubernetes.io/name=csi-cinderlib"
KUBECONFIG = "KUBECONFIG"
LOG_LINES = "5000"
"""Per container."""
LEAST = 1 << 16
"""Minimum bytes of each container's log, for any number of containers."""


@contextmanager
def _api(source: Source) -> Iterator[tuple[Client, str]]:
    """The cluster's API and the namespace. Raises Absent if no cluster is configured."""
    from csi_cinderlib.persistence.kubernetes import access
    from csi_cinderlib.persistence.kubernetes.rest import Client

    store = source.settings.store
    options = store.options if store.plugin == "kubernetes" else {}
    if not options and (path := os.environ.get(KUBECONFIG)):
        options = {"kubeconfig": path}
    try:
        reached = access(options)
    except ConfigurationError as error:
        raise Absent(f"no cluster can be reached: {error}") from None
    client = Client(reached, connections=1)
    try:
        yield client, reached.namespace
    finally:
        client.close()


def objects(source: Source) -> Content:
    """Pods, events and the driver's objects. Full specifications are omitted, because a pod's may contain passwords."""
    with _api(source) as (client, namespace):
        own = f"/apis/cinderlib.io/v1/namespaces/{namespace}"
        return {
            "namespace": namespace,
            "version": _told(lambda: client.get("/version")),
            "pods": _told(lambda: [_pod(found) for found in _pods(client, namespace)]),
            "events": _told(
                lambda: [_event(found) for found in _items(client, f"/api/v1/namespaces/{namespace}/events")]
            ),
            "storagebackends": _told(lambda: [_status(found) for found in _items(client, f"{own}/storagebackends")]),
            "backendconfigurations": _told(
                lambda: [_status(found) for found in _items(client, f"{own}/backendconfigurations")]
            ),
            "storagenodes": _told(lambda: [_name(found) for found in _items(client, f"{own}/storagenodes")]),
            "csidrivers": _told(
                lambda: [_name(found) for found in _items(client, "/apis/storage.k8s.io/v1/csidrivers")]
            ),
            "leases": _told(
                lambda: [
                    {**_name(found), "spec": found.get("spec")}
                    for found in _items(client, f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
                ]
            ),
        }


@dataclass(frozen=True, slots=True)
class _Log:
    """A container's log. `previous` selects the log before its last restart."""

    pod: str
    container: str
    previous: bool

    def read(self, client: Client, namespace: str) -> str:
        """Raises ApiError, StoreUnavailable."""
        path = f"/api/v1/namespaces/{namespace}/pods/{self.pod}/log"
        previous = str(self.previous).lower()
        return client.text(path, container=self.container, previous=previous, tailLines=LOG_LINES)

    def __str__(self) -> str:
        return f"== {self.pod} {self.container}{' before its last restart' if self.previous else ''}"


def logs(source: Source) -> Content:
    """The end of each container's log, including the log before its last restart."""
    with _api(source) as (client, namespace):
        found = [log for pod in _pods(client, namespace) for log in _logs(pod)]
        if not found:
            raise Absent(f"namespace {namespace} has no pod with the label {SELECTOR}")
        limit = max(LEAST, LONGEST // len(found))
        texts = [str(_told(partial(log.read, client, namespace)))[-limit:] for log in found]
        return "\n".join(f"{log}\n{text}" for log, text in zip(found, texts, strict=True))


def _logs(pod: Mapping[str, Any]) -> Iterator[_Log]:
    for container in pod.get("status", {}).get("containerStatuses", []):
        for previous in (True, False) if container.get("restartCount") else (False,):
            yield _Log(pod["metadata"]["name"], container["name"], previous)


def _told(ask: Callable[[], Any]) -> Any:
    """The answer, or the reason why it cannot be read."""
    try:
        return ask()
    except DriverError as error:
        return f"({error})"


def _items(client: Client, path: str, **query: str) -> list[dict[str, Any]]:
    return list(client.get(path, limit="1000", **query).get("items", []))


def _pods(client: Client, namespace: str) -> list[dict[str, Any]]:
    return _items(client, f"/api/v1/namespaces/{namespace}/pods", labelSelector=SELECTOR)


def _name(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": found["metadata"]["name"], "created": found["metadata"].get("creationTimestamp")}


def _status(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**_name(found), "status": found.get("status", {})}


def _pod(found: Mapping[str, Any]) -> dict[str, Any]:
    status = found.get("status", {})
    return {
        **_name(found),
        "node": found.get("spec", {}).get("nodeName"),
        "phase": status.get("phase"),
        "conditions": status.get("conditions"),
        "containers": [
            {key: each.get(key) for key in ("name", "image", "ready", "restartCount", "state", "lastState")}
            for each in status.get("containerStatuses", [])
        ],
    }


def _event(found: Mapping[str, Any]) -> dict[str, Any]:
    about = found.get("involvedObject") or found.get("regarding") or {}
    return {
        "about": f"{about.get('kind')}/{about.get('name')}",
        **{key: found.get(key) for key in ("type", "reason", "message", "count", "lastTimestamp", "eventTime")},
    }


PARTS = (
    Part("kubernetes.json", "Pods, events, back ends and leases, if a cluster can be reached", objects),
    Part("pod-logs.txt", "The end of the logs of the driver's pods, if a cluster can be reached", logs),
)
