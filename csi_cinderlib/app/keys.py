"""The keys of this process. They are reloaded when their files change, so that keys can be rotated without a restart."""

from __future__ import annotations

from csi_cinderlib import envelopes
from csi_cinderlib.config import live
from csi_cinderlib.config.settings import SealingKey, Settings
from csi_cinderlib.envelopes import Signer
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import logs
from csi_cinderlib.sealing import Sealer

_log = logs.logger(__name__)


class Keys:
    """The sealers of the process.

    Attributes:
        sealer: seals with the first key and opens with all keys.
        shared: seals with the first key that is shared with nodes.

    Raises:
        ConfigurationError: a file cannot be read, or a key is invalid.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._trouble = ""
        self._known, self._known_shared = self._read()
        self.sealer = Sealer(self._known, reread=self.refresh)
        self.shared = Sealer(self._known_shared)
        self._signers: tuple[Signer, ...] | None = None

    @property
    def may_change(self) -> bool:
        """Whether keys come from a file."""
        return bool(self._settings.sealing_keys_file or self._settings.shared_keys_file)

    def signers(self) -> tuple[Signer, ...]:
        """Signers derived from the keys that nodes do not have. The first one signs; all are published to nodes."""
        if (signers := self._signers) is None:
            shared = {envelopes.signer(key).public for key in self._known_shared}  # a key may have several spellings
            every = (envelopes.signer(key) for key in self._known)
            signers = self._signers = tuple(signer for signer in every if signer.public not in shared)
        return signers

    def refresh(self) -> None:
        """Reload the files. If they cannot be used, the error is logged and the previous keys stay in use."""
        try:
            keys, shared = self._read()
            is_changed = (keys, shared) != (self._known, self._known_shared)
            if is_changed:
                self.sealer.rotate(keys)
                self.shared.rotate(shared)
        except ConfigurationError as error:
            if str(error) != self._trouble:
                _log.error("sealing keys reload failed", reason=str(error))
            self._trouble = str(error)
            return
        self._trouble = ""
        if not is_changed:
            return
        self._known, self._known_shared, self._signers = keys, shared, None
        _log.info("sealing keys reloaded", ids=[key.id for key in keys], writes=keys[0].id if keys else "")

    def _read(self) -> tuple[tuple[SealingKey, ...], tuple[SealingKey, ...]]:
        return live.sealing_keys(self._settings), live.shared_keys(self._settings)
