"""Settings from a BackendConfiguration object and its Secret, for the controller and for commands."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from csi_cinderlib.app.object_states import ABSENT, INVALID, UNREADABLE, Declared, Refusal
from csi_cinderlib.config import objects as specs
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.kubernetes.statuses import object_name

Json = dict[str, Any]


class Refused(Exception):
    """The object gives no settings now."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(reason, message)


def backend_name(found: Json) -> str:
    """The name of the back end; that of the object if `spec.name` does not belong to it."""
    name = str(found["metadata"]["name"])
    given = str(found["spec"].get("name") or name)
    return given if object_name(given) == name else name


def settings_of(
    item: Declared,
    secret: Callable[[str], Mapping[str, bytes]],
    complete: Callable[[Mapping[str, str]], Mapping[str, str]],
) -> BackendSettings:
    """The settings of the back end.

    Args:
        secret: the data of a Secret by its name. Raises Refused.
        complete: the topology with complete keys.

    Raises:
        Refused: with all problems of the spec.
    """
    if item.wanted != item.name:
        why = "cannot change, because volumes refer to it" if item.is_owner else "does not belong to this object"
        remedy = (
            f"set it back to {item.name!r}, or remove it if that is the name of the object"
            if item.is_owner
            else f"remove it, or name the object {object_name(item.wanted)!r}"
        )
        raise Refused(INVALID, f"spec.name: {item.wanted!r} {why}; {remedy}")
    name = specs.secret_name(item.spec)
    try:
        settings = specs.read(item.name, item.spec, secret(name) if name else None)
    except ConfigurationError as error:
        raise Refused(INVALID, str(error)) from None
    return replace(settings, topology=complete(settings.topology))


def absent(name: str) -> Refused:
    """The Secret does not exist."""
    return Refused(ABSENT, f"spec.secretRef.name: there is no Secret {name!r} in this namespace")


def secret_data(name: str, found: Json) -> Mapping[str, bytes]:
    """The values of a Secret. Raises Refused."""
    try:
        return {key: base64.b64decode(value or "") for key, value in (found.get("data") or {}).items()}
    except binascii.Error:
        raise Refused(UNREADABLE, f"spec.secretRef.name: the Secret {name!r} is damaged") from None
