"""Conversion of ids and index values to Kubernetes: object names that preserve the order of ids, and labels for lookups."""

from __future__ import annotations

import base64
import binascii
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
"""Bytes of a free-text id that determine the order of the name; a digest distinguishes longer ids."""


def object_name(kind: type[Record], id: str) -> str:
    """Return the name of the object. Ids of most kinds are valid names (UUIDs, node names).

    Keys of library users are free text. They are encoded as base32hex, which preserves the byte order, so that lists are in id order.
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


def id_at(kind: type[Record], name: str) -> str:
    """Return the id that belongs to an object name; the name itself if it is no encoded id.

    Of a long id, it is the beginning and the digest.
    """
    if kind not in _FREE_TEXT or object_name(kind, "") == name:
        return name
    text, dot, digest = name.partition(".")
    try:
        raw = base64.b32hexdecode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        return name
    return raw.decode(errors="replace") + dot + digest


def place(kind: type[Record], name: str) -> str:
    """Return the `after` value for the page that follows the object of this name, even if the object is unreadable.

    For most kinds a name is a valid id. Other names are marked with a NUL, which no id contains.
    """
    return name if object_name(kind, name) == name else _MARK + name


def name_at(kind: type[Record], place: str) -> str:
    """Return the object name for an `after` value."""
    return place.removeprefix(_MARK) if place.startswith(_MARK) else object_name(kind, place)


def label_value(value: str) -> str:
    """Return the value if it is a valid label, else a digest. Equal values have equal labels."""
    if len(value) <= MAX_LABEL and (not value or _LABEL.fullmatch(value)) and not value.startswith("sha256-"):
        return value
    return "sha256-" + hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()[:48]
