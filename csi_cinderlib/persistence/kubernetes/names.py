"""Ids and index values as Kubernetes accepts them: object names that keep the order of ids, labels that can be looked up."""

from __future__ import annotations

import base64
import hashlib
import re

from csi_cinderlib.model.records import InitiatorData, KeyValue, Record

MAX_NAME = 253
MAX_LABEL = 63
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_FREE_TEXT = (KeyValue, InitiatorData)
_MARK = "\0"
_LONGEST = 90
"""Bytes of a free-text id that keep their order in the name; beyond that a digest tells ids apart."""


def object_name(kind: type[Record], id: str) -> str:
    """The object's name. Ids of most kinds are names already (UUIDs, node names).

    Keys of the library's users are free text: base32hex, whose alphabet sorts as the bytes do, so that lists walk in id order.
    """
    if kind not in _FREE_TEXT and len(id) <= MAX_NAME and _NAME.fullmatch(id):
        return id
    raw = id.encode(errors="surrogatepass")
    text = base64.b32hexencode(raw[:_LONGEST]).decode().rstrip("=").lower()
    return (
        f"{text or '0'}.{hashlib.sha256(raw).hexdigest()}"
        if len(raw) > _LONGEST or kind not in _FREE_TEXT
        else text or "0"
    )


def place(kind: type[Record], name: str) -> str:
    """Where a walk stands at the object of that name, whatever it holds: the `after` of the next page.

    For most kinds a name is an id too; where it is not, it is marked by what no id holds, a NUL.
    """
    return name if object_name(kind, name) == name else _MARK + name


def name_at(kind: type[Record], place: str) -> str:
    """The name of the object at which a walk stands."""
    return place.removeprefix(_MARK) if place.startswith(_MARK) else object_name(kind, place)


def label_value(value: str) -> str:
    """The value itself where it may be a label, else a digest of it: equal values have equal labels."""
    if len(value) <= MAX_LABEL and (not value or _LABEL.fullmatch(value)) and not value.startswith("sha256-"):
        return value
    return "sha256-" + hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()[:48]
