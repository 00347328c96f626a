"""The names of cinderlib's module `cinderlib`, for programs that import them from there."""

from __future__ import annotations

from csi_cinderlib.cinderlib.backends import Backend
from csi_cinderlib.cinderlib.default import setup

__all__ = ["Backend", "setup"]
