"""Generates the JSON schema of the records, `docs/reference/records.schema.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_cinderlib.persistence.codec import FORMS, VERSION
from csi_cinderlib.persistence.forms import Form


def schema() -> Mapping[str, Any]:
    """A schema in draft 2020-12 with one definition per kind. A document is a record of any kind."""
    definitions = {form.name: _definition(form) for form in FORMS.values()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Records of csi-cinderlib, version {VERSION}",
        "description": "Empty fields are left out. Unknown properties are kept. Secrets may be stored in `sealed`, by their path.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in definitions],
        "$defs": definitions,
    }


def _definition(form: Form) -> Mapping[str, Any]:
    version = {"const": 1} if form.versions == (1,) else {"enum": list(form.versions)}
    properties: dict[str, Any] = {"v": version, "kind": {"const": form.name}, **form.schema["properties"]}
    if form.secrets:
        properties["sealed"] = {
            "type": "object",
            "properties": {path: {"type": "string"} for path in form.secrets},
            "additionalProperties": {"type": "string"},
        }
    return {**form.schema, "properties": properties, "required": ["v", "kind", *form.schema["required"]]}
