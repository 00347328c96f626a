"""Lossless conversion between the JSON object of a record and the spec of a Kubernetes object.

Kubernetes stores numbers as 64-bit integers or doubles, and text as valid UTF-8. Fields with other values, for example from drivers, are
stored in `exact` as JSON text. `write` is the revision of the record; it changes with each write of the record and only then.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

Json = dict[str, Any]

_INT64 = 2**63
_OURS = ("exact", "write")


def to_spec(body: Json) -> Json:
    odd = {name: value for name, value in body.items() if not _is_plain(value)}
    spec = {name: value for name, value in body.items() if name not in odd}
    if odd:
        spec["exact"] = json.dumps(odd, separators=(",", ":"))
    spec["write"] = secrets.token_hex(8)
    return spec


def from_spec(spec: object) -> Json:
    """Reverse `to_spec`. Returns as much as possible of an invalid spec."""
    if not isinstance(spec, dict):
        return {}
    body = {name: value for name, value in spec.items() if name not in _OURS}
    try:
        body.update(json.loads(spec.get("exact", "{}")))
    except (ValueError, TypeError):
        return {}
    return body


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, float):
        return not value.is_integer()  # Kubernetes would convert 2.0 to an integer
    if isinstance(value, str):
        return value.isascii() or value.encode(errors="replace").decode() == value
    return value is None or isinstance(value, bool) or (isinstance(value, int) and -_INT64 <= value < _INT64)
