"""The custom resources: one per kind of record, their definitions made from the model, and one that only shows how a back end is.

Everything that counts of a record is in `spec` and is written in one request, so that a record is never half there. `status` mirrors
the phase and its message for people and their tools; nothing reads it back.
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
from csi_cinderlib.persistence.api import INDEXED
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

BACKEND = Resource(
    "StorageBackend",
    "storagebackends",
    "clbe",
    (
        ("Ready", ".status.ready", "boolean"),
        ("Reason", ".status.reason", "string"),
        ("Driver", ".spec.driver", "string"),
        ("Free", ".status.freeGiB", "integer"),
        _AGE,
    ),
)
"""How a back end is, for people. No record: the controller writes it, and reads back only what it has done about RESTARTED_AT."""
RESTARTED_AT = f"{LABEL}restartedAt"
"""The annotation with which an administrator has the driver's process of a back end restarted: once for each value."""


def definitions() -> list[Json]:
    """The CustomResourceDefinitions of all kinds, ready to be applied; the chart ships them."""
    records = [_definition(resource, _object_schema(kind, resource)) for kind, resource in RESOURCES.items()]
    return [*records, _definition(BACKEND, _backend_schema())]


def _definition(resource: Resource, schema: Json) -> Json:
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
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
    spec["required"] = ["v", "write", *_unfailing(kind)]
    if not resource.mirrored:
        return _schema(spec=spec)
    shown = {"phase": {"type": "string"}, "message": {"type": "string"}}
    return _schema(spec=spec, status=_object("What spec says, for tools that look here; nothing reads it back.", shown))


def _unfailing(kind: type[Record]) -> list[str]:
    """The fields that stand in the spec of each record, whichever version wrote it: those that the API server may insist on.

    No field with a default: older records lack those that came later, and could not be changed any more. None that is not indexed: it
    may have gone into `exact`.
    """
    return [name for name in ("id", *INDEXED[kind]) if name in FORMS[kind].mandatory]


def _schema(**parts: Json) -> Json:
    head: Json = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return {"type": "object", "required": ["spec"], "properties": {**head, **parts}}


def _object(description: str, properties: Json) -> Json:
    return {"type": "object", "description": description, "properties": properties}


def _backend_schema() -> Json:
    def field(type_: str, description: str, **more: str) -> Json:
        return {"type": type_, "description": description, **more}

    spec = {
        "name": field("string", "As StorageClasses name it in their parameter `backend`."),
        "driver": field("string", "The class of its Cinder driver."),
    }
    status = {
        "ready": field("boolean", "It is set up, and answered when it was last asked."),
        "reason": field("string", "Why it is not ready, or what else is wrong with it."),
        "protocol": field("string", "How nodes reach its volumes: iSCSI, FC, NVMe-oF, ceph ..."),
        "totalGiB": field(
            "integer", "All its pools together; absent where one is unlimited or unknown.", format="int64"
        ),
        "freeGiB": field("integer", "As totalGiB.", format="int64"),
        "volumes": field("integer", "Volume records, counted every few minutes.", format="int64"),
        "observedAt": field("string", "When this was last found to be so.", format="date-time"),
        "controller": field("string", "Which controller found it: the name of its pod."),
        "restartedAt": field("string", f"The last value of the annotation {RESTARTED_AT} that was acted upon."),
    }
    return _schema(
        spec=_object(
            "A configured back end, shown by csi-cinderlib. The configuration is elsewhere; do not edit.", spec
        ),
        status=_object("How it is, as the controller sees it.", status),
    )


def structural(schema: Mapping[str, Any]) -> Json:
    """A JSON schema as Kubernetes takes it. Fields that a newer version wrote are kept, not pruned; none is required (see `_unfailing`)."""
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
    """The RBAC rules that the controller needs where the store is here, and no more; the chart gives it these."""
    written = [resource for kind, resource in RESOURCES.items() if kind is not Node]
    return [
        {
            "apiGroups": [GROUP],
            "resources": [resource.plural for resource in written],
            "verbs": ["get", "list", "create", "patch", "delete"],
        },
        # All of a volume at once, when the volume is removed.
        {"apiGroups": [GROUP], "resources": [RESOURCES[Attachment].plural], "verbs": ["deletecollection"]},
        {
            "apiGroups": [GROUP],
            "resources": [f"{resource.plural}/status" for resource in written if resource.mirrored],
            "verbs": ["patch"],
        },
        # Of the active controller.
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]},
        {"apiGroups": [GROUP], "resources": [RESOURCES[Node].plural], "verbs": ["get", "list", "patch", "delete"]},
        *status_rules(),
    ]


def status_rules() -> list[Json]:
    """What showing the back ends takes, whatever the store is."""
    return [
        {
            "apiGroups": [GROUP],
            "resources": [BACKEND.plural],
            "verbs": ["get", "list", "create", "patch", "delete"],
        },
        {"apiGroups": [GROUP], "resources": [f"{BACKEND.plural}/status"], "verbs": ["patch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
    ]


def node_rules() -> list[Json]:
    """The RBAC rules of a node, which registers itself; an admission policy keeps it to the object of its own name."""
    return [{"apiGroups": [GROUP], "resources": [RESOURCES[Node].plural], "verbs": ["get", "create", "patch"]}]
