"""Converts values from oslo.config's notation to text, lists and mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from csi_cinderlib.backend.catalogue import Option

_LISTS = ("list", "list in brackets")
_NUMBERS = ("whole number", "number", "port")


class Unfit(Exception):
    """A value does not fit its option; the message has the reason without the value."""


def value(option: Option, given: object) -> object:
    """The option's value: text, a list of texts, a mapping of texts, or a list of these; None is "not set".

    Args:
        given: all assignments as a tuple, or a value of YAML. References are resolved.

    Raises:
        Unfit: the value does not have the option's type.
    """
    if option.multiple:
        several = given if isinstance(given, list | tuple) else () if given is None else (given,)
        return [_one(option, item) for item in several]
    return _one(option, given[-1] if isinstance(given, tuple) else given)


def refuse_characters(given: object) -> None:
    """Raises Unfit for characters that JSON can escape but configuration files cannot hold."""
    if isinstance(given, str) and ("\0" in given or any("\ud800" <= character <= "\udfff" for character in given)):
        raise Unfit("contains a NUL character or an unpaired surrogate")
    for item in given if isinstance(given, list | tuple) else given.values() if isinstance(given, Mapping) else ():
        refuse_characters(item)


def is_unset(option: Option, given: object) -> bool:
    """Whether oslo.config treats a value as not set: None, or an empty number."""
    text = given[-1] if isinstance(given, tuple) and given else given
    return text is None or (option.type in _NUMBERS and isinstance(text, str) and not text.strip())


def shown(option: Option, text: str) -> str:
    """The option's value as oslo.config inserts it into other values. Raises ValueError if it does not fit."""
    typed = _parse(option, text)
    return "" if typed is None else str(typed)


def _one(option: Option, given: object) -> object:
    if given is None:
        return None
    if isinstance(given, str):
        try:
            typed = _parse(option, given)
        except ValueError:
            raise Unfit(f"must be {_described(option)}") from None
        return _texts(typed) if isinstance(typed, list | Mapping) else given
    wanted = list if option.type in _LISTS else Mapping if option.type == "mapping" else str
    if not isinstance(given, wanted) or not _is_flat(given):
        raise Unfit(f"must be {_described(option)}")
    return given


def _is_flat(given: object) -> bool:
    items = given.values() if isinstance(given, Mapping) else given if isinstance(given, list) else ()
    return all(isinstance(item, str) for item in items)


def _texts(typed: object) -> object:
    if isinstance(typed, Mapping):
        return {str(key): str(item) for key, item in typed.items()}
    return [str(item) for item in typed] if isinstance(typed, list) else typed


def _parse(option: Option, text: str) -> object:
    """Parse with oslo.config's types. Raises ValueError."""
    kind = _types().get(option.type)
    return kind(text) if kind else text


def _types() -> Mapping[str, Callable[[str], object]]:
    from oslo_config import types  # a slow import, needed for values only

    return {
        "list": types.List(),
        "list in brackets": types.List(bounds=True),
        "mapping": types.Dict(),
        "whole number": types.Integer(),
        "number": types.Float(),
        "port": types.Port(),
        "true or false": types.Boolean(),
    }


def _described(option: Option) -> str:
    return {"whole number": "a whole number", "number": "a number", "list": "a list", "mapping": "key:value pairs"}.get(
        option.type, option.type
    )
