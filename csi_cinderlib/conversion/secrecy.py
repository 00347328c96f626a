"""Finds options with secrets: by their names, by Cinder's declaration, and by values that are secret in other options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from csi_cinderlib.backend.catalogue import Option
from csi_cinderlib.observe import redact

_SHORT = 4
"""Characters. Shorter secrets match whole values only: "1" occurs in every other address."""


def secret_options(
    options: Mapping[str, object], known: Mapping[str, Option], *, unchecked: bool = False
) -> frozenset[str]:
    """The names of the options with secrets.

    Args:
        unchecked: whether options that are not in `known` count as secret.
    """
    named = {name for name, value in options.items() if _is_named(name, value, known, unchecked=unchecked)}
    values = {text for name in named for text in texts_of(name, options[name])}
    return frozenset(named | {name for name, value in options.items() if _holds(value, values)})


def is_secret_part(key: str, value: object, secrets: frozenset[str]) -> bool:
    """Whether an item of an option's mapping is secret. `secrets` are values that are secret in other options."""
    return redact.holds_secret(key, value) or _holds(value, secrets)


def has_secret_part(value: object, secrets: frozenset[str]) -> bool:
    """Whether a mapping of an option has a secret item."""
    if isinstance(value, list):
        return any(has_secret_part(item, secrets) for item in value)
    return isinstance(value, Mapping) and any(is_secret_part(str(key), item, secrets) for key, item in value.items())


def _is_named(name: str, value: object, known: Mapping[str, Option], *, unchecked: bool) -> bool:
    option = known.get(name)
    if option is None and unchecked:
        return True
    return (option is not None and option.secret) or redact.holds_secret(name, value)


def texts_of(name: str, value: object) -> Iterator[str]:
    """The secret texts of such an option: the whole value, or the secret parts of a mapping."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(name, item)
    elif isinstance(value, Mapping):
        yield from redact.secrets_in({str(key): item for key, item in value.items()})


def _holds(value: object, secrets: set[str] | frozenset[str]) -> bool:
    if isinstance(value, str):
        return any(secret and (secret == value or (len(secret) >= _SHORT and secret in value)) for secret in secrets)
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(_holds(item, secrets) for item in items)
