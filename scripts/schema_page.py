"""The reference page of the records, and their JSON schema, from the model and the SQL tables."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from csi_cinderlib.persistence.api import INDEXED, KINDS
from csi_cinderlib.persistence.codec import FORMS, kind_name
from csi_cinderlib.persistence.jsonschema import schema
from csi_cinderlib.persistence.sql.schema import HEAD, NAMES, ON_DELETE, VERSION_TABLE

HEAD_TEXT = """# Records

What a metadata store keeps. Each record is one JSON object, whatever the store:
[records.schema.json](records.schema.json) is its JSON schema. Empty fields are left out, and what a newer program wrote is kept.
Fields marked *secret* move to the object's `sealed` part, by their path, when sealing keys are configured.
Fields marked *key* are those by which a store finds records.
"""

SQL_TEXT = f"""## SQL tables

Each kind is one table: `id` (primary key), `revision` (changes with every write), the key fields, and `body`, the JSON object.
For each key field there is an index on (field, `id`), so that a page costs the same at any depth. Text is compared byte by byte.
The schema's revision is `{HEAD}`, kept in `{VERSION_TABLE}`.
"""


def pages() -> Mapping[str, str]:
    return {"schema.md": _page(), "records.schema.json": json.dumps(schema(), indent=1) + "\n"}


def _page() -> str:
    parts = [HEAD_TEXT]
    kinds: Any = KINDS
    for kind in kinds:
        parts.append(f"## {kind_name(kind)}\n\n{(inspect.getdoc(kind) or '').partition('Attributes:')[0].strip()}\n")
        parts.append(_table(("field", "type", "", "meaning"), _fields(kind)))
    parts.append(SQL_TEXT)
    parts.append(_table(("kind", "table", "when its volume is removed"), _tables()))
    return "\n".join(parts)


def _fields(kind: Any) -> Iterator[tuple[str, ...]]:
    form = FORMS[kind]
    meanings = _meanings(kind)
    for item in fields(kind):
        if item.name in form.schema["properties"]:
            secret = [path for path in form.secrets if path.partition(".")[0] == item.name]
            marks = ["key"] if item.name in ("id", *INDEXED[kind]) else []
            marks += [f"secret: `{path}`" if "." in path else "secret" for path in secret]
            marks += ["required"] if item.name in form.schema["required"] else []
            yield (
                f"`{item.name}`",
                _type(form.schema["properties"][item.name]),
                ", ".join(marks),
                meanings.get(item.name, ""),
            )


def _type(value: Mapping[str, Any]) -> str:
    if words := value.get("enum"):
        return " \\| ".join(f"`{word}`" for word in words)
    if value["type"] == "array":
        return f"list of {_type(value['items'])}"
    if value["type"] == "object":
        return (
            "object"
            if "properties" not in value
            else "object: " + ", ".join(f"`{name}`" for name in value["properties"])
        )
    return {"string": "text", "boolean": "true or false", "integer": "whole number"}[value["type"]]


def _meanings(kind: Any) -> Mapping[str, str]:
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in section.splitlines():
        if entry := re.match(r"    (\w+): (.*)", line):
            found[entry[1]] = entry[2]
        elif found:
            found[next(reversed(found))] += " " + line.strip()
    return found


def _tables() -> Iterator[tuple[str, ...]]:
    words = {"RESTRICT": "keeps it from being removed", "CASCADE": "goes with it"}
    for kind, name in NAMES.items():
        yield kind_name(kind), f"`{name}`", words.get(ON_DELETE.get(kind, ""), "")


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), *rows)) + "\n"
