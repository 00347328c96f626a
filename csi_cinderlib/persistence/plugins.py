"""Lookup of metadata store plugins by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from csi_cinderlib.config.installation import INSTALL
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.api import Plugin, Sealer, Store

GROUP = "csi_cinderlib.persistence"


def known() -> tuple[str, ...]:
    """The names of the installed plugins."""
    return tuple(sorted(entry_points(group=GROUP).names))


def open_store(
    plugin: str, options: Mapping[str, object] | None = None, *, state_dir: Path, sealer: Sealer | None = None
) -> Store:
    """Open a store of the given plugin.

    Raises:
        ConfigurationError: the plugin does not exist (lists the installed ones) or cannot be loaded, or an option is invalid.
        StoreUnavailable: the store cannot be reached right now.
    """
    found = find(plugin)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found(options or {}, state_dir=state_dir, sealer=sealer)


def find(plugin: str) -> Plugin:
    """Return the plugin of the given name. Raises ConfigurationError."""
    found = {point.name: point for point in entry_points(group=GROUP, name=plugin)}
    if not found:
        raise ConfigurationError("store.plugin", f"unsupported plugin {plugin!r}; installed: {', '.join(known())}")
    return _load(found[plugin])


def check_options(options: Mapping[str, object], allowed: Collection[str]) -> None:
    """Reject unknown options, so that a misspelt one is not silently ignored.

    Raises:
        ConfigurationError: names the first unknown option.
    """
    for name in options:
        if name not in allowed:
            choices = ", ".join(sorted(allowed)) or "none"
            raise ConfigurationError(f"store.options.{name}", f"unknown option of this plugin; supported: {choices}")


def _load(point: EntryPoint) -> Plugin:
    try:
        plugin: Plugin = point.load()
    except ModuleNotFoundError as missing:
        remedy = f": {INSTALL}" if point.module.startswith("csi_cinderlib.") else ""
        raise ConfigurationError(
            "store.plugin",
            f"plugin {point.name!r} needs the Python module {missing.name!r}, which is not installed{remedy}",
        ) from missing
    except (ImportError, AttributeError) as broken:
        raise ConfigurationError("store.plugin", f"cannot load the plugin {point.name!r}: {broken}") from broken
    return plugin
