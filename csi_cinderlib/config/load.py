"""Loads the settings from files, the environment and the command line, with increasing precedence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path

from csi_cinderlib.config import check, files, foreign, scalars
from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.reader import Reader
from csi_cinderlib.config.settings import TOPOLOGY_PREFIX, BackendSettings, FilePath, Mode, Settings
from csi_cinderlib.errors import ConfigurationError, Problem, Problems
from csi_cinderlib.observe import logs

DEFAULT_STATE_DIR = Path("/var/lib/csi-cinderlib")
CINDER_CONF_KEY = "cinder_conf"
"""The only key without a field in Settings: the path of a cinder.conf whose enabled back ends are added."""
SOCKET = "csi.sock"
LOCAL_BACKEND = "local"
LOOPFILE_DRIVER = "csi_cinderlib.drivers.loopfile.LoopFileDriver"

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Values from the command line; None leaves a value to the environment, the files and the defaults, in that order."""

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
"""Environment variables of the overrides. The CSI specification reserves the prefix CSI_ for its own variables."""


def load(
    paths: Sequence[Path], *, environment: Mapping[str, str] = os.environ, overrides: Overrides = Overrides()
) -> Settings:  # immutable
    """Read and check all settings.

    Args:
        paths: YAML and JSON files, and directories of them.

    Raises:
        ConfigurationError: all problems with their key paths, and suggestions for unknown names.
    """
    problems = Problems()
    _refuse_ember(environment, is_configured=bool(paths))
    raw = _merged(paths, environment, overrides, problems)
    problems.raise_all()
    return parse(raw, environment=environment)


def examine(
    paths: Sequence[Path], *, environment: Mapping[str, str] = os.environ, overrides: Overrides = Overrides()
) -> tuple[Settings, tuple[Problem, ...]]:  # immutable
    """As `load`, but returns what can be read and all problems. Fields with a problem have their defaults.

    Raises:
        ConfigurationError: the environment configures Ember-CSI, and no file is given.
    """
    _refuse_ember(environment, is_configured=bool(paths))
    reader = Reader(environment)
    raw = _merged(paths, environment, overrides, reader.problems)
    settings = _parsed(raw, reader)
    wrong = {key.partition(".")[0] for key in reader.problems.keys} - {"backends"}
    defaults = {item.name: item.default for item in fields(Settings) if item.default is not MISSING}
    return replace(settings, **{name: defaults[name] for name in wrong & defaults.keys()}), reader.problems.all


def _merged(
    paths: Sequence[Path], environment: Mapping[str, str], overrides: Overrides, problems: Problems
) -> dict[str, object]:
    """The tree of all files, with the environment and the command line on top."""
    raw = files.read_merged(paths, problems)
    for item in fields(overrides):
        given = getattr(overrides, item.name)
        value = environment.get(VARIABLES[item.name]) if given is None else given
        if value is not None:
            _put(raw, item.name, value)
    return raw


def _refuse_ember(environment: Mapping[str, str], *, is_configured: bool) -> None:
    """Without a configuration file, a default back end in local files would silently replace Ember-CSI's."""
    names = ", ".join(foreign.variables(environment))
    if names and not is_configured:
        raise ConfigurationError(
            names,
            "variables of Ember-CSI have no effect here; convert them with `csi-cinderlib convert --from-environment`",
        )
    if names:
        _log.warning("variables of Ember-CSI ignored", variables=names, reason="they have no effect here; remove them")


def parse(raw: Mapping[str, object], *, environment: Mapping[str, str], directory: Path = Path()) -> Settings:
    """Settings from a tree; relative paths in values that come from no file start at `directory`."""
    reader = Reader(environment, directory)
    settings = _parsed(raw, reader)
    reader.problems.raise_all()
    return settings


def _parsed(raw: Mapping[str, object], reader: Reader) -> Settings:
    """The settings as far as they can be read; what is wrong is added to the reader's problems."""
    values = {"state_dir": str(DEFAULT_STATE_DIR), **raw}
    cinder_conf = values.pop(CINDER_CONF_KEY, None)
    for key in _unknown_keys(values):
        reader.problems.add(key, _unknown_key(key))
        del values[key]
    settings = _completed(reader.record(Settings, values, ""))
    if cinder_conf is not None:
        with reader.problems:
            path = str(reader.value(FilePath, cinder_conf, CINDER_CONF_KEY))
            settings = _with_cinder_conf(settings, path)
    is_unset = not settings.backends and not settings.backends_directory and not reader.problems.keys
    if is_unset and settings.mode is not Mode.NODE:
        settings = replace(settings, backends=(local_backend(settings.state_dir),))
    with reader.problems:
        check.settings(settings)
    return settings


def _completed(settings: Settings) -> Settings:
    """Complete paths and topology keys: `zone` becomes `topology.DRIVER_NAME/zone`."""
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
    """Topology segments with complete keys: a key without a slash gets the driver's prefix."""
    prefix = f"{TOPOLOGY_PREFIX}{settings.driver_name}/"
    return {key if "/" in key else prefix + key: value for key, value in topology.items()}


def local_backend(state_dir: Path) -> BackendSettings:
    """The default back end: volumes are sparse files in the state directory."""
    options = {"loopfile_directories": [str(state_dir / "volumes")]}
    return BackendSettings(name=LOCAL_BACKEND, driver=LOOPFILE_DRIVER, options=options)


def _unknown_keys(values: Mapping[str, object]) -> list[str]:
    known = {item.name for item in fields(Settings)}
    return [key for key in values if isinstance(key, str) and key not in known]


def _unknown_key(key: str) -> str:
    """Like the reader's message, with CINDER_CONF_KEY as a known key."""
    known = {item.name for item in fields(Settings)} | {CINDER_CONF_KEY}
    return unknown("key", str(key), known) + scalars.place(key)


def _with_cinder_conf(settings: Settings, path: str) -> Settings:
    from csi_cinderlib.config import cinder_conf  # needs oslo.config

    if not path:
        raise ConfigurationError(CINDER_CONF_KEY, "must be the path of a cinder.conf")
    added = cinder_conf.read(Path(path))
    problems = Problems()
    for name in sorted({backend.name for backend in settings.backends} & {backend.name for backend in added.backends}):
        problems.add(f"backends.{name}", f"is also a back end of {path}; remove one")
    for name in sorted(settings.cinder_defaults.keys() & added.defaults.keys()):
        problems.add(f"cinder_defaults.{name}", f"is also in [DEFAULT] of {path}; remove one")
    problems.raise_all()
    return replace(
        settings,
        backends=settings.backends + added.backends,
        cinder_defaults={**settings.cinder_defaults, **added.defaults},
    )


def _put(raw: dict[str, object], name: str, value: str) -> None:
    """Set a key. `log_format` is the key `format` of the section `log`."""
    section, _, key = name.partition("_")
    if section != "log":
        raw[name] = value
    elif isinstance(nested := raw.get(section) or {}, dict):  # otherwise the reader reports the section
        raw[section] = {**nested, key: value}
