"""The options of Cinder's drivers that are numbers or Booleans, for the typed values of JSON and Helm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from csi_cinderlib.backend.catalogue import Catalogue, Option
from csi_cinderlib.config import former

_KINDS = {"true or false": "boolean", "whole number": "integer", "number": "number"}
_CALLED = {"port": "whole number"}
_ELSEWHERE = {"type": "object", "additionalProperties": {"type": "string"}}


def names(catalogue: Catalogue) -> Mapping[str, list[str]]:
    """By type, with former names. Without options that are text for any driver."""
    types: dict[str, set[str]] = {}
    for option in _all(catalogue):
        for name in (option.name, *option.former_names):
            types.setdefault(name.replace("-", "_"), set()).add(
                "" if option.multiple else _CALLED.get(option.type, option.type)
            )
    for name in former.option_names():
        became = former.option(name)
        if became and became.name in types:
            types.setdefault(name, types[became.name])
    return {kind: sorted(name for name, found in types.items() if found == {kind}) for kind in _KINDS}


def _all(catalogue: Catalogue) -> Iterable[Option]:
    yield from catalogue.common
    for driver in catalogue.drivers:
        yield from driver.options


def to_text(catalogue: Catalogue) -> str:
    """The file `config/option_types.json`."""
    return json.dumps(names(catalogue), indent=1) + "\n"


def of_chart(catalogue: Catalogue) -> Mapping[str, Any]:
    """Definitions for the values' schema: Helm reads `012345` as 5349, so all but numbers and switches must be in quotes."""
    patterns = {
        f"^({'|'.join(name.replace('_', '[-_]') for name in found)})$": {
            **_ELSEWHERE,
            "type": [_KINDS[kind], "string", "object"],
        }
        for kind, found in names(catalogue).items()
    }
    text: dict[str, Any] = {"$ref": "#/$defs/optionText"}
    return {
        "options": {"type": ["object", "null"], "patternProperties": patterns, "additionalProperties": text},
        "optionText": {"type": ["string", "array", "object"], "items": text, "additionalProperties": text},
    }
