"""Finding a metadata store by its plugin's name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.api import Plugin, Sealer, Store

GROUP = "csi_cinderlib.persistence"


def known() -> tuple[str, ...]:
    """The names of the plugins that are installed."""
    return tuple(sorted(entry_points(group=GROUP).names))


def open_store(
    plugin: str, options: Mapping[str, object] | None = None, *, state_dir: Path, sealer: Sealer | None = None
) -> Store:
    """Open the store of that plugin.

    Raises:
        ConfigurationError: no such plugin (lists the known ones), or it cannot be loaded, or an option is wrong.
        StoreUnavailable: the store cannot be reached right now.
    """
    found = find(plugin)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found(options or {}, state_dir=state_dir, sealer=sealer)


def find(plugin: str) -> Plugin:
    """The plugin of that name. Raises ConfigurationError."""
    found = {point.name: point for point in entry_points(group=GROUP, name=plugin)}
    if not found:
        raise ConfigurationError("store.plugin", f"there is no plugin {plugin!r}; installed are: {', '.join(known())}")
    return _load(found[plugin])


def check_options(options: Mapping[str, object], allowed: Collection[str]) -> None:
    """For plugins: refuse what a misspelt option would leave without effect.

    Raises:
        ConfigurationError: names the first option that is not allowed.
    """
    for name in options:
        if name not in allowed:
            choices = ", ".join(sorted(allowed)) or "none"
            raise ConfigurationError(f"store.options.{name}", f"is not an option of this plugin; it has: {choices}")


def _load(point: EntryPoint) -> Plugin:
    try:
        plugin: Plugin = point.load()
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            "store.plugin", f"the plugin {point.name!r} needs the Python package of the module {missing.name!r}"
        ) from missing
    except (ImportError, AttributeError) as broken:
        raise ConfigurationError("store.plugin", f"the plugin {point.name!r} cannot be loaded: {broken}") from broken
    return plugin
