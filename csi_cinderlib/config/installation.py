"""Whether the packages that the library and the controller need are installed. A node runs without them."""

from __future__ import annotations

import importlib.util

from csi_cinderlib.errors import ConfigurationError

INSTALL = "pip install 'csi-cinderlib[library]'"


def require_cinder() -> None:
    """Raises ConfigurationError: Cinder is not installed; names the command that installs it."""
    if not _is_installed("cinder"):
        raise ConfigurationError(
            "volume_driver", f"needs the Python package 'cinder', which is not installed: {INSTALL}"
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
