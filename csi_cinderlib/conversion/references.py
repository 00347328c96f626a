"""Resolves references `$name` in values as oslo.config does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from csi_cinderlib.backend.catalogue import Option
from csi_cinderlib.conversion import native
from csi_cinderlib.conversion.model import Table
from csi_cinderlib.model.records import NOTHING

SHARED = "backend_defaults"
"""The section with the shared options of Cinder's back ends. Options that are not set in it have their defaults."""
LONGEST = 65_536
"""Limit of a value in characters. References can double a value with each line of a file."""
_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[_a-z][._a-z0-9]*)|\{(?P<braced>[_a-z][._a-z0-9]*)\})", re.ASCII | re.IGNORECASE
)


class Unresolved(Exception):
    """A reference cannot be resolved; the message has the reason without values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The options that the values of one section can refer to.

    Attributes:
        section: options of the section.
        options: options of its driver by name.
        with_defaults: whether options that are not set have their defaults. In Cinder's sections of back ends they are empty.
        default: options of [DEFAULT].
        sections: all sections by their names in lower case.
        implied: defaults of further options; None depends on the host.
    """

    section: Table = field(default=NOTHING, repr=False)
    options: Mapping[str, Option] = field(default_factory=dict)
    with_defaults: bool = False
    default: Table = field(default=NOTHING, repr=False)
    sections: Mapping[str, Table] = field(default_factory=dict, repr=False)
    implied: Mapping[str, str | None] = field(default_factory=dict)


def resolve(value: object, scope: Scope) -> object:
    """The value with all references replaced. Raises Unresolved."""
    if isinstance(value, str):
        return _resolved(value, scope, frozenset())
    if isinstance(value, tuple):
        return tuple(_resolved(text, scope, frozenset()) for text in value)
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    if isinstance(value, Mapping):
        return {str(resolve(key, scope)): resolve(item, scope) for key, item in value.items()}
    return value


def names_in(value: object) -> Set[str]:
    """The names of the options that a value refers to."""
    if isinstance(value, str):
        return {
            found["plain"] or found["braced"] for found in _REFERENCE.finditer(_escaped(value)) if not found["dollar"]
        }
    if isinstance(value, tuple | list):
        return {name for item in value for name in names_in(item)}
    if isinstance(value, Mapping):
        return {name for pair in value.items() for item in pair for name in names_in(item)}
    return set()


def _escaped(text: str) -> str:
    return text.replace("\\$", "$$")


def _resolved(text: str, scope: Scope, within: Set[str]) -> str:
    def put(found: re.Match[str]) -> str:
        return "$" if found["dollar"] else _value_of(found["plain"] or found["braced"], scope, within)

    pieces: list[str] = []
    position = size = 0
    text = _escaped(text)
    for found in _REFERENCE.finditer(text):
        pieces += [text[position : found.start()], put(found)]
        size += len(pieces[-1]) + len(pieces[-2])
        if size > LONGEST:
            raise Unresolved(f"its references expand to more than {LONGEST} characters")
        position = found.end()
    return "".join([*pieces, text[position:]])


def _value_of(name: str, scope: Scope, within: Set[str]) -> str:
    if name in within:
        raise Unresolved(f"refers to itself through ${name}")
    within = within | {name}
    if len(within) > 50:
        raise Unresolved("has a chain of more than 50 references")
    section, _, option = name.rpartition(".")
    if section:
        return _of_section(section, option, scope, within)
    known = scope.options.get(name)
    if known is not None and (name in scope.section or not _only_in_default(name, scope)):
        return _of_option(known, scope, within)
    if name in scope.default:
        return _resolved(_text(scope.default[name]), replace(scope, section=NOTHING, options={}), within)
    if name in scope.section:
        return _resolved(_text(scope.section[name]), scope, within)
    if name in scope.implied:
        implied = scope.implied[name]
        if implied is None:
            raise Unresolved(f"refers to {name}, which is not set; Cinder takes its value from the host")
        return implied
    raise Unresolved(f"refers to {name}, which is not set")


def _only_in_default(name: str, scope: Scope) -> bool:
    """Whether an option of the driver has a value only in [DEFAULT], in a product without sections."""
    return scope.with_defaults and not scope.sections and name in scope.default


def _of_section(section: str, option: str, scope: Scope, within: Set[str]) -> str:
    place = section.lower()
    if section == "DEFAULT" or place not in scope.sections:
        options, known = (scope.default if section == "DEFAULT" else NOTHING), None
    else:
        options, known = scope.sections[place], scope.options.get(option)
    other = replace(scope, section=options, with_defaults=place == SHARED)
    if known is not None:
        return _of_option(known, other, within)
    if option not in options:
        raise Unresolved(f"refers to {section}.{option}, which is not set")
    return _resolved(_text(options[option]), other, within)


def _of_option(option: Option, scope: Scope, within: Set[str]) -> str:
    """The value as oslo.config inserts it, in the notation of its type."""
    if option.name not in scope.section:
        if not scope.with_defaults or option.default is None:
            return ""
        given = option.default if isinstance(option.default, str) else str(option.default)
        return _resolved(given, scope, within)
    try:
        return native.shown(option, _resolved(_text(scope.section[option.name]), scope, within))
    except ValueError:
        raise Unresolved(f"refers to {option.name}, which has an invalid value") from None


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return str(value[-1]) if value else ""
    return "" if value is None else str(value)
