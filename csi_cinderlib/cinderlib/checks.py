"""Checks of the arguments of public functions: an error names the argument, and is also a `ValueError`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from csi_cinderlib.cinderlib import compatible_errors
from csi_cinderlib.errors import InvalidRequest

_MAX_ID = 200
"""Characters of an id: the name on the storage has a prefix, and file names have at most 255 bytes."""


def text(name: str, value: Any) -> str:
    """A text that a store can contain. Numbers and UUIDs, which cinderlib accepts as ids, become text. Raises InvalidRequest."""
    if isinstance(value, int | uuid.UUID) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        refuse(name, f"must be text (got {value!r})")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        refuse(name, f"is not valid Unicode: {value!a}")
    return value


def optional_text(name: str, value: Any) -> str | None:
    """As `text`; None for None and for an empty value."""
    return text(name, value) if value or value == 0 else None


def identity(name: str, value: Any) -> str:
    """The id of a new object, which is part of its name on the storage. Raises InvalidRequest.

    Other ids might be created, but not be deleted: Cinder's locks need ASCII, and storage systems need valid names.
    """
    id = text(name, value)
    if not (id.isascii() and id.isprintable()) or "/" in id or len(id) > _MAX_ID:
        refuse(
            name, f"must be at most {_MAX_ID} printable ASCII characters without '/', for example a UUID (got {id!a})"
        )
    return id


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Raises InvalidRequest."""
    if not isinstance(value, Mapping):
        refuse(name, f"must be a dictionary (got {value!r})")
    return value


def path(name: str, value: Any) -> Path:
    """Raises InvalidRequest."""
    if not isinstance(value, str | os.PathLike):
        refuse(name, f"must be a path (got {value!r})")
    return Path(value)


def check_object(name: str, value: Any, kind: type) -> None:
    """
    Args:
        kind: the class of the object's record.

    Raises:
        InvalidRequest: it is not a volume, snapshot or connection of this library, as required.
    """
    if not isinstance(getattr(value, "_record", None), kind):
        nouns = {"Volume": "a volume", "Snapshot": "a snapshot", "Attachment": "a connection"}
        refuse(name, f"must be {nouns[kind.__name__]} (got {value!r})")


def refuse(name: str, problem: str) -> NoReturn:
    """Raises InvalidRequest."""
    raise compatible_errors.invalid(InvalidRequest(name, problem))
