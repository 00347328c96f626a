"""The JSON form of each dataclass of the model, compiled once from its fields."""

from __future__ import annotations

import enum
import functools
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from operator import attrgetter
from typing import Any

from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.making import maker
from csi_cinderlib.persistence.values import SCALARS, Coder, WrongValue, choice, listing, text, word

_STORES_OWN = frozenset({"revision", "unknown"})
_ALWAYS_WRITTEN = object()
_CAPABILITY = frozenset({"access_mode", "mount", "block"})


class Form:
    """The JSON form of a dataclass.

    Attributes:
        name: the class name in lower case with hyphens, for example "group-snapshot".
        mandatory: fields that an object must contain to be readable.
        secrets: dotted paths of the sealed fields.
        versions: all versions of objects of this form, see `version_of`.
        make: creates the dataclass from the values that `read` returns.
        schema: the JSON schema of the object; other properties are allowed and kept.
    """

    def __init__(self, kind: type) -> None:
        hints = typing.get_type_hints(kind)
        own = [item for item in fields(kind) if item.name not in _STORES_OWN]
        coders = {item.name: _coder(hints[item.name]) for item in own}
        self.kind = kind
        self.make = maker(kind)
        self.name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()
        self._writing = tuple((item.name, coders[item.name].write, _left_out(item)) for item in own)
        self._texts = frozenset(name for name, coder in coders.items() if coder.read is text)
        self._simple = {name: coder.read for name, coder in coders.items() if not coder.nested}
        self._nested = {name: coder.read for name, coder in coders.items() if coder.nested}
        self.mandatory = frozenset(item.name for item in own if _is_required(item))
        self._since = tuple(found for item in own for found in _since(item, hints[item.name]))
        self.versions = tuple(sorted({1, *(since for _, since in self._since)}))
        self.secrets = tuple(path for item in own for path in _secrets(item, hints[item.name]))
        self.schema: Mapping[str, Any] = {
            "type": "object",
            "properties": {name: coder.schema for name, coder in coders.items()},
            "required": [
                item.name for item in own if _left_out(item) is _ALWAYS_WRITTEN and not item.metadata.get("secret")
            ],
            "additionalProperties": True,
        }

    def version_of(self, value: object) -> int:
        """The lowest version of programs that know all fields that they must not ignore."""
        return max((since for read, since in self._since if read(value)), default=1)

    def write(self, value: object, body: dict[str, Any]) -> dict[str, Any]:
        """Write the fields to `body`. Raises WrongValue."""
        name = ""
        try:
            for name, write, left_out in self._writing:
                item = getattr(value, name)
                if item != left_out:
                    body[name] = write(item)
        except WrongValue as wrong:
            raise wrong.inside(name) from None
        return body

    def read(self, body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values of the fields, and the unknown parts of the object. Raises WrongValue."""
        if type(body) is not dict:
            raise WrongValue(f"must be an object, not {word(body)}")
        texts, simple, nested = self._texts, self._simple, self._nested
        values: dict[str, Any] = {}
        left: dict[str, Any] = {}
        name = ""
        try:
            for name, item in body.items():
                if name in texts:
                    values[name] = item if type(item) is str else text(item)
                elif name in simple:
                    values[name] = simple[name](item)
                elif name in nested:
                    values[name], unknown = nested[name](item)
                    if unknown:
                        left[name] = unknown
                else:
                    left[name] = item
        except WrongValue as wrong:
            raise wrong.inside(name) from None
        if not self.mandatory <= values.keys():
            raise WrongValue("is missing", min(self.mandatory - values.keys()))
        return values, left

    @functools.cached_property
    def coder(self) -> Coder:
        """The coder for a field of this type in another dataclass."""
        kind = self.kind

        def write(value: Any) -> dict[str, Any]:
            if type(value) is not kind:
                raise WrongValue(f"must be a {kind.__name__}, not {word(value)}")
            return self.write(value, {})

        def read(body: Any) -> tuple[Any, dict[str, Any]]:
            values, left = self.read(body)
            return self.make(values), left

        return Coder(write, read, self.schema, nested=True)


@functools.cache
def form_of(kind: type) -> Form:
    return Form(kind)


def _is_required(item: Field[Any]) -> bool:
    return bool(item.metadata.get("stored")) or (item.default is MISSING and item.default_factory is MISSING)


def _left_out(item: Field[Any]) -> object:
    """The value that is omitted, which is an empty default. Defaults of other fields may change, so those are always written."""
    default = item.default
    if is_dataclass(default) and not isinstance(default, type):
        return default if form_of(type(default)).write(default, {}) == {} else _ALWAYS_WRITTEN
    return default if default is None or (not default and not isinstance(default, int)) else _ALWAYS_WRITTEN


def _secrets(item: Field[Any], hint: Any) -> list[str]:
    if item.metadata.get("secret"):
        return [item.name]
    if isinstance(hint, type) and is_dataclass(hint):
        return [f"{item.name}.{inner}" for inner in form_of(hint).secrets]
    return []


def _since(item: Field[Any], kind: Any) -> Iterator[tuple[Callable[[object], object], int]]:
    """The version of programs that know the field, and those of the fields in its object. Each with a function that tells whether they must."""
    if "since" in item.metadata:
        yield functools.partial(_matters, attrgetter(item.name), item.metadata), item.metadata["since"]
    for part in fields(kind) if is_dataclass(kind) else ():
        if "since" in part.metadata:
            read = functools.partial(_part, item.name, part.name)
            yield functools.partial(_matters, read, part.metadata), part.metadata["since"]


def _matters(read: Callable[[object], object], metadata: Mapping[str, Any], value: object) -> bool:
    found = read(value)
    return bool(found) and metadata.get("when", bool)(found)


def _part(name: str, part: str, value: object) -> object:
    """None if the object is of a wrong type, which `write` refuses."""
    return getattr(getattr(value, name), part, None)


def _coder(hint: Any) -> Coder:
    hint = getattr(hint, "__supertype__", hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):  # X | None; None is omitted
        (inner,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
        return _coder(inner)
    if typing.get_origin(hint) is tuple:
        return listing(_coder(typing.get_args(hint)[0]))
    if hint is Capability:
        return _capability()
    if issubclass(hint, enum.StrEnum):
        return choice(hint)
    return form_of(hint).coder


@functools.lru_cache(maxsize=256)
def _usual(fs_type: str, mode: AccessMode) -> Capability:
    """The most common capability. It is immutable, so volumes share one object."""
    return Capability(Mount(fs_type), mode)


def _capability() -> Coder:
    """The coder of a capability, the only union: `mount` or `block` next to the access mode, named as in CSI."""
    mode, mount = choice(AccessMode), form_of(Mount).coder

    def write(value: Any) -> dict[str, Any]:
        if type(value) is not Capability:
            raise WrongValue(f"must be a Capability, not {word(value)}")
        access = {"block": {}} if type(value.access_type) is Block else {"mount": mount.write(value.access_type)}
        return {"access_mode": mode.write(value.access_mode), **access}

    def read(body: Any) -> tuple[Capability, dict[str, Any]]:
        if type(body) is not dict or ("mount" in body) == ("block" in body):
            raise WrongValue("must be an object with either mount or block")
        mounted = body.get("mount")
        if len(body) == 2 and type(mounted) is dict and len(mounted) == 1 and type(mounted.get("fs_type")) is str:
            return _usual(mounted["fs_type"], mode.read(body.get("access_mode"))), {}
        left = {name: body[name] for name in body.keys() - _CAPABILITY} if len(body) > 2 else {}
        access: Mount | Block = Block()
        if "mount" in body:
            access, unknown = mount.read(body["mount"])
            if unknown:
                left["mount"] = unknown
        return Capability(access, mode.read(body.get("access_mode"))), left

    schema = {
        "type": "object",
        "properties": {"access_mode": mode.schema, "mount": mount.schema, "block": {"type": "object"}},
        "required": ["access_mode"],
        "oneOf": [{"required": ["mount"]}, {"required": ["block"]}],
    }
    return Coder(write, read, schema, nested=True)
