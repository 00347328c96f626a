"""The values of options as Cinder itself reads them from a cinder.conf, and as a driver gets them from a converted configuration."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config import load
from csi_cinderlib.conversion import conversion, documents, recognition
from csi_cinderlib.conversion.files import File
from csi_cinderlib.conversion.model import Conversion, Source

LVM = "cinder.volume.drivers.lvm.LVMVolumeDriver"
ERROR = "an error"
"""What stands for a value that oslo.config refuses."""


def options_of(driver: str) -> list[Any]:
    """Cinder's own options of a driver's section."""
    from cinder.volume import driver as drivers
    from cinder.volume import manager

    module, _, name = driver.rpartition(".")
    own = getattr(importlib.import_module(module), name).get_driver_options()
    return [*manager.volume_backend_opts, *drivers.volume_opts, *drivers.iser_opts, *drivers.nvmeof_opts, *own]


def as_cinder_reads(paths: Iterable[Path], section: str, driver: str, names: Iterable[str]) -> dict[str, object]:
    """By oslo.config, and Cinder's rule for what a section leaves out."""
    from oslo_config import cfg

    parser = cfg.ConfigOpts()
    for entry in cfg.CONF._opts.values():
        if entry["opt"].dest not in ("config_file", "config_dir"):
            parser.register_opt(entry["opt"])
    for option in options_of(driver):
        for group in ("backend_defaults", section):
            try:
                parser.register_opt(option, group=group)
            except cfg.DuplicateOptError:
                continue
        parser.set_default(option.dest, None, group=section)
    parser([], default_config_files=[str(path) for path in paths], default_config_dirs=[], use_env=False)
    return {name: _read(parser, section, name) for name in names}


def _read(parser: Any, section: str, name: str) -> object:
    from oslo_config import cfg

    try:
        value = getattr(parser[section], name)
        return getattr(parser.backend_defaults, name) if value is None else value
    except (cfg.Error, ValueError, AttributeError, RecursionError):
        return ERROR


def convert(text: str) -> Conversion:
    return conversion.convert(read(text))


def read(text: str, product: recognition.Product | None = None) -> Source:
    return recognition.read([File("FILE", text)], product)


def as_driver_gets(
    converted: Conversion, names: Iterable[str], *, runtime: Runtime, directory: Path
) -> Mapping[str, dict[str, object]]:
    """By back end: the converted configuration is written, loaded, and given to Cinder as `serve` does."""
    from cinder.volume import configuration

    path = directory / "converted.yaml"
    path.write_text(documents.config(converted))
    names, values = list(names), {}
    settings = load.load([path], environment={})
    with _defaults(settings.cinder_defaults):
        for backend in settings.backends:
            section = runtime.add_section(backend)
            try:
                given = configuration.Configuration(options_of(backend.driver), config_group=section)
                values[backend.name] = {name: _get(given, name) for name in names}
            finally:
                runtime.remove_section(section)
    return values


def _get(configuration: Any, name: str) -> object:
    from oslo_config import cfg

    try:
        return getattr(configuration, name)
    except (cfg.Error, ValueError):
        return ERROR


@contextmanager
def _defaults(values: Mapping[str, object]) -> Iterator[None]:
    """Of Cinder's [DEFAULT], of which there is one in a process."""
    from oslo_config import cfg

    for name, value in values.items():
        cfg.CONF.set_override(name, str(value).replace("$", "$$"))
    try:
        yield
    finally:
        for name in values:
            cfg.CONF.clear_override(name)
