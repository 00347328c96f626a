"""The page about the configuration file, from the dataclasses of the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from csi_cinderlib.config.load import CINDER_CONF_KEY, DEFAULT_STATE_DIR, VARIABLES
from csi_cinderlib.config.settings import NOT_A_KEY, BackendSettings, LogSettings, SealingKey, Settings, StoreSettings
from csi_cinderlib.model.records import VolumeType
from scripts.generate import docstrings
from scripts.generate.markdown import prose, table

_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
_SECTIONS = (
    ("The whole file", Settings, ""),
    ("backends.NAME", BackendSettings, "name"),
    ("volume_types.NAME", VolumeType, "name"),
    ("store", StoreSettings, ""),
    ("sealing_keys[]", SealingKey, ""),
    ("log", LogSettings, ""),
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping in the file.

    Attributes:
        default: None if the key is required or its default is empty.
    """

    name: str
    type: Any
    default: object
    required: bool
    meaning: str


def keys(kind: type, *, without: str = "") -> Iterator[Key]:
    """The keys of a mapping, from the dataclass that it is loaded into.

    Args:
        without: a field that is not a key inside the mapping, but the mapping's own key.
    """
    types, meanings = get_type_hints(kind), docstrings.parse(kind).attributes
    for field in dataclasses.fields(kind):
        if field.name != without and field.metadata != NOT_A_KEY:
            default: Any = field.default
            if kind is Settings and field.name == "state_dir":
                default = str(DEFAULT_STATE_DIR)
            required = default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            default = None if default is dataclasses.MISSING else default
            yield Key(field.name, types[field.name], default, required, meanings.get(field.name, ""))


def page() -> str:
    parts = [prose("configuration")]
    for title, kind, without in _SECTIONS:
        rows = [_row(key) for key in keys(kind, without=without)]
        if kind is Settings:
            meaning = "a cinder.conf whose enabled back ends are added, their sections as they are"
            rows.append((f"`{CINDER_CONF_KEY}`", "path", "", meaning))
        parts.append(f"## {title}\n\n{docstrings.parse(kind).summary}\n")
        parts.append(table(("key", "type", "default", "meaning"), rows))
    variables = [(f"`{variable}`", f"`{name.replace('log_', 'log.')}`") for name, variable in VARIABLES.items()]
    parts.append(
        "## Environment\n\nEnvironment variables override the file; options on the command line override both.\n"
    )
    parts.append(table(("variable", "key"), variables))
    return "\n".join(parts)


def _row(key: Key) -> tuple[str, ...]:
    return f"`{key.name}`", _type(key.type), "*required*" if key.required else _default(key.default), key.meaning


def _type(hint: Any) -> str:
    if get_origin(hint) is Mapping:
        return "mapping"
    if get_origin(hint) is tuple:
        return "mapping by name" if get_args(hint)[0] is BackendSettings else "list"
    return "mapping" if dataclasses.is_dataclass(hint) else _TYPES.get(hint, "text")


def _default(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str | int | float) and value != "" else ""
