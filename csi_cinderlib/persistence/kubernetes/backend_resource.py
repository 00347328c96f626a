"""The resources of back ends: people write a BackendConfiguration, the controller writes a StorageBackend.

They are two kinds, because rights, Helm and earlier versions regard a kind as a whole: an earlier controller deletes each StorageBackend
that it does not know, and the right to patch a StorageBackend, which restarts a back end, must not reach its options.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
"""As in `config.check`."""
VALUE_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"
"""Of the value of a label that is not empty."""
LONGEST_MESSAGE = 32768
"""Characters of the message of a condition, as in metav1.Condition."""
_RULES: tuple[tuple[str, str], ...] = (
    (
        "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
        "name is immutable, because the volumes of the back end refer to it; set it back",
    ),
)


def shown_schema() -> Json:
    """The OpenAPI schema of a StorageBackend."""
    spec = {
        "name": _field("string", "The value of the StorageClass parameter `backend`."),
        "driver": _field("string", "The class of the Cinder driver."),
    }
    return _object(
        _field("object", "A back end, for display only. Edit its configuration instead.", properties=spec), _state()
    )


def configuration_schema() -> Json:
    """The OpenAPI schema of a BackendConfiguration."""
    status = {"conditions": _conditions(), "observedGeneration": _observed()}
    return _object(_spec(), _field("object", "The observed state.", properties=status))


def _object(spec: Json, status: Json) -> Json:
    head = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    return {"type": "object", "required": ["spec"], "properties": {**head, "spec": spec, "status": status}}


def _field(type_: str, description: str, **more: Any) -> Json:
    return {"type": type_, "description": description, **more}


def _spec() -> Json:
    properties = {
        "name": _field(
            "string",
            "Name of the back end, for the StorageClass parameter `backend`. It is the name of the object unless that cannot be an object's name.",
            pattern=NAME_PATTERN,
            maxLength=63,
        ),
        "driver": _field(
            "string",
            "Class path of the Cinder driver, as in `volume_driver` of Cinder.",
            maxLength=253,
            pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        ),
        "options": _field(
            "object",
            "Options of the driver by their Cinder names. Put texts in quotes. Put passwords into the Secret of `secretRef`.",
            **{"x-kubernetes-preserve-unknown-fields": True},
        ),
        "secretRef": _field(
            "object",
            "A Secret in this namespace whose keys are further options of the driver. The controller needs the right to read it.",
            required=["name"],
            properties={"name": _field("string", "Name of the Secret.", minLength=1, maxLength=253)},
        ),
        "pools": _field(
            "array",
            "Pools for new volumes, by the names that the driver reports; empty is all.",
            items={"type": "string", "minLength": 1},
            maxItems=1000,
            **{"x-kubernetes-list-type": "set"},
        ),
        "topology": _field(
            "object",
            "Topology segments of the nodes that can reach this back end, as labels; empty is all nodes.",
            additionalProperties={"type": "string", "maxLength": 63, "pattern": VALUE_PATTERN},
        ),
        "limits": _field(
            "object",
            "Limits of the load on the storage.",
            properties={
                "maxConcurrentCalls": _field("integer", "Concurrent calls into the driver; 0 is no limit.", minimum=0),
                "statsSeconds": _field("number", "How long capacity figures are cached.", minimum=0),
            },
        ),
        "paused": _field(
            "boolean",
            "Create, delete, expand and snapshot nothing. Volumes are attached and detached as usual.",
        ),
        "drained": _field("boolean", "Accept no new volumes. Existing ones stay usable in every way."),
    }
    return {
        "type": "object",
        "description": "The configuration of a back end.",
        "required": ["driver"],
        "properties": properties,
        "x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in _RULES],
    }


def _conditions() -> Json:
    return {
        "type": "array",
        "description": "Ready, Accepted, Paused, Drained and, during a deletion, Deleting.",
        "items": _condition(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }


def _observed() -> Json:
    return _field("integer", "The generation of the spec that is in use.", format="int64")


def _state() -> Json:
    return _field(
        "object",
        "The status that the controller observed.",
        properties={
            "conditions": _conditions(),
            "ready": _field("boolean", "The back end is set up and responded when last polled."),
            "reason": _field("string", "Why the back end is not ready, or another problem."),
            "protocol": _field("string", "The storage protocol: iSCSI, FC, NVMe-oF, ceph ..."),
            "totalGiB": _field(
                "integer", "Total capacity of all pools; absent if one is unlimited or unknown.", format="int64"
            ),
            "freeGiB": _field("integer", "Free capacity of all pools; absent as totalGiB.", format="int64"),
            "volumes": _field("integer", "Number of volume records, updated every few minutes.", format="int64"),
            "observedAt": _field("string", "When this status was last observed.", format="date-time"),
            "controller": _field("string", "The pod of the controller that observed this status."),
            "restartedAt": _field(
                "string", "The last value of the annotation cinderlib.io/restartedAt that was applied."
            ),
        },
    )


def _condition() -> Json:
    """As metav1.Condition."""
    return {
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": _field("string", "Ready, Accepted, Paused, Drained or Deleting."),
            "status": _field("string", "True, False or Unknown.", enum=["True", "False", "Unknown"]),
            "observedGeneration": _field("integer", "The spec that the condition describes.", format="int64"),
            "lastTransitionTime": _field("string", "When the status last changed.", format="date-time"),
            "reason": _field("string", "The reason, for programs.", maxLength=1024),
            "message": _field("string", "The reason, for people.", maxLength=LONGEST_MESSAGE),
        },
    }
