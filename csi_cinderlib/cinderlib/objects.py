"""The names of cinderlib's module `objects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinderlib.backends import Backend
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.default import DEFAULT_PROJECT_ID, DEFAULT_USER_ID
from csi_cinderlib.cinderlib.handle import Object
from csi_cinderlib.cinderlib.lazy_volume import LazyVolumeAttr
from csi_cinderlib.cinderlib.named import NamedObject
from csi_cinderlib.cinderlib.object_setup import setup
from csi_cinderlib.cinderlib.persistence import KeyValue
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume

GB = 1024**3
BACKEND_NAME_SNAPSHOT_FIELD = "progress"
"""The field of Cinder's snapshot in which a persistence plugin finds the name of the back end."""
CONNECTIONS_OVO_FIELD = "volume_attachment"
"""The field of Cinder's volume that holds its connections."""

__all__ = [
    "BACKEND_NAME_SNAPSHOT_FIELD",
    "CONNECTIONS_OVO_FIELD",
    "DEFAULT_PROJECT_ID",
    "DEFAULT_USER_ID",
    "GB",
    "Backend",
    "Connection",
    "KeyValue",
    "LazyVolumeAttr",
    "NamedObject",
    "Object",
    "Snapshot",
    "Volume",
    "setup",
]


if TYPE_CHECKING:
    CONTEXT: Any
else:

    def __getattr__(name: str) -> Any:
        if name == "CONTEXT":  # loads Cinder
            return Object.CONTEXT
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
