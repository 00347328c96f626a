"""Paths of the host that a node accepts from a connection: those of the setting, and configured directories of file-based volumes."""

from __future__ import annotations

from collections.abc import Iterator

from csi_cinderlib.config import live
from csi_cinderlib.config.load import LOOPFILE_DRIVER
from csi_cinderlib.config.settings import Settings

OPTION = "loopfile_directories"
VOLUMES = "volumes"
"""Directory, in the state directory, of the default back end that runs if none is configured."""


def allowed(settings: Settings) -> Iterator[str]:
    """Read at each use, because back ends change."""
    yield from settings.local_paths
    yield str(settings.state_dir / VOLUMES)
    for backend in live.backends(settings).backends:
        default = str(settings.state_dir / "cinder" / VOLUMES) if backend.driver == LOOPFILE_DRIVER else ""
        yield from _directories(backend.options.get(OPTION, default))  # also for derived drivers


def _directories(option: object) -> Iterator[str]:
    """PATH or NAME:PATH, as a list or separated by commas, as the driver accepts them."""
    entries = option.split(",") if isinstance(option, str) else option if isinstance(option, list | tuple) else ()
    for entry in map(str, entries):
        path = entry.strip() if entry.strip().startswith("/") else entry.partition(":")[2].strip()
        if path:
            yield path
