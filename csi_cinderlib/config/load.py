"""Settings from a YAML file, the environment and the command line: the last named wins."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csi_cinderlib.config import check
from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.reader import Reader
from csi_cinderlib.config.settings import TOPOLOGY_PREFIX, BackendSettings, Mode, Settings
from csi_cinderlib.errors import ConfigurationError

if TYPE_CHECKING:
    import yaml

DEFAULT_STATE_DIR = Path("/var/lib/csi-cinderlib")
CINDER_CONF_KEY = "cinder_conf"
"""The one key that is no field of Settings: the path of a cinder.conf whose enabled back ends are added."""
SOCKET = "csi.sock"
LOCAL_BACKEND = "local"
LOOPFILE_DRIVER = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line sets; None leaves it to the environment, the file and the defaults, in that order."""

    mode: str | None = None
    endpoint: str | None = None
    state_dir: str | None = None
    node_name: str | None = None
    log_format: str | None = None
    log_level: str | None = None


VARIABLES: Mapping[str, str] = {
    "mode": "CINDERLIB_MODE",
    "endpoint": "CSI_ENDPOINT",
    "state_dir": "CINDERLIB_STATE_DIR",
    "node_name": "CINDERLIB_NODE_NAME",
    "log_format": "CINDERLIB_LOG_FORMAT",
    "log_level": "CINDERLIB_LOG_LEVEL",
}
"""The environment variable behind each override. Ours never start with CSI_: the specification keeps that prefix."""


def load(
    path: Path | None, *, environment: Mapping[str, str] = os.environ, overrides: Overrides = Overrides()
) -> Settings:  # immutable
    """Read and check all settings.

    Raises:
        ConfigurationError: with the key path, and near matches where a name is unknown.
    """
    raw = {} if path is None else Reader({}).mapping(read_yaml(path), "")
    for item in fields(overrides):
        given = getattr(overrides, item.name)
        value = environment.get(VARIABLES[item.name]) if given is None else given
        if value is not None:
            _put(raw, item.name, value)
    return parse(raw, environment=environment, directory=path.parent if path else Path())


def parse(raw: Mapping[str, object], *, environment: Mapping[str, str], directory: Path = Path()) -> Settings:
    """Settings from plain values, as YAML has them; a relative path of a cinder.conf starts at `directory`."""
    values = {"state_dir": str(DEFAULT_STATE_DIR), **raw}
    cinder_conf = values.pop(CINDER_CONF_KEY, None)
    _known_keys(values)
    settings = Reader(environment).record(Settings, values, "")
    settings = _completed(settings)
    if cinder_conf is not None:
        settings = _with_cinder_conf(settings, cinder_conf, directory)
    if not settings.backends and not settings.backends_directory and settings.mode is not Mode.NODE:
        settings = replace(settings, backends=(local_backend(settings.state_dir),))
    check.settings(settings)
    return settings


def _completed(settings: Settings) -> Settings:
    """Absolute paths, and topology keys as they are on the wire: `zone` is `topology.DRIVER_NAME/zone`."""
    state_dir = settings.state_dir.absolute()
    backends = tuple(replace(backend, topology=segments(settings, backend.topology)) for backend in settings.backends)
    return replace(
        settings,
        state_dir=state_dir,
        endpoint=settings.endpoint or str(state_dir / SOCKET),
        backends=backends,
        topology=segments(settings, settings.topology),
    )


def segments(settings: Settings, topology: Mapping[str, str]) -> Mapping[str, str]:
    """With keys as they are on the wire: one without a slash gets the driver's own prefix."""
    prefix = f"{TOPOLOGY_PREFIX}{settings.driver_name}/"
    return {key if "/" in key else prefix + key: value for key, value in topology.items()}


def local_backend(state_dir: Path) -> BackendSettings:
    """What runs when nothing is configured: volumes are sparse files in the state directory."""
    options = {"loopfile_directories": [str(state_dir / "volumes")]}
    return BackendSettings(name=LOCAL_BACKEND, driver=LOOPFILE_DRIVER, options=options)


def _known_keys(values: Mapping[str, object]) -> None:
    """As the reader checks it, with the key in the choice that is no field."""
    known = {item.name for item in fields(Settings)} | {CINDER_CONF_KEY}
    for key in values:
        if key not in known:
            raise ConfigurationError(str(key), unknown("key", str(key), known))


def _with_cinder_conf(settings: Settings, path: object, directory: Path) -> Settings:
    from csi_cinderlib.config import cinder_conf  # needs oslo.config

    if not isinstance(path, str) or not path:
        raise ConfigurationError(CINDER_CONF_KEY, "must be the path of a file")
    added = cinder_conf.read(directory / path)
    for name in {backend.name for backend in settings.backends} & {backend.name for backend in added.backends}:
        raise ConfigurationError(f"backends.{name}", f"is also a back end of {path}")
    for name in settings.cinder_defaults.keys() & added.defaults.keys():
        raise ConfigurationError(f"cinder_defaults.{name}", f"is also in [DEFAULT] of {path}")
    return replace(
        settings,
        backends=settings.backends + added.backends,
        cinder_defaults={**settings.cinder_defaults, **added.defaults},
    )


def _put(raw: dict[str, object], name: str, value: str) -> None:
    """`log_format` is the key `format` of the section `log`."""
    section, _, key = name.partition("_")
    if section != "log":
        raw[name] = value
    elif isinstance(nested := raw.get(section) or {}, dict):  # else the reader complains about the section
        raw[section] = {**nested, key: value}


def read_yaml(path: Path) -> object:
    """What a YAML file holds. Raises ConfigurationError with the line, or why it cannot be read."""
    import yaml  # only who has a file pays for it

    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is not text in UTF-8") from None
    try:
        raw: object = yaml.load(text, Loader=_loader(yaml.SafeLoader))  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigurationError(where, error.problem or "is not YAML") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(str(path), f"is not YAML: {error}") from None
    return raw


def _loader(base: type[yaml.SafeLoader]) -> type[yaml.SafeLoader]:
    """A loader that refuses a key that is given twice, where YAML libraries silently take the last."""
    import yaml  # as above

    class Loader(base):  # type: ignore[valid-type, misc]  # a class as a parameter
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value if isinstance(key.value, str) else id(key))
            return super().construct_mapping(node, deep=deep)  # type: ignore[no-any-return]  # untyped base

    return Loader
