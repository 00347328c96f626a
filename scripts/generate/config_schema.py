"""The JSON schema of the configuration file: keys from the settings' dataclasses, drivers' options from the catalogue."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from csi_cinderlib.config.load import CINDER_CONF_KEY
from csi_cinderlib.config.settings import BackendSettings, Settings
from scripts.generate.configuration import keys

Schema = dict[str, Any]
ELSEWHERE: Schema = {
    "type": "object",
    "description": "a value from a file or from the environment",
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {"file": {"type": "string"}, "env": {"type": "string"}},
    "additionalProperties": False,
}
_SCALARS: Mapping[type, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Path: {"type": "string"},
}
_OPTIONS: Mapping[str, Schema] = {
    "whole number": {"type": ["integer", "string"]},
    "port": {"type": ["integer", "string"]},
    "number": {"type": ["number", "string"]},
    "true or false": {"type": ["boolean", "string"]},
    "list": {"type": ["array", "string"], "items": {"type": ["string", "object"]}},
    "list in brackets": {"type": ["array", "string"], "items": {"type": "string"}},
    "mapping": {"type": ["object", "array", "string"]},
}


def schema(catalogue: Catalogue) -> Schema:
    """The whole file."""
    options: dict[str, Schema] = {}
    file = _record(Settings)
    file["properties"][CINDER_CONF_KEY] = {
        "type": "string",
        "description": "a cinder.conf whose enabled back ends are added",
    }
    file["properties"]["backends"] = {"type": "object", "additionalProperties": _reference("backend")}
    backend = _record(BackendSettings, without="name")
    backend["allOf"] = [_of_driver(driver, options) for driver in catalogue.drivers]
    backend["properties"]["driver"]["examples"] = [driver.path for driver in catalogue.drivers]
    common: Schema = {"type": "object", "properties": _properties(catalogue.common, options)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "csi-cinderlib's configuration",
        **file,
        "$defs": {"elsewhere": ELSEWHERE, "backend": backend, "every-driver": common, **options},
    }


def to_text(schema: Schema) -> str:
    """JSON with the options of one driver on each line."""
    return re.sub(r"\n {10,}", " ", json.dumps(schema, indent=2, ensure_ascii=False)) + "\n"


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _of_driver(driver: Driver, options: dict[str, Schema]) -> Schema:
    allowed = {
        **_reference("every-driver"),
        "properties": _properties(driver.options, options),
        "unevaluatedProperties": False,
    }
    return {
        "if": {"properties": {"driver": {"const": driver.path}}, "required": ["driver"]},
        "then": {"properties": {"options": allowed}},
    }


def _properties(wanted: Iterable[Option], options: dict[str, Schema]) -> Schema:
    """By current and former names. Adds each distinct option to `options` once, under its name and a number."""
    properties: Schema = {}
    for option in wanted:
        same_name = [key for key in options if key.rpartition("-")[0] == option.name]
        definition = _option(option)
        key = next((key for key in same_name if options[key] == definition), f"{option.name}-{len(same_name)}")
        options.setdefault(key, definition)
        for name in (option.name, *option.former_names):
            properties[name.replace("-", "_")] = _reference(key)
    return properties


def _option(option: Option) -> Schema:
    definition: Schema = {
        "description": option.help,
        "anyOf": [_option_value(option), _reference("elsewhere"), {"type": "null"}],
    }
    if option.default is not None:
        definition["default"] = option.default
    if option.deprecated:
        definition["deprecated"] = True
    if option.secret:
        definition["writeOnly"] = True
    return definition


def _option_value(option: Option) -> Schema:
    value: Schema = (
        {"enum": list(option.choices)} if option.choices else {**_OPTIONS.get(option.type, {"type": "string"})}
    )
    if option.minimum is not None:
        value["minimum"] = option.minimum
    if option.maximum is not None:
        value["maximum"] = option.maximum
    return {"anyOf": [value, {"type": "array", "items": value}]} if option.multiple else value


def _record(kind: Any, without: str = "") -> Schema:
    properties: Schema = {}
    required = []
    for key in keys(kind, without=without):
        properties[key.name] = {**_value(key.type), **({"description": key.meaning} if key.meaning else {})}
        if key.required:
            required.append(key.name)
    record: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**record, "required": required} if required else record


def _value(hint: Any) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        if dataclasses.is_dataclass(arguments[0]) and "name" in get_type_hints(arguments[0]):
            return _mapping(arguments[0])
        return {"type": "array", "items": _value(arguments[0])}
    if origin is Mapping:
        return _mapping(arguments[1])
    if dataclasses.is_dataclass(hint):
        return _record(hint)
    if issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    return {"anyOf": [_SCALARS[hint], _reference("elsewhere")]}


def _mapping(kind: Any) -> Schema:
    """A mapping from names to values of that kind."""
    if kind is object:
        return {"type": "object", "additionalProperties": {}}
    values = _record(kind, without="name") if dataclasses.is_dataclass(kind) else _value(kind)
    return {"type": "object", "additionalProperties": values}
