"""The names of cinderlib's module `objects`."""

from __future__ import annotations

from csi_cinderlib.cinderlib.backends import Backend
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.default import DEFAULT_PROJECT_ID, DEFAULT_USER_ID
from csi_cinderlib.cinderlib.handle import NamedObject, Object
from csi_cinderlib.cinderlib.persistence import KeyValue
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume

__all__ = [
    "DEFAULT_PROJECT_ID",
    "DEFAULT_USER_ID",
    "Backend",
    "Connection",
    "KeyValue",
    "NamedObject",
    "Object",
    "Snapshot",
    "Volume",
]
