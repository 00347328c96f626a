"""The content of Ember-CSI's custom resources. Pure.

Ember-CSI stores cinderlib's JSON of each object in an annotation: `json`, or `value` for a key-value, whose key is the name.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

from csi_cinderlib.adoption import mapping
from csi_cinderlib.adoption.database import mark_attached, volume_of
from csi_cinderlib.adoption.found import Found
from csi_cinderlib.adoption.rows import check
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import Attachment, KeyValue, Snapshot, Volume, VolumeType

Item = Mapping[str, Any]

GROUP = "ember-csi.io"
PLURALS: Mapping[str, str] = {
    "Volume": "volumes",
    "Snapshot": "snapshots",
    "Connection": "connections",
    "KeyValue": "keyvalues",
}
"""Names in the API, by kind."""
_DATA = "versioned_object.data"


def is_resource(item: object) -> bool:
    """Whether it is one of Ember-CSI's objects."""
    return (
        isinstance(item, Mapping)
        and item.get("kind") in PLURALS
        and str(item.get("apiVersion")).partition("/")[0] == GROUP
    )


def content(items: Iterable[Item]) -> Found:
    """All records and problems. Raises InvalidRequest: a back end may be several ones of the same name."""
    found = Found()
    namespaces: dict[str, set[str]] = defaultdict(set)
    by_kind: dict[str, list[tuple[str, Item]]] = {kind: [] for kind in PLURALS}
    for item in items:
        if _is_deleted(item):
            found.deleted[item["kind"]] += 1
        else:
            by_kind[item["kind"]].append((str(_metadata(item).get("name") or ""), item))
    for name, item in by_kind["Volume"]:
        if volume := found.keep("Volume", name, found.volumes, partial(_volume, item)):
            namespaces[volume.backend].add(str(_metadata(item).get("namespace") or ""))
    _check_namespaces(namespaces)
    for name, item in by_kind["Snapshot"]:
        found.keep("Snapshot", name, found.snapshots, partial(_snapshot, found, item))
    for name, item in by_kind["Connection"]:
        found.keep("Connection", name, found.attachments, partial(_attachment, found, item))
    for name, item in by_kind["KeyValue"]:
        found.keep("KeyValue", name, found.key_values, partial(_key_value, name, item))
    mark_attached(found)
    found.note_messages()
    return found


def _check_namespaces(namespaces: Mapping[str, Collection[str]]) -> None:
    """Each installation of Ember-CSI names its back end itself, so the same name in another namespace may be another array."""
    for backend, names in namespaces.items():
        if len(names) > 1:
            raise InvalidRequest(
                "metadata.namespace",
                f"the namespaces {', '.join(sorted(names))} have volumes of a back end {backend!r}, which may be different storage; "
                "adopt one namespace, and copy the data of the others",
            )


def _is_deleted(item: Item) -> bool:
    """Whether the object says so itself: its deletion was interrupted."""
    if item["kind"] == "KeyValue":
        return False
    try:
        columns = _columns(item)
    except InvalidRequest:
        return False  # reported as a problem later
    return bool(columns.get("deleted")) or columns.get("status") == "deleted"


def _volume(item: Item) -> Volume:
    columns = _columns(item)
    return mapping.volume_record(columns, _type(columns.get("volume_type")))


def _snapshot(found: Found, item: Item) -> Snapshot:
    columns = _columns(item)
    return mapping.snapshot_record(columns, volume_of(found, columns).backend)


def _attachment(found: Found, item: Item) -> Attachment:
    columns = _columns(item)
    return mapping.attachment_record(columns, volume_of(found, columns).backend, block=False)


def _key_value(name: str, item: Item) -> KeyValue:
    return mapping.key_value(name, _annotation(item, "value"))


def _columns(item: Item) -> dict[str, Any]:
    """The fields of Cinder's object. Raises InvalidRequest without the text, which contains secrets."""
    try:
        columns = json.loads(_annotation(item, "json"))["ovo"][_DATA]
    except (ValueError, RecursionError):
        raise InvalidRequest("metadata.annotations.json", "is not valid JSON") from None
    except (KeyError, TypeError):
        columns = None
    if not isinstance(columns, dict):
        raise InvalidRequest("metadata.annotations.json", f"has no ovo.{_DATA}; it must be JSON of cinderlib")
    check(columns)
    return columns


def _metadata(item: Item) -> Mapping[str, Any]:
    found = item.get("metadata")
    return found if isinstance(found, Mapping) else {}


def _annotation(item: Item, name: str) -> str:
    annotations = _metadata(item).get("annotations")
    value = annotations.get(name) if isinstance(annotations, Mapping) else None
    if not isinstance(value, str):
        raise InvalidRequest(f"metadata.annotations.{name}", "is missing; read the objects with `kubectl get -o yaml`")
    return value


def _type(primitive: Any) -> VolumeType | None:
    data = (primitive or {}).get(_DATA) or {}
    qos = (data.get("qos_specs") or {}).get(_DATA) or {}
    extra, specs = data.get("extra_specs") or {}, qos.get("specs") or {}
    if not extra and not specs:
        return None
    return VolumeType(
        extra_specs={str(key): str(value) for key, value in extra.items()},
        qos_specs={str(key): str(value) for key, value in specs.items()},
        qos_consumer=str(qos.get("consumer") or "back-end"),
    )
