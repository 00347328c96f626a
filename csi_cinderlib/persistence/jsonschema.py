"""Generates the JSON schema of the records, `docs/reference/records.schema.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_cinderlib.persistence.codec import FORMS, VERSION


def schema() -> Mapping[str, Any]:
    """A schema in draft 2020-12 with one definition per kind. A document is a record of any kind."""
    definitions = {form.name: _definition(form.name, form.schema, form.secrets) for form in FORMS.values()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Records of csi-cinderlib, version {VERSION}",
        "description": "Empty fields are left out. Unknown properties are kept. Secrets may be stored in `sealed`, by their path.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
        "$defs": definitions,
    }


def _definition(name: str, form: Mapping[str, Any], secrets: tuple[str, ...]) -> Mapping[str, Any]:
    properties: dict[str, Any] = {"v": {"const": VERSION}, "kind": {"const": name}, **form["properties"]}
    if secrets:
        properties["sealed"] = {
            "type": "object",
            "properties": {path: {"type": "string"} for path in secrets},
            "additionalProperties": {"type": "string"},
        }
    return {**form, "properties": properties, "required": ["v", "kind", *form["required"]]}
