"""Which paths of its host a node takes from a connection: those of the setting, and where this configuration keeps volumes in files."""

from __future__ import annotations

from collections.abc import Iterator

from csi_cinderlib.config import live
from csi_cinderlib.config.load import LOOPFILE_DRIVER
from csi_cinderlib.config.settings import Settings

OPTION = "loopfile_directories"
VOLUMES = "volumes"
"""The directory of the back end that runs when none is configured, below a state directory."""


def allowed(settings: Settings) -> Iterator[str]:
    """Read anew at each use, since back ends come and go."""
    yield from settings.local_paths
    yield str(settings.state_dir / VOLUMES)
    for backend in live.backends(settings).backends:
        default = str(settings.state_dir / "cinder" / VOLUMES) if backend.driver == LOOPFILE_DRIVER else ""
        yield from _directories(backend.options.get(OPTION, default))  # also of a driver that is made from it


def _directories(option: object) -> Iterator[str]:
    """PATH or NAME:PATH, as a list or with commas between them, as the driver takes them."""
    entries = option.split(",") if isinstance(option, str) else option if isinstance(option, list | tuple) else ()
    for entry in map(str, entries):
        path = entry.strip() if entry.strip().startswith("/") else entry.partition(":")[2].strip()
        if path:
            yield path
