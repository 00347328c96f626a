"""A record's JSON object as an object's spec, and back, exactly.

Kubernetes keeps numbers as 64-bit integers or doubles and text as valid UTF-8. A field that holds anything else (a driver's answer may)
goes into `exact` as JSON text. `write` is the record's revision: it differs at each write of the record, and at nothing else.
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
    """What was given to `to_spec`; of anything else, what can be made of it."""
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
        return not value.is_integer()  # Kubernetes would make an integer of 2.0
    if isinstance(value, str):
        return value.isascii() or value.encode(errors="replace").decode() == value
    return value is None or isinstance(value, bool) or (isinstance(value, int) and -_INT64 <= value < _INT64)
