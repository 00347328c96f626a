"""What Cinder's oslo.config reads: the values as they were given, never by way of a file's text."""

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
"""Options that end so are called secret by some drivers, but hold a path, which a message should name."""


class Sections:
    """Cinder's fixed sections, and one for each back end, with the values that were given.

    Attributes:
        path: a file in memory that names them, as some drivers ask oslo.config for the sections of its files. It holds no values.
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
        """Whether it was there."""
        found = name in self._values
        self._values = {other: values for other, values in self._values.items() if other != name}
        self._name_all()
        return found

    def _name_all(self) -> None:
        """At once: whoever reads the file meanwhile reads the old or the new names."""
        with os.fdopen(os.memfd_create("cinder.conf"), "w") as file:
            file.write("".join(f"[{name}]\n" for name in self._values))
            file.flush()
            os.dup2(file.fileno(), self._fd, inheritable=False)

    def close(self) -> None:
        """Forget the values. Idempotent."""
        self._values = {}
        self._close()


class Source:
    """One of oslo.config's `ConfigurationSource`s; without that base class, since this module is imported without Cinder."""

    def __init__(self, several: Iterable[Sections] = ()) -> None:
        self.several = tuple(several)

    def get(self, group_name: str | None, option_name: str, opt: Any) -> tuple[Any, Any]:  # noqa: ARG002  # oslo calls it
        """The option's value, or oslo's `_NoValue`. Raises ValueError if it does not fit."""
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
    """Let this ConfigOpts, which has been called, take values from the source, too."""
    from oslo_config import cfg

    parser.register_opt(cfg.StrOpt(native.BACKSLASH, default="\\"))
    parser._sources.append(source)


def load(several: Iterable[Sections]) -> None:
    """Let Cinder's configuration consist of these. Options that were registered stay."""
    from oslo_config import cfg

    _source.several = tuple(several)
    paths = [str(sections.path) for sections in _source.several]
    if cfg.CONF._namespace is not None:
        # Drivers may be reading: only swap what is read, instead of setting everything up anew.
        cfg.CONF.default_config_files = paths
        reload()
        return
    cfg.CONF(
        [],
        project="cinder",
        prog="csi-cinderlib",
        default_config_files=paths,
        default_config_dirs=[],
        use_env=False,  # OS_ARRAY__SAN_IP would go before what the back ends `array` and `Array` are given
    )
    attach(cfg.CONF, _source)


def reload() -> None:
    """Let oslo.config forget what it read."""
    from oslo_config import cfg

    if not cfg.CONF.reload_config_files():
        raise ConfigurationError("backends", "Cinder cannot read the section names; see the log")


def read_unregistered(section: str | None, option: Any) -> None:
    """See whether the value fits of an option that nobody registered in Cinder's configuration. Raises ValueError."""
    from oslo_config import cfg

    parser = cfg.ConfigOpts()
    parser.register_opt(option, group=section)
    parser([], default_config_files=[], default_config_dirs=[], use_env=False)
    attach(parser, _source)
    with contextlib.suppress(cfg.NoSuchOptError):  # it refers to another one
        getattr(parser[section] if section else parser, option.dest)


def spellings(option: Any) -> list[str]:
    """The names by which an option may be given; older ones count."""
    names = [option.dest, option.name, *(old.name for old in option.deprecated_opts if old.name)]
    return [name.replace("-", "_") for name in names]


def secrets_of(section: str) -> Iterator[str]:
    """The values of the section's secret options as its driver gets them, what they refer to in place. Cinder calls more options secret
    than their names tell."""
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
    """Whether it is a `replication_device` or the like, whose own keys say which of its values are secret."""
    return any(isinstance(item, Mapping) for item in (value if isinstance(value, list) else [value]))


def without_value(section: str, known: Iterable[Any]) -> list[str]:
    """The driver's own options that nobody gave a value and that have no default: what is likely to be missing."""
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
