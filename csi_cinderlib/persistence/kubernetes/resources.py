"""The custom resources: one per kind of record, their definitions made from the model.

Everything that counts is in `spec` and is written in one request, so that a record is never half there. `status` mirrors the phase
and its message for people and their tools; nothing reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from csi_cinderlib.persistence.codec import FORMS

GROUP = "cinderlib.io"
VERSION = "v1"
API_VERSION = f"{GROUP}/{VERSION}"
LABEL = f"{GROUP}/"
CATEGORY = "cinderlib"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """How a kind of record appears in Kubernetes.

    Attributes:
        columns: what `kubectl get` prints: name, JSON path below the object, type.
    """

    kind: str
    plural: str
    short: str
    columns: tuple[tuple[str, str, str], ...] = ()
    mirrored: bool = True

    def path(self, namespace: str, name: str = "") -> str:
        return f"/apis/{API_VERSION}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


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
    # Not "Node": `kubectl get nodes` must go on meaning Kubernetes' own.
    Node: Resource("StorageNode", "storagenodes", "clnode", (_AGE,), mirrored=False),
}


def definitions() -> list[Json]:
    """The CustomResourceDefinitions of all kinds, ready to be applied; the chart ships them."""
    return [_definition(kind, resource) for kind, resource in RESOURCES.items()]


def _definition(kind: type[Record], resource: Resource) -> Json:
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(kind, resource)},
        "additionalPrinterColumns": [
            {"name": name, "jsonPath": path, "type": type_, **({"priority": 1} if name == "Message" else {})}
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
    spec["description"] = f"The record of one {FORMS[kind].name}, written by csi-cinderlib alone. Do not edit."
    spec["properties"]["v"] = {"type": "integer", "description": "Version of the record's form."}
    spec["properties"]["write"] = {"type": "string", "description": "The record's revision."}
    spec["properties"]["exact"] = {
        "type": "string",
        "description": "Fields that Kubernetes' numbers and text would change, as JSON text.",
    }
    spec["properties"]["sealed"] = {
        "type": "object",
        "description": "Secrets, encrypted; the key id stands in the text.",
        "additionalProperties": {"type": "string"},
    }
    properties: Json = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    properties["spec"] = spec
    if resource.mirrored:
        properties["status"] = {
            "type": "object",
            "description": "What spec says, for tools that look here; nothing reads it back.",
            "properties": {"phase": {"type": "string"}, "message": {"type": "string"}},
        }
    return {"type": "object", "required": ["spec"], "properties": properties}


def structural(schema: Mapping[str, Any]) -> Json:
    """A JSON schema as Kubernetes takes it. Fields that a newer version wrote are kept, not pruned."""
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
    """The RBAC rules that the store needs, and no more; the chart gives the controller these."""
    written = [resource for kind, resource in RESOURCES.items() if kind is not Node]
    return [
        {
            "apiGroups": [GROUP],
            "resources": [resource.plural for resource in written],
            "verbs": ["get", "list", "create", "patch", "delete", "deletecollection"],
        },
        {
            "apiGroups": [GROUP],
            "resources": [f"{resource.plural}/status" for resource in written if resource.mirrored],
            "verbs": ["patch"],
        },
        {"apiGroups": [GROUP], "resources": [RESOURCES[Node].plural], "verbs": ["get", "list"]},
    ]


def node_rules() -> list[Json]:
    """The RBAC rules of a node, which registers itself; an admission policy keeps it to the object of its own name."""
    return [{"apiGroups": [GROUP], "resources": [RESOURCES[Node].plural], "verbs": ["get", "create", "patch"]}]
