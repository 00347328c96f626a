"""VolumeImport objects in an API without a server, which leaves out an empty class of a PersistentVolume as Kubernetes does."""

from __future__ import annotations

import copy
import threading
import uuid
from typing import Any

from csi_cinderlib.app.volume_imports import VolumeImports
from csi_cinderlib.persistence.kubernetes.resources import IMPORT
from csi_cinderlib.persistence.kubernetes.rest import ApiError
from csi_cinderlib.provisioning.imports import Importing

NAMESPACE = "ns"
Json = dict[str, Any]


class Api:
    """The methods of `rest.Client` that imports use. `objects` are by path."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}

    def get(self, path: str, **_query: str) -> Json:
        if path in self.objects:
            return copy.deepcopy(self.objects[path])
        if path.endswith(("/persistentvolumes", "/volumeimports")):
            found = [item for at, item in self.objects.items() if at.rpartition("/")[0] == path]
            return {"items": copy.deepcopy(found)}
        raise ApiError(404, "NotFound", path)

    def post(self, path: str, body: Json) -> Json:
        at = f"{path.partition('?')[0]}/{body['metadata']['name']}"
        if at in self.objects:
            raise ApiError(409, "AlreadyExists", at)
        made = copy.deepcopy(body)
        made["metadata"].update(uid=uuid.uuid4().hex, resourceVersion="1", generation=1)
        if made["kind"] == "PersistentVolume" and not made["spec"]["storageClassName"]:
            del made["spec"]["storageClassName"]
        self.objects[at] = made
        return made

    def patch(self, path: str, operations: list[Json]) -> None:
        at = path.removesuffix("/status")
        if at not in self.objects:
            raise ApiError(404, "NotFound", at)
        for operation in operations:
            *above, last = operation["path"].strip("/").split("/")
            holder = self.objects[at]
            for name in above:
                holder = holder[name]
            if operation["op"] != "test":
                holder[last] = copy.deepcopy(operation["value"])
        metadata = self.objects[at]["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            del self.objects[at]

    def delete(self, path: str, _body: Json | None = None, **_query: str) -> None:
        if path not in self.objects:
            raise ApiError(404, "NotFound", path)
        if self.objects[path]["metadata"].get("finalizers"):
            self.objects[path]["metadata"]["deletionTimestamp"] = "now"
        else:
            del self.objects[path]


class Objects:
    """VolumeImport objects, and the controller that carries them out."""

    def __init__(self, importing: Importing) -> None:
        self.api, self._now = Api(), 0.0
        client: Any = self.api
        self._controller = VolumeImports(
            client, NAMESPACE, "csi", lambda: importing, threading.Lock(), clock=lambda: self._now
        )

    def create(self, object_name: str, **spec: Any) -> None:
        wanted = {"backend": "files", "name": "disk.img", "claim": {"namespace": "apps", "name": "db"}, **spec}
        body = {
            "kind": "VolumeImport",
            "metadata": {"name": object_name, "namespace": NAMESPACE},
            "spec": wanted,
        }
        self.api.post(IMPORT.path(NAMESPACE), body)

    def delete(self, object_name: str) -> None:
        self.api.delete(IMPORT.path(NAMESPACE, object_name))

    def lose(self, object_name: str) -> None:
        """Remove an object and its finalizer, as a removed definition does."""
        del self.api.objects[IMPORT.path(NAMESPACE, object_name)]

    def look(self, *, later: float = 601) -> None:
        """Carry out everything that is due, now and after that many seconds."""
        self._controller.look()
        self._now += later
        self._controller.look()

    def ready(self, object_name: str) -> tuple[str, str, str] | None:
        """Status, reason and message of the condition; None if there is no such object."""
        item = self.api.objects.get(IMPORT.path(NAMESPACE, object_name))
        if item is None:
            return None
        (found,) = (item.get("status") or {}).get("conditions") or [{"status": "", "reason": "", "message": ""}]
        return found["status"], found["reason"], found["message"]

    def volumes(self) -> list[Json]:
        """The PersistentVolumes."""
        return [item for path, item in self.api.objects.items() if "/persistentvolumes/" in path]

    def remove_volumes(self) -> None:
        """As the provisioner does with a PersistentVolume whose volume is deleted."""
        self.api.objects = {path: item for path, item in self.api.objects.items() if "/persistentvolumes/" not in path}
