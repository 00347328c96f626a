"""The source of Cinder's oslo.config: passes values directly, not as text of a file."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder import native
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.records import NOTHING
from csi_cinderlib.observe import redact

_OF_FILES = ("_file", "_path")
"""Suffixes of options that some drivers mark as secret although they hold a path, which messages should show."""


class Sections:
    """Cinder's fixed sections and a section for each back end, with their values.

    Attributes:
        path: a file in memory with the sections' names, since some drivers list the sections of oslo.config's files. It has no values.
    """

    def __init__(self, base: Mapping[str, Mapping[str, object]]) -> None:
        self._values = dict(base)
        self._fd = os.memfd_create("cinder.conf")
        self.path = Path(f"/proc/self/fd/{self._fd}")
        self._close = weakref.finalize(self, os.close, self._fd)
        self._name_all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __getitem__(self, name: str) -> Mapping[str, object]:
        return self._values.get(name, NOTHING)

    def put(self, name: str, values: Mapping[str, object]) -> None:
        """Add a section, or replace it."""
        self._values = {**self._values, name: values}
        self._name_all()

    def remove(self, name: str) -> bool:
        """False if the section did not exist."""
        found = name in self._values
        self._values = {other: values for other, values in self._values.items() if other != name}
        self._name_all()
        return found

    def _name_all(self) -> None:
        """Replace the names atomically: readers get the old or the new names."""
        with os.fdopen(os.memfd_create("cinder.conf"), "w") as file:
            file.write("".join(f"[{name}]\n" for name in self._values))
            file.flush()
            os.dup2(file.fileno(), self._fd, inheritable=False)

    def close(self) -> None:
        """Discard the values. Idempotent."""
        self._values = {}
        self._close()


class Source:
    """A `ConfigurationSource` of oslo.config, without that base class, since this module is imported without Cinder."""

    def __init__(self, several: Iterable[Sections] = ()) -> None:
        self.several = tuple(several)

    def get(self, group_name: str | None, option_name: str, opt: Any) -> tuple[Any, Any]:  # noqa: ARG002  # oslo calls it
        """The option's value, or oslo's `_NoValue`. Raises ValueError if it is invalid."""
        from oslo_config import cfg, sources

        former = [(old.group or group_name, old.name or opt.dest) for old in opt.deprecated_opts]
        for section, name in [(group_name, opt.dest), *former]:
            for sections in reversed(self.several):
                value = sections[section or "DEFAULT"].get(name.replace("-", "_"))
                if value is not None:
                    return native.value_for(opt, value), cfg.LocationInfo(cfg.Locations.user, "")
        return sources._NoValue, None


_source = Source()


def attach(parser: Any, source: Source) -> None:
    """Add the source to a ConfigOpts that has been called."""
    from oslo_config import cfg

    parser.register_opt(cfg.StrOpt(native.BACKSLASH, default="\\"))
    parser._sources.append(source)


def load(several: Iterable[Sections]) -> None:
    """Set the sections of Cinder's configuration. Registered options are kept."""
    from oslo_config import cfg

    _source.several = tuple(several)
    paths = [str(sections.path) for sections in _source.several]
    if cfg.CONF._namespace is not None:
        # Drivers may be reading: only replace the sections instead of configuring everything again.
        cfg.CONF.default_config_files = paths
        reload()
        return
    cfg.CONF(
        [],
        project="cinder",
        prog="csi-cinderlib",
        default_config_files=paths,
        default_config_dirs=[],
        use_env=False,  # OS_ARRAY__SAN_IP would override the options of the back ends `array` and `Array`
    )
    attach(cfg.CONF, _source)


def reload() -> None:
    """Clear oslo.config's cache."""
    from oslo_config import cfg

    if not cfg.CONF.reload_config_files():
        raise ConfigurationError("backends", "Cinder cannot read the section names; see the log")


def read_unregistered(section: str | None, option: Any) -> None:
    """Check the value of an option that is not registered in Cinder's configuration. Raises ValueError."""
    from oslo_config import cfg

    parser = cfg.ConfigOpts()
    parser.register_opt(option, group=section)
    parser([], default_config_files=[], default_config_dirs=[], use_env=False)
    attach(parser, _source)
    with contextlib.suppress(cfg.NoSuchOptError):  # it refers to another option
        getattr(parser[section] if section else parser, option.dest)


def spellings(option: Any) -> list[str]:
    """The names of an option, including deprecated ones."""
    names = [option.dest, option.name, *(old.name for old in option.deprecated_opts if old.name)]
    return [name.replace("-", "_") for name in names]


def secrets_of(section: str) -> Iterator[str]:
    """The values of the section's secret options as the driver gets them, with references resolved. Cinder marks more options as
    secret than their names suggest."""
    from oslo_config import cfg

    for entry in cfg.CONF._get_group(section)._opts.values():
        option = entry["opt"]
        if not (option.secret or redact.is_secret_key(option.dest)) or option.dest.endswith(_OF_FILES):
            continue
        with contextlib.suppress(cfg.Error, ValueError):
            value = getattr(cfg.CONF[section], option.dest)
            if value != option.default:
                by_name = option.dest if redact.is_secret_key(option.dest) else "secret"
                yield from redact.secrets_in({"pairs" if _holds_mappings(value) else by_name: value})


def _holds_mappings(value: object) -> bool:
    """Whether it is a mapping such as `replication_device`, whose keys tell which values are secret."""
    return any(isinstance(item, Mapping) for item in (value if isinstance(value, list) else [value]))


def without_value(section: str, known: Iterable[Any]) -> list[str]:
    """The driver's own options without value and default, which are likely to be missing."""
    from oslo_config import cfg

    names = []
    for option in known:
        try:
            value = getattr(cfg.CONF[section], option.dest)
        except (cfg.Error, ValueError):
            continue
        if value in (None, "", []) and option.default in (None, "", []) and not option.deprecated_for_removal:
            names.append(option.dest)
    return names
