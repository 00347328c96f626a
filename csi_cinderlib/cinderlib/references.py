"""References to other options in values, as cinderlib resolves them with oslo.config: `$name`, `${name}`, `${group.name}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from csi_cinderlib.model.verbatim import Referring
from csi_cinderlib.observe import redact


def resolved(options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose values refer to `known` options, and to those that Cinder has.

    Values of secret options are literal. In other values a dollar sign that begins no reference is literal.
    """
    return {
        name: value if redact.is_secret_key(name) else _value(value, {key: known[key] for key in known if key != name})
        for name, value in options.items()
    }


def _value(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        text = _text(value, known)
        return Referring(text) if "$" in text else text
    if isinstance(value, list | tuple):
        return [_value(item, known) for item in value]
    if isinstance(value, Mapping):
        return {key: item if redact.is_secret_key(str(key)) else _value(item, known) for key, item in value.items()}
    return value


def _text(value: str, known: Mapping[str, Any]) -> str:
    def given(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return str(known[name]) if name in known else match[0]

    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", given, value)
