"""Opening the metadata store of `persistence_config`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from csi_cinderlib.cinderlib.exception import InvalidPersistence
from csi_cinderlib.cinderlib.persistence.adapter import PluginStore
from csi_cinderlib.cinderlib.persistence.base import PersistenceDriverBase
from csi_cinderlib.cinderlib.persistence.dbms import DBPersistence, MemoryDBPersistence
from csi_cinderlib.cinderlib.persistence.memory import MemoryPersistence
from csi_cinderlib.cinderlib.persistence.metadata import Persistence
from csi_cinderlib.config.reader import Reader
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence import plugins
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.sealing import Sealer

DEFAULT_STORAGE = "memory"
GROUP = "cinderlib.persistence.storage"
"""The entry points of cinderlib's plugins."""
_WHERE = "persistence_config"
_DATABASE_OPTIONS = frozenset({"sqlite_synchronous", "soft_deletes"})
"""Options of cinderlib's `db`, accepted without effect: writes are always synced, deletions always hard."""
_IN_MEMORY = frozenset({"", "/", "/:memory:"})
"""The part after `sqlite://` of a database without a file, as for cinderlib's `memory_db`."""
_CLASSES: Mapping[str, type[PersistenceDriverBase]] = {
    "memory": MemoryPersistence,
    "db": DBPersistence,
    "memory_db": MemoryDBPersistence,
}


def open_store(config: Mapping[str, object] | None, state_dir: Path, *, is_named: bool) -> Store:
    """Open the store of `persistence_config`.

    Args:
        config: `storage` (a plugin's name, a class or an instance) and its options; for a name also `sealing_keys`.
        is_named: whether the program has set `state_dir`.

    Raises:
        InvalidPersistence: the storage does not exist.
        ConfigurationError, StoreUnavailable: from the plugin.
    """
    storage, options = _split(config)
    if isinstance(storage, str):
        name, options = _named(storage, options)
        if name in plugins.known():
            return _open_named(name, options, state_dir, is_named=is_named, is_url=name == storage)
    opened = _instance(storage, options)
    if isinstance(opened, DBPersistence):
        _check_database(opened)
        return open_store(opened.config, state_dir, is_named=is_named)
    return PluginStore(opened) if isinstance(opened, PersistenceDriverBase) else opened


def setup(config: Mapping[str, object] | None = None) -> PersistenceDriverBase:
    """The plugin of a `persistence_config` with a name of cinderlib's, a plugin's class or an instance.

    Pass the result as `storage` of another `persistence_config`; `cinderlib.setup` accepts `config` itself.

    Raises:
        InvalidPersistence: the storage does not exist, or is not one of cinderlib's.
        ConfigurationError: an argument of the plugin is missing or unknown.
    """
    storage, options = _split(config)
    opened = _instance(_CLASSES.get(storage, storage) if isinstance(storage, str) else storage, options)
    if not isinstance(opened, PersistenceDriverBase):
        raise InvalidPersistence(storage)
    return opened


def _split(config: object) -> tuple[Any, dict[str, Any]]:
    if config is not None and not isinstance(config, Mapping):
        example = f'{{"storage": {config!r}}}' if isinstance(config, str) else '{"storage": "memory"}'
        raise ConfigurationError(_WHERE, f"must be a dictionary, for example {example} (got {type(config).__name__})")
    options = dict(config or {})
    return options.pop("storage", None) or DEFAULT_STORAGE, options


def _instance(storage: Any, options: Mapping[str, Any]) -> PersistenceDriverBase | Store:
    """The plugin or store of an entry point's name, a class or an instance."""
    if isinstance(storage, str):
        storage = _entry_point(storage)
    if isinstance(storage, type):
        opened = _created(storage, options)
    elif options:
        raise ConfigurationError(
            f"{_WHERE}.{next(iter(options))}", "is not allowed with an instance as storage; pass it to the class"
        )
    else:
        opened = storage
    if isinstance(opened, Persistence) or not isinstance(opened, PersistenceDriverBase | Store):
        raise InvalidPersistence(storage, _choices())
    return opened


