"""The page about the Python library, from its docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_overloads, get_type_hints, is_typeddict

import csi_cinderlib.cinderlib as library
from csi_cinderlib.cinderlib import attributes, exception, keywords, results
from scripts.generate import docstrings
from scripts.generate.markdown import one_line, prose

_CLASSES = ("Backend", "Volume", "Snapshot", "Connection", "Library", "KeyValue")

_FIELDS = {
    "Volume": attributes.VolumeFields,
    "Snapshot": attributes.SnapshotFields,
    "Connection": attributes.ConnectionFields,
    "Backend": attributes.DriverFields,
}
_OF = {
    "Volume": "Cinder's volume",
    "Snapshot": "Cinder's snapshot",
    "Connection": "Cinder's attachment",
    "Backend": "its driver",
}


def page() -> str:
    return "\n".join((prose("library"), *_functions(), *_classes(), *_fields(), *_dictionaries(), *_exceptions()))


def _functions() -> Iterator[str]:
    yield "## Functions\n"
    for name in library.__all__:
        if inspect.isfunction(function := getattr(library, name)):
            yield _function(name, function)


def _classes() -> Iterator[str]:
    for name in _CLASSES:
        cls = getattr(library, name)
        yield f"## {name}\n\n{docstrings.parse(cls).to_markdown()}\n"
        for member in sorted(_members(cls)):
            yield _member(name, member, inspect.getattr_static(cls, member))


def _fields() -> Iterator[str]:
    yield "## Fields\n"
    for name, cls in _FIELDS.items():
        annotations = {field: kind for base in reversed(cls.__mro__) for field, kind in _annotations(base)}
        yield f"**`{name}`** has these attributes of {_OF[name]}: {_listed(annotations)}\n"


def _dictionaries() -> Iterator[str]:
    for title, module in (("Dictionaries", results), ("Keyword arguments", keywords)):
        yield f"## {title}\n\n{docstrings.parse(module).to_markdown()}\n"
        for name, cls in vars(module).items():
            if getattr(cls, "__module__", "") == module.__name__ and not name.startswith("_"):
                yield f"**`{name}`**: {one_line(inspect.getdoc(cls) or '')} {_listed(dict(_keys(cls)))}\n"


def _keys(cls: type) -> Iterator[tuple[str, str]]:
    """The keys of a dictionary: of a TypedDict, or of the overloads of `__getitem__`."""
    if is_typeddict(cls):
        yield from _annotations(cls)
        return
    for overload in get_overloads(vars(cls)["__getitem__"]):
        kind = inspect.get_annotations(overload)["return"]
        yield from ((key, kind) for key in get_args(get_type_hints(overload)["key"]))


def _annotations(cls: type) -> Iterator[tuple[str, str]]:
    """Names and types, as in the source."""
    for name, kind in inspect.get_annotations(cls).items():
        if not name.startswith("_"):
            yield name, getattr(kind, "__forward_arg__", None) or getattr(kind, "__name__", None) or str(kind)


def _listed(annotations: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}: {kind}`" for name, kind in annotations.items()) + "."


def _exceptions() -> Iterator[str]:
    yield "## exception\n"
    yield f"{docstrings.parse(exception).to_markdown()}\n"
    yield "".join(f"- `{name}`\n" for name in sorted(dir(exception)))


def _members(cls: type) -> set[str]:
    own = [base for base in cls.__mro__ if base.__module__.startswith("csi_cinderlib.cinderlib")]
    return {name for base in own for name in vars(base) if not name.startswith("_") and not name.isupper()}


def _member(owner: str, name: str, member: Any) -> str:
    if isinstance(member, property):
        text = one_line(inspect.getdoc(member) or "")
        return f"- **`{name}`**" + (f": {text}\n" if text else "\n")
    if isinstance(member, (staticmethod, classmethod)):
        return _function(f"{owner}.{name}", member.__func__, skip_first=isinstance(member, classmethod))
    if inspect.isfunction(member):
        return _function(f"{owner.lower()}.{name}", member, skip_first=True)
    return f"- **`{name}`**\n"


def _function(name: str, function: Any, *, skip_first: bool = False) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1 if skip_first else 0 :]
    signature = ", ".join(_parameter(parameter) for parameter in parameters)
    return f"### `{name}({signature})`\n\n{docstrings.parse(function).to_markdown()}\n"


def _parameter(parameter: inspect.Parameter) -> str:
    stars: str = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")  # type: ignore[call-overload]  # one of five kinds
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return f"{stars}{parameter.name}{default}"
