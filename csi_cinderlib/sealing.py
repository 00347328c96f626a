"""Sealing of secrets that leave the process: authenticated encryption (Fernet), prefixed with the id of the key.

To rotate keys, put the new key first and keep the old key after it until no text sealed with the old key is left.
Error messages contain key ids, never the texts.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import ConfigurationError, InvalidRequest

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_PLAIN = "plain:"
_SEALED = "k:"


class Sealer:
    """Seals and opens short secrets.

    Without keys the text is only encoded ("plain:" and base64). This is suitable for a single machine only.

    Args:
        keys: the first key seals, all keys open.
        reread: called when a text names an unknown key; it can `rotate` to new keys. A controller may have read new keys some
            seconds before a node.

    Raises:
        ConfigurationError: an id is empty, contains a colon or is a duplicate, or a key is not 32 bytes in URL-safe base64.
    """

    def __init__(self, keys: Sequence[SealingKey] = (), *, reread: Callable[[], None] | None = None) -> None:
        self._keys: Mapping[str, str] = {}
        """By id; the first key seals. Always replaced as a whole, because another thread may be sealing."""
        self._reread = reread
        self.rotate(keys)

    def rotate(self, keys: Sequence[SealingKey]) -> None:
        """Replace the keys. Raises ConfigurationError as above and then keeps the old keys."""
        accepted: dict[str, str] = {}
        for index, key in enumerate(keys):
            where = f"sealing_keys.{index}"
            if not key.id or ":" in key.id:
                raise ConfigurationError(f"{where}.id", f"must not be empty or contain a colon (got {key.id!r})")
            if key.id in accepted:
                raise ConfigurationError(f"{where}.id", f"duplicate key id {key.id!r}")
            if not _is_key(key.key):
                raise ConfigurationError(f"{where}.key", f"key {key.id!r} must be 32 bytes in URL-safe base64")
            accepted[key.id] = key.key
        self._keys = accepted

    @property
    def active(self) -> bool:
        """Whether there is a key, so that sealed texts are encrypted."""
        return bool(self._keys)

    @property
    def writer(self) -> str:
        """Id of the key that seals, or ""."""
        return next(iter(self._keys), "")

    def seal(self, secret: bytes) -> str:
        """Return `k:KEY_ID:TOKEN`, or `plain:BASE64` without a key."""
        for key_id, key in self._keys.items():
            return f"{_SEALED}{key_id}:{_fernet(key).encrypt(secret).decode()}"
        return _PLAIN + base64.b64encode(secret).decode()

    def open(self, text: str) -> bytes:
        """Return the secret in a sealed text.

        Raises:
            InvalidRequest: the key is unknown or different (names its id), the text was modified, or it is not sealed although
                keys are configured.
        """
        if text.startswith(_PLAIN):
            return self._open_plain(text.removeprefix(_PLAIN))
        if not text.startswith(_SEALED):
            raise InvalidRequest("sealed text", "was not created by this driver's controller")
        return self._open_sealed(*text.removeprefix(_SEALED).partition(":")[::2])

    def _open_plain(self, text: str) -> bytes:
        if self._keys:
            raise InvalidRequest("sealed text", f"is not sealed, but sealing keys are configured ({self._ids()})")
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            raise InvalidRequest("sealed text", "was not created by this driver's controller") from None

    def _open_sealed(self, key_id: str, token: str) -> bytes:
        from cryptography.fernet import InvalidToken

        if key_id not in self._keys and self._reread is not None:
            self._reread()
        key = self._keys.get(key_id)
        if key is None:
            have = self._ids() or "none"
            raise InvalidRequest(
                "connection", f"is sealed with key {key_id!r}, which is not configured; configured keys: {have}"
            )
        try:
            return _fernet(key).decrypt(token)
        except (InvalidToken, ValueError):
            raise InvalidRequest(
                "sealed text", f"cannot be unsealed with key {key_id!r}: the key is different, or the text was modified"
            ) from None

    def _ids(self) -> str:
        return ", ".join(repr(key_id) for key_id in self._keys)


def _fernet(key: str) -> Fernet:
    from cryptography.fernet import Fernet

    return Fernet(key)


def generate_key() -> str:
    """Generate a key for `SealingKey.key`."""
    import secrets

    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _is_key(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text)) == 32
    except (binascii.Error, ValueError):
        return False
