"""The secrets of a connection in a stage record: only those still needed are kept, sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from csi_cinderlib.brick import credentials
from csi_cinderlib.observe import redact


class Vault(Protocol):
    """Seals secrets that only this node can open."""

    def seal(self, secret: bytes) -> str:
        """The sealed text, which may be stored. Raises HostError if there is no key."""

    def open(self, text: str) -> bytes:
        """The sealed secret. Raises InvalidRequest, which does not show the text, if it cannot be opened."""


Values = Mapping[str, Any]


def divide(values: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """The public values, and the secret ones, recognised by name or form at any depth."""
    secret = {key: value for key, value in values.items() if redact.holds_secret(key, value)}
    return {key: value for key, value in values.items() if key not in secret}, secret


def needed(secret: Values, protocol: str) -> dict[str, Any]:
    """The secrets of a connection that must be kept.

    A secret inside a value of another name, such as mount options, is kept because the value itself may be needed.
    """
    if credentials.are_asked_again(protocol):
        return dict(secret)
    return {key: value for key, value in secret.items() if not redact.is_secret_key(key)}
