"""The metadata stores of the library: by our plugin names, by cinderlib's names, cinderlib's plugins, or any `Store`."""

from __future__ import annotations

from csi_cinderlib.cinderlib.persistence import base, dbms, memory
from csi_cinderlib.cinderlib.persistence.key_values import KeyValue
from csi_cinderlib.cinderlib.persistence.metadata import Persistence, serve
from csi_cinderlib.cinderlib.persistence.opening import DEFAULT_STORAGE, open_store, setup

__all__ = ["DEFAULT_STORAGE", "KeyValue", "Persistence", "base", "dbms", "memory", "open_store", "serve", "setup"]
