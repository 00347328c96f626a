"""The resource VolumeImport: the import of an existing volume, for configuration that is kept in Git."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
ACCESS_MODES = ("ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany", "ReadWriteMany")


def schema() -> Json:
    """The OpenAPI schema of `spec` and `status`."""
    return {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
    }


def _field(type_: str, description: str, **more: Any) -> Json:
    return {"type": type_, "description": description, **more}


def _spec() -> Json:
    claim = {"namespace": _field("string", "Its namespace."), "name": _field("string", "Its name.")}
    properties = {
        "backend": _field("string", "Name of the back end.", minLength=1),
        "name": _field("string", "Name of the volume on the back end, or its id with byId.", minLength=1),
        "byId": _field("boolean", "The name is an id that the array assigned."),
        "static": _field("boolean", "Use the volume without managing it: it keeps its name and is never deleted."),
        "unchecked": _field("boolean", "Confirms that nothing uses the volume, for back ends that cannot tell."),
        "pool": _field("string", "Its pool; required if the back end has several."),
        "size": _field("string", "The expected size in whole GiB, such as 10Gi; another one is refused."),
        "roundUp": _field("boolean", "Let the driver extend a volume that is not whole GiB."),
        "volumeMode": _field("string", "Filesystem (the default) or Block.", enum=["Filesystem", "Block"]),
        "fsType": _field("string", "The expected file system. By default, any."),
        "encryption": _field(
            "string", "luks2 for a volume that nodes have encrypted. By default, none.", enum=["luks2"]
        ),
        "keySecret": {
            "type": "object",
            "description": "The Secret with the key of an encrypted volume.",
            "required": ["namespace", "name"],
            "properties": claim,
        },
        "accessModes": {
            "type": "array",
            "description": "ReadWriteOnce by default.",
            "items": {"type": "string", "enum": list(ACCESS_MODES)},
            "maxItems": len(ACCESS_MODES),
        },
        "storageClassName": _field("string", "Storage class of the PersistentVolume. By default, none."),
        "reclaimPolicy": _field("string", "Retain (the default) or Delete.", enum=["Retain", "Delete"]),
        "claim": {
            "type": "object",
            "description": "The claim for which the PersistentVolume is reserved. It may be created later.",
            "required": ["namespace", "name"],
            "properties": claim,
        },
    }
    return {
        "type": "object",
        "description": "The volume to import. It cannot be changed.",
        "required": ["backend", "name", "claim"],
        "properties": properties,
        "x-kubernetes-validations": [
            {
                "rule": "has(self.encryption) == has(self.keySecret)",
                "message": "encryption and keySecret must be given together",
            },
            {
                "rule": "self == oldSelf",
                "message": "an import cannot be changed; delete the object, which gives the volume up, and create it again",
            },
            {
                "rule": "!(has(self.static) && self.static && has(self.reclaimPolicy) && self.reclaimPolicy == 'Delete')",
                "message": "reclaimPolicy must be Retain for a static volume, which is never deleted",
            },
        ],
    }


def _status() -> Json:
    condition = {
        "type": _field("string", "Ready."),
        "status": _field("string", "True, False or Unknown."),
        "reason": _field("string", "The reason, for programs."),
        "message": _field("string", "The reason, for people."),
        "lastTransitionTime": _field("string", "When the status last changed.", format="date-time"),
        "observedGeneration": _field("integer", "The generation to which it applies.", format="int64"),
    }
    properties = {
        "volumeId": _field("string", "The id of the volume, its handle in Kubernetes."),
        "persistentVolume": _field("string", "Name of the PersistentVolume."),
        "sizeGiB": _field("integer", "Size of the volume.", format="int64"),
        "conditions": {
            "type": "array",
            "description": "Ready: the volume is imported and has its PersistentVolume.",
            "items": {"type": "object", "required": ["type", "status"], "properties": condition},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    }
    return {"type": "object", "description": "What the controller has done.", "properties": properties}
