"""Secrets that leave the process: sealed with authenticated encryption (Fernet), with the id of the key in front.

Rotation: give the new key first and keep the old one after it until nothing sealed by it is left.
Texts never appear in an error; key ids do.
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

    Without keys it only wraps the text ("plain:" and base64), which suits one machine and nothing else.

    Args:
        keys: the first one writes, all of them read.
        reread: called when a text names a key that is not here, to `rotate` if there are others by now: the controller may have
            seen them some seconds before a node.

    Raises:
        ConfigurationError: an id is empty, holds a colon or is used twice, or a key is not 32 bytes in url-safe base64.
    """

    def __init__(self, keys: Sequence[SealingKey] = (), *, reread: Callable[[], None] | None = None) -> None:
        self._keys: Mapping[str, str] = {}
        """By their ids, the one that writes first. Exchanged as a whole: another thread may seal meanwhile."""
        self._reread = reread
        self.rotate(keys)

    def rotate(self, keys: Sequence[SealingKey]) -> None:
        """Use these keys from now on. Raises ConfigurationError as above, and then goes on with the old ones."""
        accepted: dict[str, str] = {}
        for index, key in enumerate(keys):
            where = f"sealing_keys.{index}"
            if not key.id or ":" in key.id:
                raise ConfigurationError(f"{where}.id", f"{key.id!r} must not be empty or hold a colon")
            if key.id in accepted:
                raise ConfigurationError(f"{where}.id", f"{key.id!r} is used twice")
            if not _is_key(key.key):
                raise ConfigurationError(f"{where}.key", f"the key {key.id!r} must be 32 bytes in url-safe base64")
            accepted[key.id] = key.key
        self._keys = accepted

    @property
    def active(self) -> bool:
        """Whether there is a key, so that what is sealed is really secret."""
        return bool(self._keys)

    @property
    def writer(self) -> str:
        """The id of the key that seals, or ""."""
        return next(iter(self._keys), "")

    def seal(self, secret: bytes) -> str:
        """The text to hand out: `k:KEY_ID:TOKEN`, or `plain:BASE64` when there is no key."""
        for key_id, key in self._keys.items():
            return f"{_SEALED}{key_id}:{_fernet(key).encrypt(secret).decode()}"
        return _PLAIN + base64.b64encode(secret).decode()

    def open(self, text: str) -> bytes:
        """What was sealed.

        Raises:
            InvalidRequest: it was sealed by a key that is not here or differs (names the id), it was changed on the way,
                or it is plain although keys are configured.
        """
        if text.startswith(_PLAIN):
            return self._open_plain(text.removeprefix(_PLAIN))
        if not text.startswith(_SEALED):
            raise InvalidRequest("sealed text", "was not made by this driver's controller")
        return self._open_sealed(*text.removeprefix(_SEALED).partition(":")[::2])

    def _open_plain(self, text: str) -> bytes:
        if self._keys:
            raise InvalidRequest("sealed text", f"is not sealed, and this process has keys ({self._ids()}): refused")
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            raise InvalidRequest("sealed text", "was not made by this driver's controller") from None

    def _open_sealed(self, key_id: str, token: str) -> bytes:
        from cryptography.fernet import InvalidToken

        if key_id not in self._keys and self._reread is not None:
            self._reread()
        key = self._keys.get(key_id)
        if key is None:
            have = self._ids() or "none"
            raise InvalidRequest(
                "connection", f"is sealed with key {key_id!r}, which is not configured here (have: {have})"
            )
        try:
            return _fernet(key).decrypt(token)
        except (InvalidToken, ValueError):
            raise InvalidRequest(
                "sealed text", f"cannot be opened with key {key_id!r}: the key differs, or the text was changed"
            ) from None

    def _ids(self) -> str:
        return ", ".join(repr(key_id) for key_id in self._keys)


def _fernet(key: str) -> Fernet:
    from cryptography.fernet import Fernet

    return Fernet(key)


def generate_key() -> str:
    """A new key for `SealingKey.key`."""
    import secrets

    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _is_key(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text)) == 32
    except (binascii.Error, ValueError):
        return False
