"""A value of our settings as the type of one of oslo's options takes it: nothing in it is a notation, save what the option's type reads.

A cinder.conf knows text only, in which a comma, a quotation mark, a line's end and a dollar sign mean something. Our values are text,
lists and mappings, and go to oslo.config as such. Those of a cinder.conf keep its notation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from csi_cinderlib.model.verbatim import Verbatim

BACKSLASH = "csi_cinderlib_backslash"
"""An option that is a backslash. oslo takes one in front of a dollar sign away, and in no other way does it stay."""

_BEFORE_DOLLAR = re.compile(r"\\+(?=\$)")


class Unfit(ValueError):
    """Of another kind than the option takes. oslo's own types raise ValueError, too."""


def is_verbatim(value: object) -> bool:
    """Whether a value, or each of several, is in a cinder.conf's notation."""
    return isinstance(value[0] if isinstance(value, list) and value else value, Verbatim)


def value_for(option: Any, given: object) -> object:
    """What oslo.config makes into the option's value.

    Raises:
        ValueError: it is of another kind, a list for an option that takes text, for example.
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
        return [_literal(_text(value, f"item {number}")) for number, value in enumerate(given, 1)]
    text = _text(given, "the value")
    return _literal(text if isinstance(kind, types.String) else text.strip())


def _item(kind: Any, given: object, name: str) -> object:
    """oslo leaves what a mapping holds as it is."""
    value = kind(_text(given, name))
    return _literal(value) if isinstance(value, str) else value


def _text(given: object, name: str) -> str:
    if given is None:
        raise Unfit(f"{name} must not be null")
    if not isinstance(given, str | int | float | os.PathLike):
        raise Unfit(f"{name} must be text")
    if isinstance(given, bool):
        return "true" if given else "false"
    return str(given)


def _literal(text: str) -> str:
    """The text from which oslo's substitution of `$name` makes this text."""
    doubled = text.replace("$", "$$")
    return _BEFORE_DOLLAR.sub(lambda found: f"${{{BACKSLASH}}}" * len(found[0]), doubled)
