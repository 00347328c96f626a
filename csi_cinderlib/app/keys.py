"""The keys of this process, read again when their files change, so that they are exchanged without a restart."""

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
    """One sealer for the whole process.

    Attributes:
        sealer: seals with the first of all keys, and opens with each.
        shared: seals with the first of the keys that nodes have, too.

    Raises:
        ConfigurationError: a file cannot be read, or a key is none.
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
        """Whether there is a file to be read again."""
        return bool(self._settings.sealing_keys_file or self._settings.shared_keys_file)

    def signers(self) -> tuple[Signer, ...]:
        """What follows from the keys that no node has: the first one signs, nodes are told of all."""
        if (signers := self._signers) is None:
            shared = {envelopes.signer(key).public for key in self._known_shared}  # a key may be spelt in several ways
            every = (envelopes.signer(key) for key in self._known)
            signers = self._signers = tuple(signer for signer in every if signer.public not in shared)
        return signers

    def refresh(self) -> None:
        """Take over what the files hold now; what cannot be used is logged, and the keys of before go on."""
        try:
            keys, shared = self._read()
            is_changed = (keys, shared) != (self._known, self._known_shared)
            if is_changed:
                self.sealer.rotate(keys)
                self.shared.rotate(shared)
        except ConfigurationError as error:
            if str(error) != self._trouble:
                _log.error("sealing keys cannot be read again; those of before go on", reason=str(error))
            self._trouble = str(error)
            return
        self._trouble = ""
        if not is_changed:
            return
        self._known, self._known_shared, self._signers = keys, shared, None
        _log.info("sealing keys changed", ids=[key.id for key in keys], writes=keys[0].id if keys else "")

    def _read(self) -> tuple[tuple[SealingKey, ...], tuple[SealingKey, ...]]:
        return live.sealing_keys(self._settings), live.shared_keys(self._settings)
