"""Waiting for a metadata store that another process uses, an SQLite file.

Programs like oVirt's client live for one call, and several of them run at the same time. They take turns.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from csi_cinderlib.errors import StoreInUse
from csi_cinderlib.persistence.api import Store

PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.05
_LOG = logging.getLogger(__name__)


def until_free(open_store: Callable[[], Store], *, seconds: float = PATIENCE_SECONDS) -> Store:
    """Open the store, once no other process uses it.

    Raises:
        StoreInUse: the other process still uses it after these seconds, or this process uses it itself.
    """
    deadline = time.monotonic() + seconds
    is_waiting = False
    while True:
        try:
            return open_store()
        except StoreInUse as error:
            if error.holder == os.getpid() or time.monotonic() > deadline:
                raise
            if not is_waiting:
                _LOG.warning("%s; waiting for at most %.0f s", error.problem.partition(";")[0], seconds)
                is_waiting = True
        time.sleep(_PAUSE_SECONDS)
