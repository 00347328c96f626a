"""The page about stored records, from the model and the SQL tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from csi_cinderlib.persistence.api import INDEXED, KINDS
from csi_cinderlib.persistence.codec import FORMS, kind_name
from csi_cinderlib.persistence.sql.schema import HEAD, NAMES, ON_DELETE, VERSION_TABLE
from scripts.generate import docstrings
from scripts.generate.markdown import prose, table

_TYPES = {"string": "text", "boolean": "true or false", "integer": "whole number"}


def page() -> str:
    parts = [prose("records")]
    kinds: Any = KINDS
    for kind in kinds:
        parts.append(f"## {kind_name(kind)}\n\n{docstrings.parse(kind).prose}\n")
        parts.append(table(("field", "type", "", "meaning"), _fields(kind)))
    parts.append(prose("records-sql").format(head=HEAD, version_table=VERSION_TABLE))
    parts.append(table(("kind", "table", "when its volume is removed"), _tables()))
    return "\n".join(parts)


def _fields(kind: Any) -> Iterator[tuple[str, ...]]:
    schema, meanings = FORMS[kind].schema, docstrings.parse(kind).attributes
    for field in fields(kind):
        if field.name in schema["properties"]:
            type_ = _type(schema["properties"][field.name])
            yield f"`{field.name}`", type_, ", ".join(_marks(kind, field.name)), meanings.get(field.name, "")


def _marks(kind: Any, name: str) -> Iterator[str]:
    form = FORMS[kind]
    if name in ("id", *INDEXED[kind]):
        yield "key"
    for path in form.secrets:
        if path.partition(".")[0] == name:
            yield f"secret: `{path}`" if "." in path else "secret"
    if name in form.schema["required"]:
        yield "required"


def _type(schema: Mapping[str, Any]) -> str:
    if words := schema.get("enum"):
        return " | ".join(f"`{word}`" for word in words)
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if schema["type"] == "object":
        names = ", ".join(f"`{name}`" for name in schema.get("properties", ()))
        return f"object: {names}" if names else "object"
    return _TYPES[schema["type"]]


def _tables() -> Iterator[tuple[str, ...]]:
    words = {"RESTRICT": "prevents its removal", "CASCADE": "removed with it"}
    for kind, name in NAMES.items():
        yield kind_name(kind), f"`{name}`", words.get(ON_DELETE.get(kind, ""), "")
