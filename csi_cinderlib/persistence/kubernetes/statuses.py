"""Back ends as objects for `kubectl`, and events on them.

`app.backend_status` decides when to write. This module is independent of the store: a controller with records in a database shows its back
ends in Kubernetes as well.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Any

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.persistence.kubernetes.events import Reporter
from csi_cinderlib.persistence.kubernetes.names import label_value
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, BACKEND, LABEL
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

Json = dict[str, Any]

OWNER = f"{LABEL}csi-driver"
"""The label with the name of the CSI driver. Two drivers in a namespace can have back ends of the same name."""
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


class Statuses:
    """The StorageBackend objects of a CSI driver in a namespace. All methods can raise ApiError or StoreUnavailable.

    Args:
        driver_name: owner of the objects and reporter of the events.
        instance: the reporting process.
    """

    def __init__(self, client: Client, namespace: str, *, driver_name: str, instance: str) -> None:
        self._client = client
        self._namespace = namespace
        self._driver_name = driver_name
        self._reporter = Reporter(client, namespace, driver_name=driver_name, instance=instance)

    def ensure(self, backend: str, driver: str) -> Json:
        """Return the object of a back end, created or updated if necessary. Raises PreconditionFailed if another CSI driver owns it."""
        path, spec = BACKEND.path(self._namespace, object_name(backend)), {"name": backend, "driver": driver}
        found = self._find(path) or self._create(backend, driver) or self._client.get(path)
        if not self._owns(found):
            raise PreconditionFailed(
                f"StorageBackend {object_name(backend)!r} belongs to the CSI driver {owner(found)!r}; rename one of the two back ends, or "
                "delete the object if that driver is no longer installed"
            )
        labels = {**found["metadata"].get("labels", {}), OWNER: label_value(self._driver_name)}
        if found.get("spec") == spec and found["metadata"].get("labels") == labels:
            return found
        changes = {"/spec": spec, "/metadata/labels": labels}
        return self._client.patch(
            path, [{"op": "add", "path": where, "value": value} for where, value in changes.items()]
        )

    def _find(self, path: str) -> Json | None:
        try:
            return self._client.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
        return None

    def _create(self, backend: str, driver: str) -> Json | None:
        """Return None if another controller has created it first."""
        body = manifest(backend, driver)
        body["metadata"]["labels"][OWNER] = label_value(self._driver_name)
        try:
            return self._client.post(BACKEND.path(self._namespace), body)
        except ApiError as error:
            if error.status != 409:
                raise
        return None

    def _owns(self, found: Json) -> bool:
        """Whether this driver owns the object, or an earlier version without owner labels created it."""
        return owner(found) in {"", label_value(self._driver_name)}

    def write(self, found: Json, status: Json) -> None:
        """Replace the status as a whole."""
        path = BACKEND.path(self._namespace, found["metadata"]["name"]) + "/status"
        self._client.patch(path, [{"op": "add", "path": "/status", "value": status}])

    def all(self) -> list[Json]:
        return [found for found in self._client.get(BACKEND.path(self._namespace))["items"] if self._owns(found)]

    def remove(self, name: str) -> None:
        """Remove the object with this name, unless another CSI driver owns it. Idempotent."""
        path = BACKEND.path(self._namespace, name)
        found = self._find(path)
        if found is None or not self._owns(found):
            return
        keys = ("uid", "resourceVersion")
        seen = {key: found["metadata"][key] for key in keys if key in found["metadata"]}
        try:
            self._client.delete(path, {"preconditions": seen})
        except ApiError as error:
            if error.status not in {404, 409}:  # 409: it has changed since, so another controller maintains it
                raise

    def tell(self, found: Json, *, reason: str, note: str, warning: bool, now: datetime) -> None:
        """Create an event on the object. `kubectl describe` and `kubectl get events` show it for an hour."""
        self._reporter.tell(BACKEND, found, reason=reason, note=note, warning=warning, now=now)

    def close(self) -> None:
        self._client.close()


def manifest(backend: str, driver: str) -> Json:
    """The object of a back end without an owner. The CSI driver with this back end adopts it."""
    metadata = {"name": object_name(backend), "labels": {f"{LABEL}backend": label_value(backend)}}
    spec = {"name": backend, "driver": driver}
    return {"apiVersion": API_VERSION, "kind": BACKEND.kind, "metadata": metadata, "spec": spec}


def owner(found: Json) -> str:
    """The CSI driver that owns an object, or ""."""
    return str(found["metadata"].get("labels", {}).get(OWNER, ""))


def object_name(backend: str) -> str:
    """The name of the back end if it is a valid object name, else a similar unique name."""
    if _NAME.fullmatch(backend):
        return backend
    near = re.sub(r"[^a-z0-9]", "-", backend.lower()).strip("-")
    return f"{near or 'backend'}-{hashlib.sha256(backend.encode()).hexdigest()[:8]}"
