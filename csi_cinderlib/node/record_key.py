"""This node's own key, in its state directory: it seals what stage records keep of a connection's secrets."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import ConfigurationError, HostError, InvalidRequest
from csi_cinderlib.host import kernel
from csi_cinderlib.host.reserve import is_full
from csi_cinderlib.node import durable_files
from csi_cinderlib.sealing import Sealer

NAME = "record-key"
_ID = "record"
_BYTES = 32
_LONGEST = 128


class RecordKey:
    """A `Vault` by a key that never leaves this host. See `record_secrets`.

    Args:
        state_dir: it lies there as `record-key`, for root alone. Without it, what was sealed is lost.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self._sealer: Sealer | None = None

    def prepare(self) -> None:
        """Make the key where there is none. On a full disk that is left to the first `seal`: a node must start there.

        Raises:
            HostError: the file is not for this user alone, or holds no key; it is named, and nothing is changed.
        """
        try:
            self._load() or self._make()
        except OSError as error:
            if not is_full(error):
                raise HostError(f"making {self._path}: {error.strerror}") from None

    def seal(self, secret: bytes) -> str:
        """Raises HostError: as `prepare`, or the key cannot be stored."""
        with kernel.named(f"making {self._path}"):
            return (self._load() or self._make()).seal(secret)

    def open(self, text: str) -> bytes:
        """Raises InvalidRequest: it was sealed by another key, or the key is gone. HostError: as `prepare`."""
        sealer = self._load()
        if sealer is None:
            raise InvalidRequest("sealed text", f"cannot be opened: {self._path} is missing")
        return sealer.open(text)

    def _load(self) -> Sealer | None:
        if self._sealer is None and (text := self._read()) is not None:
            try:
                self._sealer = Sealer([SealingKey(id=_ID, key=text.decode())])
            except (ConfigurationError, ValueError):
                raise HostError(f"{self._path} holds no key: {_ADVICE}") from None
        return self._sealer

    def _read(self) -> bytes | None:
        try:
            with kernel.opened(str(self._path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as fd:
                self._refuse_shared(os.fstat(fd))
                return os.read(fd, _LONGEST).strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError(f"reading {self._path}: {error.strerror}") from None

    def _refuse_shared(self, state: os.stat_result) -> None:
        """Raises HostError: somebody else knows the key, or chose it."""
        if not stat.S_ISREG(state.st_mode):
            raise HostError(f"{self._path} is not a regular file: {_ADVICE}")
        if state.st_uid != os.geteuid():
            raise HostError(f"{self._path} belongs to user {state.st_uid}, not to {os.geteuid()}: {_ADVICE}")
        if state.st_mode & 0o077:
            raise HostError(
                f"{self._path} has mode {stat.S_IMODE(state.st_mode):04o}, which lets others use it: {_ADVICE}"
            )

    def _make(self) -> Sealer:
        """Raises OSError."""
        key = base64.urlsafe_b64encode(os.urandom(_BYTES)).decode()
        durable_files.store(self._path, f"{key}\n".encode())
        self._sealer = Sealer([SealingKey(id=_ID, key=key)])
        return self._sealer


_ADVICE = (
    "it must be a file of 32 bytes in url-safe base64 that its owner alone may read. Put back the right one, or remove it: then a new one is "
    "made, and records that were sealed with the old one cannot be read any more"
)
