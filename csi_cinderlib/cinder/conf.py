"""Options as oslo.config reads them: the file that Cinder is given, and what is wrong with an option in our users' words."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.verbatim import Inherited, Verbatim
from csi_cinderlib.observe import redact

_NAME = "cinder.conf"
_HEAD = "# Written by csi-cinderlib. Holds passwords: lies in memory only.\n"


_BACKSLASH = "csi_cinderlib_backslash"
"""An option that is a backslash. oslo takes one in front of a dollar sign away, and in no other way does it stay."""

_OF_FILES = ("_file", "_path")
"""Options that end so are called secret by some drivers, but hold a path, which a message should name."""

_BEFORE_DOLLAR = re.compile(r"\\+(?=\$)")


def text(value: object) -> str:
    """One option's value as oslo.config parses it.

    A dollar sign is meant literally (oslo would take `$my_ip` for a reference), a list becomes a comma list, a mapping
    `key:value` pairs, and what oslo would strip is quoted.
    """
    if isinstance(value, Verbatim):
        return value.replace("\n", "\n    ")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ",".join(text(item) for item in value)
    plain = str(value).replace("$", "$$").replace("\n", "\n    ")
    plain = _BEFORE_DOLLAR.sub(lambda found: f"${{{_BACKSLASH}}}" * len(found[0]), plain)
    quoted = plain != "" and plain[0] == plain[-1] and plain[0] in "\"'"
    return f'"{plain}"' if plain != plain.strip() or quoted else plain


def lines(key: str, value: object) -> list[str]:
    """The lines of one option; several mappings (`replication_device`), or lines of a cinder.conf, become one line each."""
    if value is None:
        return []
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping | Verbatim) for item in value):
        return [f"{key} = {text(item)}" for item in value]
    return [f"{key} = {text(value)}"]


class ConfFile:
    """A cinder.conf: fixed sections, and one for each back end. It lies in memory, so that no end of the process leaves it.

    Attributes:
        path: under which this process, its threads and its forks read it.
    """

    def __init__(self, base: Mapping[str, Mapping[str, object]]) -> None:
        self.sections: dict[str, Mapping[str, object]] = {}
        self._base = base
        self._fd = os.memfd_create(_NAME)
        self.path = Path(f"/proc/self/fd/{self._fd}")
        self._close = weakref.finalize(self, os.close, self._fd)

    @property
    def names(self) -> Iterable[str]:
        """Of all sections."""
        return (*self._base, *self.sections)

    def write(self) -> None:
        """Replace the contents at once: whoever reads them meanwhile reads the old or the new ones."""
        everything = {**self._base, **self.sections}
        body = "\n".join(
            "\n".join([f"[{name}]", *(line for key, value in options.items() for line in lines(key, value))])
            for name, options in everything.items()
        )
        with os.fdopen(os.memfd_create(_NAME), "w") as file:
            file.write(_HEAD + body + "\n")
            file.flush()
            os.dup2(file.fileno(), self._fd, inheritable=False)

    def close(self) -> None:
        """Forget the contents. Idempotent."""
        self._close()


def register(parser: Any) -> None:
    """Make known to this ConfigOpts what `text` refers to."""
    from oslo_config import cfg

    parser.register_opt(cfg.StrOpt(_BACKSLASH, default="\\"))


def load(files: Iterable[Path]) -> None:
    """Let Cinder's configuration consist of these files. Options that were registered stay."""
    from oslo_config import cfg

    register(cfg.CONF)
    if cfg.CONF._namespace is not None:
        # Drivers may be reading: only swap what is read, instead of setting everything up anew.
        cfg.CONF.default_config_files = [str(file) for file in files]
        reload()
        return
    cfg.CONF(
        [],
        project="cinder",
        prog="csi-cinderlib",
        default_config_files=[str(file) for file in files],
        default_config_dirs=[],
        use_env=False,  # OS_ARRAY__SAN_IP would go before what the back ends `array` and `Array` are given
    )


def reload() -> None:
    """Read the files again; oslo.config only logs what is wrong and keeps the old values."""
    from oslo_config import cfg

    if not cfg.CONF.reload_config_files():
        raise ConfigurationError("backends", "Cinder cannot read the options: the log says why")


def check(backend: str, section: str, options: Mapping[str, object], known: Iterable[Any]) -> None:
    """Check the given options against those that the driver registered.

    Args:
        known: further options (oslo's) that the driver's class names.

    Raises:
        ConfigurationError: one is unknown (near matches are named), or its value does not fit.
    """
    from oslo_config import cfg

    group = cfg.CONF._get_group(section)
    registered = {name: entry["opt"] for name, entry in group._opts.items()}
    registered.update({option.dest: option for option in known})
    spellings = {
        spelling.replace("-", "_"): option
        for option in registered.values()
        for spelling in _spellings(option)
        if spelling
    }
    for key, value in options.items():
        path = f"backends.{backend}.options.{key}"
        option = spellings.get(key.replace("-", "_"))
        if option is None and _is_inherited(value):
            continue
        if option is None:
            near = difflib.get_close_matches(key, spellings, n=3, cutoff=0.75)
            raise ConfigurationError(path, f"is not an option of this driver{_did_you_mean(near)}")
        _check_value(path, section, option)


def _is_inherited(value: object) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Inherited)


def _spellings(option: Any) -> list[str]:
    return [option.dest, option.name, *(old.name for old in option.deprecated_opts)]


def _did_you_mean(near: list[str]) -> str:
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _check_value(path: str, section: str, option: Any) -> None:
    from oslo_config import cfg

    try:
        getattr(cfg.CONF[section], option.dest)
    except cfg.NoSuchOptError:
        return  # registered by name only: the driver reads it itself later
    except (cfg.ConfigFileValueError, ValueError) as error:
        raise ConfigurationError(path, f"does not fit: {reason(error)}; it is {describe(option)}") from None


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
                yield from redact.secrets_in({"pairs" if _holds_mappings(value) else "secret": value})


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


def describe(option: Any) -> str:
    """The option's type and bounds in words."""
    kind = option.type
    parts = [type(kind).__name__.lower()]
    for bound, word in (("min", "at least"), ("max", "at most")):
        if getattr(kind, bound, None) is not None:
            parts.append(f"{word} {getattr(kind, bound)}")
    if choices := getattr(kind, "choices", None):
        parts.append("one of " + ", ".join(str(choice) for choice in choices))
    return ", ".join(parts)


def reason(error: Exception) -> str:
    """oslo's own words, without the part that names our generated file."""
    message = str(error)
    return message.rpartition("is not valid: ")[2] if "is not valid: " in message else message
