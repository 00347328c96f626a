"""What a stage record keeps of the secrets in a connection: nothing that is not needed any more, and the rest sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from csi_cinderlib.brick import credentials
from csi_cinderlib.observe import redact


class Vault(Protocol):
    """Seals what this node alone opens again."""

    def seal(self, secret: bytes) -> str:
        """Text that may be stored. Raises HostError when there is no key."""

    def open(self, text: str) -> bytes:
        """What was sealed. Raises InvalidRequest, without showing it, when it cannot be opened."""


Values = Mapping[str, Any]


def divide(values: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that may be read by everybody, and the others: those whose names, or forms, say that they hold a secret, to any depth."""
    secret = {key: value for key, value in values.items() if redact.holds_secret(key, value)}
    return {key: value for key, value in values.items() if key not in secret}, secret


def needed(secret: Values, protocol: str, *, connects_again: bool) -> dict[str, Any]:
    """Those of a connection's secrets that are worth keeping.

    A value under another name (options of a mount, say) may be needed whatever else it holds.

    Args:
        connects_again: the record may be all there is to attach the volume with.
    """
    if connects_again or credentials.are_asked_again(protocol):
        return dict(secret)
    return {key: value for key, value in secret.items() if not redact.is_secret_key(key)}
