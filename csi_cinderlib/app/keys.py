"""The sealing keys of this process, read again when their file changes, so that they rotate without a restart."""

from __future__ import annotations

from csi_cinderlib.config import live
from csi_cinderlib.config.settings import SealingKey, Settings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import logs
from csi_cinderlib.sealing import Sealer

_log = logs.logger(__name__)


class Keys:
    """One sealer for the whole process.

    Raises:
        ConfigurationError: the file cannot be read, or a key is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._trouble = ""
        self._known: tuple[SealingKey, ...] = live.sealing_keys(settings)
        self.sealer = Sealer(self._known, reread=self.refresh)

    def refresh(self) -> None:
        """Take over what the file holds now; what cannot be used is logged, and the keys of before go on."""
        try:
            keys = live.sealing_keys(self._settings)
            if keys != self._known:
                self.sealer.rotate(keys)
        except ConfigurationError as error:
            if str(error) != self._trouble:
                _log.error("sealing keys cannot be read again; those of before go on", reason=str(error))
            self._trouble = str(error)
            return
        self._trouble = ""
        if keys == self._known:
            return
        self._known = keys
        _log.info("sealing keys changed", ids=[key.id for key in keys], writes=keys[0].id if keys else "")
