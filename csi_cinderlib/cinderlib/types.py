"""The classes of the library for annotations in lower modules. Nothing is imported at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.backends import Backend
    from csi_cinderlib.cinderlib.connection import Connection
    from csi_cinderlib.cinderlib.library import Library
    from csi_cinderlib.cinderlib.persistence import KeyValue, Persistence
    from csi_cinderlib.cinderlib.persistence.base import PersistenceDriverBase
    from csi_cinderlib.cinderlib.snapshot import Snapshot
    from csi_cinderlib.cinderlib.volume import Volume

__all__ = [
    "Backend",
    "Connection",
    "KeyValue",
    "Library",
    "Persistence",
    "PersistenceDriverBase",
    "Snapshot",
    "Volume",
]
