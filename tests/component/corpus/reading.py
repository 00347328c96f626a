"""Takes the back ends of a cinder.conf down to their drivers' options, and asks oslo.config what it reads in the same file."""

from __future__ import annotations

import ast
import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder import loading
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config import cinder_conf, former, load
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, DriverError

DIRECTORY = Path(__file__).parent
_BY_DESIGN = ("volume_driver", "volume_backend_name")
"""Options that csi-cinderlib decides: the driver's path of today, and the back end's own name."""

contacts: list[object] = []
"""Addresses that the driver tried to reach while it was made."""


@dataclass(frozen=True)
class Expected:
    """What the comments of a file that begin with `#!` say about one back end.

    Attributes:
        errors, warnings: parts of messages.
        values: of options, by today's names.
        differing: options that oslo.config reads otherwise, on purpose.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of one back end.

    Attributes:
        error: why it is refused, or "".
        values: what the driver sees; oracle: what oslo.config reads, the defaults where it cannot read the file.
    """

    driver: str
    error: str
    warnings: list[str]
    values: Mapping[str, object]
    oracle: Mapping[str, object]


def files() -> list[Path]:
    return sorted(file for file in DIRECTORY.glob("files/*") if file.suffix != ".expected")


def expected(file: Path) -> dict[str, Expected]:
    """By back end; "file" is the file as a whole. JSON has no comments: another file has them."""
    beside = file.with_name(f"{file.name}.expected")
    found: dict[str, Expected] = {}
    for line in (beside if beside.exists() else file).read_bytes().decode(errors="replace").splitlines():
        if line.startswith("#! "):
            name, _, statement = line[3:].partition(": ")
            kind, _, detail = statement.partition(" ")
            about = found.setdefault(name, Expected())
            if kind == "error":
                about.errors.append(detail)
            elif kind == "warning":
                about.warnings.append(detail)
            elif kind == "differs":
                about.differing.append(detail)
            else:
                about.values[kind] = ast.literal_eval(detail.removeprefix("= "))
    return found


def read(directory: Path, file: Path) -> dict[str, Outcome]:
    """By back end. Raises ConfigurationError for the file as a whole.

    Args:
        directory: for state.
    """
    conf = cinder_conf.read(file) if file.suffix == ".conf" else load.load([file], environment={})
    runtime = Runtime(directory, defaults=conf.defaults if isinstance(conf, cinder_conf.CinderConf) else None)
    runtime.start()
    try:
        return {settings.name: _outcome(runtime, file, settings) for settings in conf.backends}
    finally:
        runtime.close()


def _outcome(runtime: Runtime, file: Path, given: BackendSettings) -> Outcome:
    with _heard() as warnings:
        settings, notes = former.translate(given)
        section = runtime.add_section(settings)
        error = _refused(settings, runtime, section)
    values: dict[str, object] = {}
    oracle: dict[str, object] = {}
    if not error:
        values = _ours(settings, section)
        oracle = _theirs(file, given, section)
    runtime.remove_section(section)
    return Outcome(settings.driver, error, [*notes, *warnings], values, oracle)


def _refused(settings: BackendSettings, runtime: Runtime, section: str) -> str:
    """Why the driver cannot be made. That a library is not installed here is no reason, nor that no array answers: by then the
    options are checked."""
    contacts.clear()
    try:
        loading.construct(settings, runtime, section, is_empty=True)
    except DriverError as error:
        lacks_library = str(error).startswith(f"backends.{settings.name}.driver: needs the Python library")
        has_no_array = contacts and isinstance(error, BackendUnavailable)
        return "" if lacks_library or has_no_array else str(error)
    return ""


class _heard(logging.Handler):  # used as a context manager
    """Warnings of csi-cinderlib's own loggers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        values = getattr(record, "values", {})
        words = (
            values.get("option", ""),
            getattr(record, "event", None) or record.getMessage(),
            values.get("reason", ""),
        )
        self.messages.append(": ".join(filter(None, words)))

    def __enter__(self) -> list[str]:
        logging.getLogger("csi_cinderlib").addHandler(self)
        return self.messages

    def __exit__(self, *_error: object) -> None:
        logging.getLogger("csi_cinderlib").removeHandler(self)


def _registered(section: str) -> Mapping[str, Any]:
    from oslo_config import cfg

    return {name: entry["opt"] for name, entry in cfg.CONF._get_group(section)._opts.items() if name not in _BY_DESIGN}


def _ours(settings: BackendSettings, section: str) -> dict[str, object]:
    """What a driver sees through Cinder's own class, also of options that it registers late."""
    from cinder.volume import configuration

    own = loading.own_options(loading.driver_class(settings))
    given = configuration.Configuration(own, config_group=section)
    return {name: getattr(given, name) for name in _registered(section)}


def _theirs(file: Path, given: BackendSettings, section: str) -> dict[str, object]:
    """What a plain oslo.config reads in that file for the same options; one that has a new name is known by both."""
    files = [str(file)] if file.suffix == ".conf" else []
    from oslo_config import cfg

    parser = cfg.ConfigOpts()
    for name, entry in list(cfg.CONF._opts.items()):
        if name not in ("config_file", "config_dir", "config_source"):
            parser.register_opt(entry["opt"])
    old = {became.name: key for key in given.options if (became := former.option(key)) and became.name}
    shared = _registered("backend_defaults")
    for place, options in ((given.name, _registered(section)), ("backend_defaults", shared)):
        for name, option in options.items():
            parser.register_opt(_named_also(option, old.get(name, ""), place), group=place)
    parser([], project="corpus", default_config_files=files, default_config_dirs=[], use_env=False)
    for name in ("state_path", "host"):
        parser.set_override(name, cfg.CONF[name])
    return dict(_values(parser, given.name, section))


def _named_also(option: Any, old: str, section: str) -> Any:
    from oslo_config import cfg

    if not old:
        return option
    other = copy.copy(option)
    other.deprecated_opts = [*option.deprecated_opts, cfg.DeprecatedOpt(old.replace("-", "_"), group=section)]
    return other


def _values(parser: Any, name: str, section: str) -> Iterator[tuple[str, object]]:
    """As Cinder has it: what the back end's own section does not say, [backend_defaults] or the option's default does."""
    shared = _registered("backend_defaults")
    for option in _registered(section):
        is_own = option not in shared or _is_given(parser, option, name)
        yield option, parser[name if is_own else "backend_defaults"][option]


def _is_given(parser: Any, option: str, place: str) -> bool:
    from oslo_config import cfg

    found = parser.get_location(option, place)
    return found is not None and found.location == cfg.Locations.user
