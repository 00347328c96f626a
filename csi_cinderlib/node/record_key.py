"""This node's own key, in its state directory. It seals the connection secrets in stage records."""

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
    """A `Vault` with a key that never leaves this host. See `record_secrets`.

    Args:
        state_dir: contains the key as `record-key`, readable by root only. Without the key, sealed secrets are lost.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self._sealer: Sealer | None = None

    def prepare(self) -> None:
        """Create the key if there is none. On a full disk the first `seal` creates it, so that the node can start.

        Raises:
            HostError: the file is accessible to other users or does not contain a key; nothing is changed.
        """
        try:
            self._load() or self._make()
        except OSError as error:
            if not is_full(error):
                raise HostError(f"cannot create {self._path}: {error.strerror}") from None

    def seal(self, secret: bytes) -> str:
        """Raises HostError: as `prepare`, or the key cannot be stored."""
        with kernel.named(f"cannot create {self._path}"):
            return (self._load() or self._make()).seal(secret)

    def open(self, text: str) -> bytes:
        """Raises InvalidRequest: it was sealed by another key, or the key is gone. HostError: as `prepare`."""
        sealer = self._load()
        if sealer is None:
            raise InvalidRequest("sealed text", f"cannot be unsealed: the key file {self._path} is missing")
        return sealer.open(text)

    def _load(self) -> Sealer | None:
        if self._sealer is None and (text := self._read()) is not None:
            try:
                self._sealer = Sealer([SealingKey(id=_ID, key=text.decode())])
            except (ConfigurationError, ValueError):
                raise HostError(f"{self._path} does not contain a key; {_ADVICE}") from None
        return self._sealer

    def _read(self) -> bytes | None:
        try:
            with kernel.opened(str(self._path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as fd:
                self._refuse_shared(os.fstat(fd))
                return os.read(fd, _LONGEST).strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HostError(f"cannot read {self._path}: {error.strerror}") from None

    def _refuse_shared(self, state: os.stat_result) -> None:
        """Raises HostError if another user may know or have chosen the key."""
        if not stat.S_ISREG(state.st_mode):
            raise HostError(f"{self._path} is not a regular file; {_ADVICE}")
        if state.st_uid != os.geteuid():
            raise HostError(f"{self._path} must belong to user {os.geteuid()}, not {state.st_uid}; {_ADVICE}")
        if state.st_mode & 0o077:
            raise HostError(
                f"{self._path} has mode {stat.S_IMODE(state.st_mode):04o}, which gives other users access; {_ADVICE}"
            )

    def _make(self) -> Sealer:
        """Raises OSError."""
        key = base64.urlsafe_b64encode(os.urandom(_BYTES)).decode()
        durable_files.store(self._path, f"{key}\n".encode())
        self._sealer = Sealer([SealingKey(id=_ID, key=key)])
        return self._sealer


_ADVICE = (
    "expected a file with 32 bytes in URL-safe base64 that only its owner can read. Restore the file, or remove it to have a "
    "new key created; records sealed with the old key then become unreadable"
)
