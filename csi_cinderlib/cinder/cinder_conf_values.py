"""The back ends of a cinder.conf with the values that Cinder's drivers would get."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder import loading, runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError


def backends(path: Path) -> list[dict[str, Any]]:
    """The options in the section of each enabled back end, by name, converted to their types and with references resolved.

    Options that neither Cinder nor the driver has are missing. A back end without `volume_backend_name` gets the section's name.

    Raises:
        ConfigurationError: the file cannot be parsed, an enabled back end has no section or no driver, or its driver or a library
            is missing.
    """
    runtime.load_cinder()
    written = _written(path)
    enabled = written.get("DEFAULT", "enabled_backends", fallback="")
    names = list(dict.fromkeys(name.strip() for name in enabled.split(",") if name.strip()))
    if not names:
        raise ConfigurationError(f"{path}: [DEFAULT] enabled_backends", "must name at least one back end")
    return [_backend(path, name, written) for name in names]


def _written(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(
        strict=False, default_section=""
    )  # so that [DEFAULT] is a section like others
    try:
        parser.read_string(path.read_text(), str(path))
    except configparser.Error as error:
        raise ConfigurationError(str(path), f"is not a cinder.conf: {error}") from error
    return parser


def _backend(path: Path, name: str, written: configparser.RawConfigParser) -> dict[str, Any]:
    if not written.has_section(name):
        raise ConfigurationError(f"{path}: [DEFAULT] enabled_backends", f"names {name!r}, which has no section")
    driver = written.get(name, "volume_driver", fallback="")
    if not driver:
        raise ConfigurationError(f"{path}: [{name}] volume_driver", "is missing")
    known = _options(loading.driver_class(BackendSettings(name=name, driver=driver, options={})))
    present = [key.replace("-", "_") for key in written.options(name)]
    values = dict(_values(path, name, {key: known[key] for key in present if key in known}))
    return {**values, "volume_backend_name": values.get("volume_backend_name") or name}


def _options(driver_class: Any) -> Mapping[str, Any]:
    """The options that Cinder and the driver have registered or list, by name."""
    from oslo_config import cfg

    registered = [entry["opt"] for entry in cfg.CONF._get_group("backend_defaults")._opts.values()]
    return {option.dest: option for option in [*loading.own_options(driver_class), *registered]}


def _values(path: Path, section: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    from oslo_config import cfg

    parser = cfg.ConfigOpts()
    parser.register_opts([entry["opt"] for entry in cfg.CONF._opts.values() if not entry["cli"]])
    shared = [entry["opt"] for entry in cfg.CONF._get_group("backend_defaults")._opts.values()]
    parser.register_opts(shared, group="backend_defaults")
    parser.register_opts(options.values(), group=section)
    parser([], default_config_files=[str(path)], default_config_dirs=[], use_env=False)
    for name, option in options.items():
        try:
            yield name, parser[section][option.dest]
        except (cfg.Error, ValueError) as error:
            raise ConfigurationError(f"{path}: [{section}] {name}", f"invalid value: {error}") from error
