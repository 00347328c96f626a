"""Convert values of the settings to the types of oslo.config's options, without interpreting characters in them.

A cinder.conf only contains text, in which commas, quotation marks, newlines and dollar signs have a meaning. Values of csi-cinderlib's
settings are text, lists and mappings, and are passed to oslo.config as such. Values from a cinder.conf keep its notation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from csi_cinderlib.model.verbatim import Referring, Verbatim

BACKSLASH = "csi_cinderlib_backslash"
"""An option whose value is a backslash: oslo.config removes a literal backslash in front of a dollar sign."""

_REFERENCE = re.compile(r"\$(?:\{([_a-z][._a-z0-9]*)\}|([_a-z][._a-z0-9]*))", re.IGNORECASE)
"""As in oslo.config."""
_BEFORE_DOLLAR = re.compile(r"\\+(?=\$)")


class Unfit(ValueError):
    """The value has the wrong type for the option. oslo.config's types raise ValueError as well."""


def is_verbatim(value: object) -> bool:
    """Whether a value, or each value of a list, is in cinder.conf notation."""
    return isinstance(value[0] if isinstance(value, list) and value else value, Verbatim)


def value_for(option: Any, given: object) -> object:
    """The value for oslo.config to convert.

    Raises:
        ValueError: the type is wrong, for example a list for a text option.
    """
    if is_verbatim(given):
        values = given if isinstance(given, list) else [given]
        return values if option.multi else values[-1]
    if option.multi:
        return [_single(option.type, item) for item in (given if isinstance(given, list | tuple) else [given])]
    return _single(option.type, given)


def _single(kind: Any, given: object) -> object:
    from oslo_config import types

    if isinstance(given, Mapping):
        if not isinstance(kind, types.Dict):
            raise Unfit("must not be a mapping")
        return {_literal(str(key)): _item(kind.value_type, value, str(key)) for key, value in given.items()}
    if isinstance(given, list | tuple):
        if not isinstance(kind, types.List):
            raise Unfit("must be a single value, not a list")
        return [_escaped(_text(value, f"item {number}")) for number, value in enumerate(given, 1)]
    text = _text(given, "")
    escaped = _escaped(text)
    return escaped if isinstance(kind, types.String) else escaped.strip()


def _item(kind: Any, given: object, name: str) -> object:
    """An item of a mapping, converted here, since oslo.config does not convert items."""
    text = _text(given, name)
    value = kind(text)
    if isinstance(text, Referring) and value == text:
        return _escaped(text)
    return _literal(value) if isinstance(value, str) else value


def _text(given: object, name: str) -> str:
    if given is None:
        raise Unfit(f"{name} must not be null".lstrip())
    if not isinstance(given, str | int | float | os.PathLike):
        raise Unfit(f"{name} must be text".lstrip())
    if isinstance(given, bool):
        return "true" if given else "false"
    return given if isinstance(given, str) else str(given)


def _escaped(text: str) -> str:
    """As `_literal`, except for references to existing options."""
    if not isinstance(text, Referring):
        return _literal(text)
    parts, end = [], 0
    for found in _REFERENCE.finditer(text):
        if _exists((found[1] or found[2]).lower()):
            parts += [_literal(text[end : found.start()]), found[0]]
            end = found.end()
    return "".join([*parts, _literal(text[end:])])


def _exists(name: str) -> bool:
    """Whether there is a `group.option` of that name, or an option in Cinder's [DEFAULT] section."""
    from oslo_config import cfg

    group, dot, option = name.rpartition(".")
    if dot:
        return group in cfg.CONF._groups and option in cfg.CONF._groups[group]._opts
    return name in cfg.CONF._opts


def _literal(text: str) -> str:
    """Escape the text so that oslo.config's substitution of `$name` returns it unchanged."""
    doubled = text.replace("$", "$$")
    return _BEFORE_DOLLAR.sub(lambda found: f"${{{BACKSLASH}}}" * len(found[0]), doubled)
