"""Cinder's drivers as a library, without Cinder services: the API of `cinderlib`.

    import csi_cinderlib.cinderlib as cinderlib

    cinderlib.setup(persistence_config={"storage": "db", "connection": "sqlite:////var/lib/volumes.db"})
    lvm = cinderlib.Backend("lvm", volume_driver="cinder.volume.drivers.lvm.LVMVolumeDriver", volume_group="vg")
    volume = lvm.create_volume(10, name="data")
    print(volume.attach().path)

The import starts nothing and does not import Cinder. `setup` creates the set-up that the module's classes use; `Library` creates
independent ones.
"""

from __future__ import annotations

import logging.config  # noqa: F401  # programs use it without an import of their own, as cinderlib's imports load it

from csi_cinderlib import __version__
from csi_cinderlib.cinderlib import cinderlib, default, exception, objects, persistence, serialization
from csi_cinderlib.cinderlib.alias import install_as_cinderlib
from csi_cinderlib.cinderlib.backends import Backend
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.default import DEFAULT_PROJECT_ID, DEFAULT_USER_ID, close, setup
from csi_cinderlib.cinderlib.drivers import list_supported_drivers
from csi_cinderlib.cinderlib.library import Library
from csi_cinderlib.cinderlib.persistence import KeyValue
from csi_cinderlib.cinderlib.properties import get_connector_properties
from csi_cinderlib.cinderlib.serialization import dump, dumps, json, jsons, load
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume

__all__ = [
    "DEFAULT_PROJECT_ID",
    "DEFAULT_USER_ID",
    "Backend",
    "Connection",
    "KeyValue",
    "Library",
    "Snapshot",
    "Volume",
    "__version__",
    "cinderlib",
    "close",
    "dump",
    "dumps",
    "exception",
    "get_connector_properties",
    "install_as_cinderlib",
    "json",
    "jsons",
    "list_supported_drivers",
    "load",
    "objects",
    "persistence",
    "serialization",
    "setup",
]

default.set_library_class(Library)
