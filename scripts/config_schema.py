"""The JSON schema of the configuration file: our own keys from the settings' dataclasses, drivers' options from the catalogue."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from csi_cinderlib.config.load import CINDER_CONF_KEY
from csi_cinderlib.config.settings import BackendSettings, Settings

Schema = dict[str, Any]
ELSEWHERE = {"$ref": "#/$defs/elsewhere"}
_SCALARS: Mapping[type, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Path: {"type": "string"},
}
_TEXT = ["string", "number", "boolean"]
_OPTIONS: Mapping[str, Schema] = {
    "whole number": {"type": ["integer", "string"]},
    "port": {"type": ["integer", "string"]},
    "number": {"type": ["number", "string"]},
    "true or false": {"type": ["boolean", "string"]},
    "list": {"type": ["array", *_TEXT], "items": {"type": [*_TEXT, "object"]}},
    "mapping": {"type": ["object", "array", "string"]},
}


def schema(catalogue: Catalogue) -> Schema:
    """The whole file."""
    options: dict[str, Schema] = {}
    whole = _record(Settings)
    whole["properties"][CINDER_CONF_KEY] = {
        "type": "string",
        "description": "a cinder.conf whose enabled back ends are added",
    }
    backend = _record(BackendSettings, without="name")
    backend["allOf"] = [_of_driver(driver, options) for driver in catalogue.drivers]
    backend["properties"]["driver"]["examples"] = [driver.path for driver in catalogue.drivers]
    whole["properties"]["backends"] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/backend"}}
    common: Schema = {"type": "object", "properties": _properties(catalogue.common, options)}
    elsewhere = {
        "type": "object",
        "description": "a value from a file or from the environment",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {"file": {"type": "string"}, "env": {"type": "string"}},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "csi-cinderlib's configuration",
        **whole,
        "$defs": {"elsewhere": elsewhere, "backend": backend, "every-driver": common, **options},
    }


def to_text(made: Schema) -> str:
    """One driver's options a line."""
    return re.sub(r"\n {10,}", " ", json.dumps(made, indent=2, ensure_ascii=False)) + "\n"


def _of_driver(driver: Driver, options: dict[str, Schema]) -> Schema:
    allowed = {
        "$ref": "#/$defs/every-driver",
        "properties": _properties(driver.options, options),
        "unevaluatedProperties": False,
    }
    return {
        "if": {"properties": {"driver": {"const": driver.path}}, "required": ["driver"]},
        "then": {"properties": {"options": allowed}},
    }


def _properties(wanted: Iterable[Option], options: dict[str, Schema]) -> Schema:
    """By all names that the options have or had; each different one is defined once, under its name and a number."""
    properties: Schema = {}
    for option in wanted:
        same = [name for name in options if name.rpartition("-")[0] == option.name]
        made = _option(option)
        key = next((name for name in same if options[name] == made), f"{option.name}-{len(same)}")
        options.setdefault(key, made)
        for name in (option.name, *option.former_names):
            properties[name.replace("-", "_")] = {"$ref": f"#/$defs/{key}"}
    return properties


def _option(option: Option) -> Schema:
    if option.choices:
        value: Schema = {"enum": list(option.choices)}
    else:
        value = dict(_OPTIONS.get(option.type, {"type": _TEXT}))
    if option.minimum is not None:
        value["minimum"] = option.minimum
    if option.maximum is not None:
        value["maximum"] = option.maximum
    if option.multiple:
        value = {"anyOf": [value, {"type": "array", "items": value}]}
    made: Schema = {"description": option.help, "anyOf": [value, ELSEWHERE, {"type": "null"}]}
    if option.default is not None:
        made["default"] = option.default
    if option.deprecated:
        made["deprecated"] = True
    if option.secret:
        made["writeOnly"] = True
    return made


def _record(kind: Any, without: str = "") -> Schema:
    hints, meanings = get_type_hints(kind), _attributes(kind)
    properties: Schema = {}
    required = []
    for item in dataclasses.fields(kind):
        if item.name == without:
            continue
        properties[item.name] = {**_value(hints[item.name]), **_described(meanings.get(item.name, ""))}
        if (
            item.default is dataclasses.MISSING
            and item.default_factory is dataclasses.MISSING
            and item.name != "state_dir"
        ):
            required.append(item.name)
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made


def _described(text: str) -> Schema:
    return {"description": text} if text else {}


def _value(hint: Any) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if dataclasses.is_dataclass(arguments[0]) and "name" in get_type_hints(arguments[0]):
            return {"type": "object", "additionalProperties": _record(arguments[0], without="name")}
        return {"type": "array", "items": _value(arguments[0])}
    if origin is Mapping:
        inner = arguments[1]
        of = (
            _record(inner, without="name")
            if dataclasses.is_dataclass(inner)
            else {}
            if inner is object
            else _value(inner)
        )
        return {"type": "object", "additionalProperties": of}
    if dataclasses.is_dataclass(hint):
        return _record(hint)
    if issubclass(hint, enum.Enum):
        return {"enum": [one.value for one in hint]}
    return {"anyOf": [_SCALARS[hint], ELSEWHERE]}


def _attributes(kind: Any) -> dict[str, str]:
    """The `Attributes:` section of a docstring."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in section.splitlines():
        if entry := re.match(r"    (\w+): (.*)", line):
            found[entry[1]] = entry[2]
        elif found and line.startswith("        "):
            found[next(reversed(found))] += " " + line.strip()
    return found