def _entry_point(name: str) -> Any:
    found = {point.name: point for point in entry_points(group=GROUP, name=name)}
    if not found:
        raise InvalidPersistence(name, _choices())
    try:
        return found[name].load()
    except (ImportError, AttributeError) as error:
        remedy = (
            "import csi_cinderlib.cinderlib instead of cinderlib in it, or call install_as_cinderlib() before setup"
        )
        raise ConfigurationError(
            f"{_WHERE}.storage", f"cannot load the plugin {name!r} ({found[name].value}): {error}; {remedy}"
        ) from error


def _choices() -> str:
    names = sorted({*plugins.known(), *_CLASSES, *entry_points(group=GROUP).names})
    return (
        f"{_WHERE}.storage must be one of {', '.join(names)}; a class or an instance of PersistenceDriverBase; or of "
        "csi_cinderlib.persistence.api.Store"
    )


def _created(storage: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    if not isinstance(storage, type) or not (issubclass(storage, PersistenceDriverBase) or _is_store(storage)):
        raise InvalidPersistence(storage, _choices())
    try:
        inspect.signature(storage).bind(**options)
    except TypeError as error:
        text = str(error)
        name = text.partition("'")[2].partition("'")[0]
        problem = (
            f"is not an argument of {storage.__name__}" if name in options else f"is missing for {storage.__name__}"
        )
        raise ConfigurationError(f"{_WHERE}.{name}", problem) from error
    return storage(**options)


def _is_store(storage: type) -> bool:
    return all(hasattr(storage, name) for name in ("add", "get", "replace", "remove", "page", "close"))


def _check_database(plugin: DBPersistence) -> None:
    """A subclass may change the constructor only: its other methods would never be called."""
    for kind in type(plugin).__mro__:
        if kind in (DBPersistence, MemoryDBPersistence):
            return
        for name in vars(kind):
            if name.startswith(("get_", "set_", "delete_")) or name == "db":
                raise ConfigurationError(
                    f"{_WHERE}.storage",
                    f"{kind.__name__}.{name} would not be called; derive from PersistenceDriverBase instead of DBPersistence",
                )


def _open_named(name: str, options: dict[str, Any], state_dir: Path, *, is_named: bool, is_url: bool) -> Store:
    sealer = _sealer(options.pop("sealing_keys", None))
    if name == "sql" and not options.get("url") and not is_named:
        raise ConfigurationError(f"{_WHERE}.url", "is missing; set it, or set `state_dir` to use an SQLite file there")
    with _named_as_given(is_url=is_url):
        return plugins.open_store(name, options, state_dir=state_dir, sealer=sealer)


@contextmanager
def _named_as_given(*, is_url: bool) -> Iterator[None]:
    """Name the keys as the program knows them; `url` is `connection` for `db`."""
    try:
        yield
    except ConfigurationError as error:
        raise error.renamed(lambda key: _as_given(key, is_url=is_url)) from error


def _as_given(key: str, *, is_url: bool) -> str:
    key = key.replace("store.options", _WHERE).replace("store.plugin", f"{_WHERE}.storage")
    return key if is_url else key.replace(f"{_WHERE}.url", f"{_WHERE}.connection")


def _sealer(keys: object) -> Sealer | None:
    """A sealer with the keys, given as a list of `{id, key}` as in the configuration of the CSI driver.

    Raises:
        ConfigurationError: the value has another form.
    """
    if not keys:
        return None
    listed = list(keys) if isinstance(keys, tuple) else keys
    return Sealer(Reader({}).read(tuple[SealingKey, ...], listed, f"{_WHERE}.sealing_keys"))  # type: ignore[arg-type]  # the type of the hint


def _named(storage: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate cinderlib's name and options to ours."""
    if storage == "memory_db":
        return "memory", dict(options)
    if storage != "db":
        return storage, dict(options)
    rest = {key: value for key, value in options.items() if key not in _DATABASE_OPTIONS}
    connection = str(rest.pop("connection", None) or "")
    if not connection:
        raise ConfigurationError(f"{_WHERE}.connection", "must be set to a database URL")
    dialect, colon, where = connection.partition("://")
    dialect = dialect.partition("+")[0]
    if dialect == "sqlite" and where in _IN_MEMORY:
        return "memory", rest
    return "sql", {**rest, "url": f"{dialect}{colon}{where}"}
