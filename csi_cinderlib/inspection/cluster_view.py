"""A volume's Kubernetes objects: claim, PersistentVolume, VolumeAttachments, pods and events. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import ConfigurationError, StoreUnavailable
from csi_cinderlib.inspection.observed import Claim, ClusterAttachment, PersistentVolume
from csi_cinderlib.persistence.kubernetes import access
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

Json = dict[str, Any]
WARNINGS = 3
"""Maximum number of events that are shown."""


def is_expected(settings: Settings, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the volumes may belong to a cluster. If not, a missing cluster is not reported."""
    in_kubernetes = settings.kubernetes or settings.store.plugin == "kubernetes"
    return in_kubernetes or bool(environment.get("KUBECONFIG") or environment.get("KUBERNETES_SERVICE_HOST"))


def reach(settings: Settings, environment: Mapping[str, str] = os.environ) -> Client:
    """Client for the cluster of the metadata store, of KUBECONFIG, or of this pod.

    Raises:
        ConfigurationError: there is no cluster, or its kubeconfig is not usable.
    """
    if settings.store.plugin == "kubernetes" and settings.store.options.get("kubeconfig"):
        return Client(access({"kubeconfig": settings.store.options["kubeconfig"]}), connections=1)
    if kubeconfig := environment.get("KUBECONFIG", "").partition(os.pathsep)[0]:
        return Client(access({"kubeconfig": str(Path(kubeconfig))}), connections=1)
    try:
        return Client(access({}), connections=1)
    except ConfigurationError:
        raise ConfigurationError("KUBECONFIG", "is not set, and this process does not run in a pod") from None


class ClusterView:
    """Reads the objects of one volume.

    Attributes:
        unseen: the kinds of objects that could not be read, with the reason.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.unseen: dict[str, str] = {}

    def claim(self, namespace: str, name: str) -> Claim | None:
        """The claim, without a phase if it does not exist; None if it cannot be read."""
        found = self._get("claim", _path("/api/v1/namespaces", namespace, "persistentvolumeclaims", name))
        if found is None:
            return None
        spec, status = found.get("spec", {}), found.get("status", {})
        pods = self._pods(namespace, name) if found else {}
        return Claim(
            namespace=namespace,
            name=name,
            phase=str(status.get("phase", "")),
            volume_name=str(spec.get("volumeName", "")),
            storage_class=str(spec.get("storageClassName", "")),
            size=str(spec.get("resources", {}).get("requests", {}).get("storage", "")),
            deleting=bool(found.get("metadata", {}).get("deletionTimestamp")),
            warnings=self._warnings(namespace, {name, *pods}) if found else (),
            pods=pods,
        )

    def pv(self, name: str) -> PersistentVolume | None:
        found = self._get("PersistentVolume", _path("/api/v1/persistentvolumes", name))
        return _pv(found) if found else None

    def pv_of_handle(self, driver: str, handle: str) -> PersistentVolume | None:
        """The PersistentVolume with a volume handle, for a volume of which only the id is known."""
        for item in self._list("PersistentVolumes", "/api/v1/persistentvolumes"):
            found = _pv(item)
            if (found.driver, found.handle) == (driver, handle):
                return found
        return None

    def attachments(self, pv: str) -> tuple[ClusterAttachment, ...]:
        items = self._list("VolumeAttachments", "/apis/storage.k8s.io/v1/volumeattachments")
        return tuple(
            _attachment(item) for item in items if item["spec"].get("source", {}).get("persistentVolumeName") == pv
        )

    def _pods(self, namespace: str, claim: str) -> dict[str, str]:
        """Pods that use the claim, with their nodes."""
        return {
            item["metadata"]["name"]: str(item["spec"].get("nodeName", ""))
            for item in self._list("pods", _path("/api/v1/namespaces", namespace, "pods"))
            if any(
                volume.get("persistentVolumeClaim", {}).get("claimName") == claim
                for volume in item["spec"].get("volumes", ())
            )
            and item.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        }

    def _warnings(self, namespace: str, names: set[str]) -> tuple[str, ...]:
        query = {"fieldSelector": "type=Warning"}
        found = [
            item
            for item in self._list("events", _path("/api/v1/namespaces", namespace, "events"), query)
            if item.get("involvedObject", {}).get("name") in names
        ]
        found.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""), reverse=True)
        messages = dict.fromkeys(" ".join(str(item.get("message", "")).split()) for item in found)
        return tuple(messages)[:WARNINGS]

    def _list(self, kind: str, path: str, query: Mapping[str, str] | None = None) -> Iterator[Json]:
        going_on: dict[str, str] = {}
        while True:
            page = self._get(kind, path, {"limit": "500", **(query or {}), **going_on})
            if not page:
                return
            yield from page.get("items", ())
            if not (token := page.get("metadata", {}).get("continue")):
                return
            going_on = {"continue": token}

    def _get(self, kind: str, path: str, query: Mapping[str, str] | None = None) -> Json | None:
        """An object; {} if it does not exist, None if it cannot be read."""
        try:
            return self._client.get(path, **(query or {}))
        except ApiError as error:
            if error.status == 404:
                return {}
            self.unseen[kind] = str(error)
        except StoreUnavailable as error:
            self.unseen["Kubernetes"] = str(error)
        return None


def _path(root: str, *words: str) -> str:
    """Build a path. Each word is quoted, so that it stays one path segment."""
    return "/".join((root, *map(_quoted, words)))


def _quoted(word: str) -> str:
    quoted = quote(word, safe="")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def _pv(found: Json) -> PersistentVolume:
    spec, status = found.get("spec", {}), found.get("status", {})
    csi, claim = spec.get("csi") or {}, spec.get("claimRef") or {}
    return PersistentVolume(
        name=found["metadata"]["name"],
        phase=str(status.get("phase", "")),
        driver=str(csi.get("driver", "")),
        handle=str(csi.get("volumeHandle", "")),
        claim=f"{claim.get('namespace', '')}/{claim['name']}" if claim.get("name") else "",
        deleting=bool(found["metadata"].get("deletionTimestamp")),
        message=str(status.get("message", "")),
    )


def _attachment(item: Json) -> ClusterAttachment:
    status = item.get("status") or {}
    problem = status.get("detachError") or status.get("attachError") or {}
    return ClusterAttachment(
        name=item["metadata"]["name"],
        node=str(item["spec"].get("nodeName", "")),
        attached=bool(status.get("attached")),
        deleting=bool(item["metadata"].get("deletionTimestamp")),
        error=" ".join(str(problem.get("message", "")).split()),
    )
