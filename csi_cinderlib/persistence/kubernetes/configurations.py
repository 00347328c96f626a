"""BackendConfiguration objects: their marks, their status, and events on them.

The label and the finalizer of an object only mirror the claim that `lifecycle.claims` keeps in the store of the driver.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from csi_cinderlib.config.objects import FINALIZER
from csi_cinderlib.persistence.kubernetes.events import Reporter
from csi_cinderlib.persistence.kubernetes.names import label_value
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, CONFIGURATION
from csi_cinderlib.persistence.kubernetes.rest import Client
from csi_cinderlib.persistence.kubernetes.statuses import OWNER, object_name, owner

Json = dict[str, Any]


class Configurations:
    """The BackendConfiguration objects of a CSI driver in a namespace. All methods can raise ApiError or StoreUnavailable.

    Args:
        driver_name: owner of the objects and reporter of the events.
        instance: the reporting process.
    """

    def __init__(self, client: Client, namespace: str, *, driver_name: str, instance: str) -> None:
        self._client = client
        self._namespace = namespace
        self.driver_name = driver_name
        self._owner = label_value(driver_name)
        self._reporter = Reporter(client, namespace, driver_name=driver_name, instance=instance)

    def may_claim(self, found: Json) -> bool:
        """Whether no other CSI driver has marked the object."""
        return owner(found) in {"", self._owner}

    def is_marked(self, found: Json) -> bool:
        """Whether the object shows other drivers its owner, and cannot vanish while its back end has volumes."""
        return bool(owner(found)) and FINALIZER in found["metadata"].get("finalizers", [])

    def mark(self, found: Json) -> Json:
        """Add the label and the finalizer. Raises ApiError if the object has changed since it was read."""
        metadata = found["metadata"]
        labels = {OWNER: self._owner, **metadata.get("labels", {})}
        labels[OWNER] = labels[OWNER] or self._owner
        finalizers = dict.fromkeys([*metadata.get("finalizers", []), FINALIZER])
        return self._change(found, {"/metadata/labels": labels, "/metadata/finalizers": list(finalizers)})

    def release(self, found: Json) -> Json:
        """Remove the finalizer. Raises ApiError if the object has changed since it was read."""
        rest = [name for name in found["metadata"].get("finalizers", []) if name != FINALIZER]
        return self._change(found, {"/metadata/finalizers": rest})

    def write(self, found: Json, status: Json) -> Json:
        """Replace the status as a whole, of that object only and not of a later one of its name."""
        check = {"op": "test", "path": "/metadata/uid", "value": found["metadata"]["uid"]}
        change = {"op": "add", "path": "/status", "value": status}
        return self._client.patch(f"{self._path(found)}/status", [check, change])

    def tell(self, found: Json, *, reason: str, note: str, warning: bool, now: datetime) -> None:
        """Create an event on the object."""
        self._reporter.tell(CONFIGURATION, found, reason=reason, note=note, warning=warning, now=now)

    def _path(self, found: Json) -> str:
        return CONFIGURATION.path(self._namespace, found["metadata"]["name"])

    def _change(self, found: Json, changes: Json) -> Json:
        metadata = found["metadata"]
        checks = [
            {"op": "test", "path": f"/metadata/{key}", "value": metadata[key]} for key in ("uid", "resourceVersion")
        ]
        wanted = [{"op": "add", "path": where, "value": value} for where, value in changes.items()]
        return self._client.patch(self._path(found), [*checks, *wanted])


def manifest(backend: str, spec: Json) -> Json:
    """The object that configures a back end, as people apply it."""
    name = object_name(backend)
    named = {} if name == backend else {"name": backend}
    return {
        "apiVersion": API_VERSION,
        "kind": CONFIGURATION.kind,
        "metadata": {"name": name},
        "spec": {**named, **spec},
    }
