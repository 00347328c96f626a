"""The custom resources: one per kind of record, with definitions generated from the model, and one that shows the state of a back end.

The complete record is in `spec` and is written in one request, so that writes are atomic. `status` mirrors the phase and its message
for people and their tools and is never read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from csi_cinderlib.model.records import (
    Attachment,
    Group,
    GroupSnapshot,
    InitiatorData,
    KeyValue,
    Node,
    Record,
    Snapshot,
    Volume,
)
from csi_cinderlib.persistence.api import INDEXED
from csi_cinderlib.persistence.codec import FORMS
from csi_cinderlib.persistence.kubernetes import backend_resource, import_resource

GROUP = "cinderlib.io"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"
LABEL = f"{GROUP}/"
CATEGORY = "cinderlib"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """The Kubernetes resource of a kind of record.

    Attributes:
        columns: columns of `kubectl get`: name, JSON path in the object, type.
    """

    kind: str
    plural: str
    short: str
    columns: tuple[tuple[str, str, str], ...] = ()
    mirrored: bool = True

    def path(self, namespace: str, name: str = "") -> str:
        return f"/apis/{API_VERSION}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


_WIDE = ("Message", "Volumes", "Paused", "Drained")
"""Columns that only `kubectl get -o wide` shows."""
_AGE = ("Age", ".metadata.creationTimestamp", "date")
_STATUS = ("Status", ".spec.status", "string")
_BACKEND = ("Backend", ".spec.backend", "string")
_MESSAGE = ("Message", ".spec.message", "string")

RESOURCES: Mapping[type[Record], Resource] = {
    Volume: Resource(
        "Volume",
        "volumes",
        "clvol",
        (
            _STATUS,
            ("GiB", ".spec.size", "integer"),
            _BACKEND,
            ("Pool", ".spec.pool", "string"),
            ("Name", ".spec.name", "string"),
            _MESSAGE,
            _AGE,
        ),
    ),
    Snapshot: Resource(
        "Snapshot",
        "snapshots",
        "clsnap",
        (_STATUS, ("Volume", ".spec.volume_id", "string"), _BACKEND, _MESSAGE, _AGE),
    ),
    Attachment: Resource(
        "Attachment",
        "attachments",
        "clatt",
        (
            _STATUS,
            ("Volume", ".spec.volume_id", "string"),
            ("Node", ".spec.node_id", "string"),
            _BACKEND,
            _MESSAGE,
            _AGE,
        ),
    ),
    Group: Resource("VolumeGroup", "volumegroups", "clgrp", (_STATUS, _BACKEND, _AGE)),
    GroupSnapshot: Resource("GroupSnapshot", "groupsnapshots", "clgsnap", (_STATUS, _BACKEND, _MESSAGE, _AGE)),
    InitiatorData: Resource("InitiatorData", "initiatordata", "clini", (_AGE,), mirrored=False),
    KeyValue: Resource("KeyValue", "keyvalues", "clkv", (_AGE,), mirrored=False),
    # Not "Node": `kubectl get nodes` must list the nodes of Kubernetes.
    Node: Resource("StorageNode", "storagenodes", "clnode", (_AGE,), mirrored=False),
}

BACKEND = Resource(
    "StorageBackend",
    "storagebackends",
    "clbe",
    (
        ("Ready", ".status.ready", "boolean"),
        ("Reason", ".status.reason", "string"),
        ("Driver", ".spec.driver", "string"),
        ("Free", ".status.freeGiB", "integer"),
        ("Volumes", ".status.volumes", "integer"),
        _AGE,
    ),
)
"""The state of a back end: see `backend_resource`. It is not a record: the controller writes it, and reads back only the last RESTARTED_AT."""
CONFIGURATION = Resource(
    "BackendConfiguration",
    "backendconfigurations",
    "clbc",
    (
        ("Ready", '.status.conditions[?(@.type=="Ready")].status', "string"),
        ("Accepted", '.status.conditions[?(@.type=="Accepted")].status', "string"),
        ("Driver", ".spec.driver", "string"),
        ("Paused", ".spec.paused", "boolean"),
        ("Drained", ".spec.drained", "boolean"),
        ("Message", '.status.conditions[?(@.type=="Ready")].message', "string"),
        _AGE,
    ),
)
"""The configuration of a back end: see `backend_resource`. People write it, and the controller its status."""
RESTARTED_AT = f"{LABEL}restartedAt"
"""The annotation with which an administrator restarts the driver process of a back end, once for each new value."""

IMPORT = Resource(
    "VolumeImport",
    "volumeimports",
    "climp",
    (
        ("Ready", '.status.conditions[?(@.type=="Ready")].status', "string"),
        _BACKEND,
        ("Name", ".spec.name", "string"),
        ("Volume", ".status.volumeId", "string"),
        ("Message", '.status.conditions[?(@.type=="Ready")].message', "string"),
        _AGE,
    ),
)
"""The import of a volume: see `import_resource`. It is not a record."""


def definitions() -> list[Json]:
    """The CustomResourceDefinitions of all kinds, as installed by the chart."""
    records = [_definition(resource, _object_schema(kind, resource)) for kind, resource in RESOURCES.items()]
    others = {
        BACKEND: backend_resource.shown_schema(),
        CONFIGURATION: backend_resource.configuration_schema(),
        IMPORT: import_resource.schema(),
    }
    return [*records, *(_definition(resource, schema) for resource, schema in others.items())]


def _definition(resource: Resource, schema: Json) -> Json:
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [
            {"name": name, "jsonPath": path, "type": type_, **({"priority": 1} if name in _WIDE else {})}
            for name, path, type_ in resource.columns
        ],
    }
    if resource.mirrored:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "csi-cinderlib"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short],
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def _object_schema(kind: type[Record], resource: Resource) -> Json:
    spec = structural(FORMS[kind].coder.schema)
    spec["description"] = f"The record of one {FORMS[kind].name}, managed by csi-cinderlib. Do not edit."
    spec["properties"]["v"] = {"type": "integer", "description": "Version of the record format."}
    spec["properties"]["write"] = {"type": "string", "description": "The record's revision."}
    spec["properties"]["exact"] = {
        "type": "string",
        "description": "Fields that Kubernetes cannot store exactly, as JSON text.",
    }
    spec["properties"]["sealed"] = {
        "type": "object",
        "description": "Encrypted secrets. Each contains the id of its key.",
        "additionalProperties": {"type": "string"},
    }
    spec["required"] = ["v", "write", *_unfailing(kind)]
    if not resource.mirrored:
        return _schema(spec=spec)
    shown = {"phase": {"type": "string"}, "message": {"type": "string"}}
    return _schema(spec=spec, status=_object("A copy of values in spec, for display only.", shown))


def _unfailing(kind: type[Record]) -> list[str]:
    """Fields that are in the spec of each record of any version, so the API server can require them.

    Excludes fields with a default, which older records may lack, because such records could no longer be changed. Excludes fields that
    are not indexed, because they may be stored in `exact`.
    """
    return [name for name in ("id", *INDEXED[kind]) if name in FORMS[kind].mandatory]


def _schema(**parts: Json) -> Json:
    head: Json = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return {"type": "object", "required": ["spec"], "properties": {**head, **parts}}


def _object(description: str, properties: Json) -> Json:
    return {"type": "object", "description": description, "properties": properties}


def structural(schema: Mapping[str, Any]) -> Json:
    """Convert a JSON schema to a structural schema. Fields of newer versions are not pruned; no field is required (see `_unfailing`)."""
    result: Json = {key: value for key, value in schema.items() if key in ("type", "enum", "oneOf", "description")}
    if "properties" in schema:
        result["properties"] = {name: structural(inner) for name, inner in schema["properties"].items()}
    if "items" in schema:
        result["items"] = structural(schema["items"])
    if isinstance(schema.get("additionalProperties"), Mapping):
        result["additionalProperties"] = structural(schema["additionalProperties"])
    elif schema.get("type") == "object":
        result["x-kubernetes-preserve-unknown-fields"] = True
    return result


def controller_rules() -> list[Json]:
    """The minimal RBAC rules of a controller with this store, as used by the chart."""
    written = [resource for kind, resource in RESOURCES.items() if kind is not Node]
    return [
        {
            "apiGroups": [GROUP],
            "resources": [resource.plural for resource in written],
            "verbs": ["get", "list", "create", "patch", "delete"],
        },
        # Removes all attachments of a removed volume at once.
        {"apiGroups": [GROUP], "resources": [RESOURCES[Attachment].plural], "verbs": ["deletecollection"]},
        {
            "apiGroups": [GROUP],
            "resources": [f"{resource.plural}/status" for resource in written if resource.mirrored],
            "verbs": ["patch"],
        },
        # The lease of the active controller.
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]},
        {"apiGroups": [GROUP], "resources": [RESOURCES[Node].plural], "verbs": ["get", "list", "patch", "delete"]},
        *status_rules(),
        *import_rules(),
    ]


def status_rules() -> list[Json]:
    """The RBAC rules for back ends as objects, with any store. The controller neither makes nor deletes a configuration."""
    return [
        {"apiGroups": [GROUP], "resources": [BACKEND.plural], "verbs": ["get", "list", "create", "patch", "delete"]},
        {"apiGroups": [GROUP], "resources": [CONFIGURATION.plural], "verbs": ["get", "list", "watch", "patch"]},
        {
            "apiGroups": [GROUP],
            "resources": [f"{BACKEND.plural}/status", f"{CONFIGURATION.plural}/status"],
            "verbs": ["patch"],
        },
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]


def import_rules() -> list[Json]:
    """The RBAC rules for imports as objects, with any store."""
    return [
        {"apiGroups": [GROUP], "resources": [IMPORT.plural], "verbs": ["get", "list", "patch"]},
        {"apiGroups": [GROUP], "resources": [f"{IMPORT.plural}/status"], "verbs": ["patch"]},
    ]


def secret_rules(names: Sequence[str]) -> list[Json]:
    """The RBAC rules for the Secrets of back ends as objects. The controller reads no others."""
    return [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(names), "verbs": ["get", "list", "watch"]}
    ]


def node_rules() -> list[Json]:
    """The RBAC rules of a node, which registers itself. An admission policy restricts it to the object with its own name."""
    return [{"apiGroups": [GROUP], "resources": [RESOURCES[Node].plural], "verbs": ["get", "create", "patch"]}]
