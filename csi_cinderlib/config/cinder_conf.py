"""Back ends from an existing cinder.conf, its sections as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError

_Options = Mapping[str, Sequence[str]]
_Sections = Mapping[str, _Options]
DEFAULTS_SECTION = "backend_defaults"
"""Cinder takes what a back end's own section leaves out from here, and nothing from [DEFAULT]."""

_REFERENCE = re.compile(r"\$(\$|\w+|\{\w+\})")
"""As oslo.config's templates have it: `$name` or `${name}`; `$$` is a dollar sign."""


class Verbatim(str):
    """A value as it stands in a cinder.conf, in oslo.config's own notation: `$name` refers to another option, a comma ends an
    item. One that is given several times is a list of these.
    """

    __slots__ = ()


class Inherited(Verbatim):
    """One from [backend_defaults]: as in Cinder, it goes to the back ends whose drivers have such an option."""

    __slots__ = ()


class Referenced(Verbatim):
    """One of [DEFAULT] that another option refers to by `$name`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CinderConf:
    """What is used of a cinder.conf.

    Attributes:
        backends: those that `enabled_backends` names, in that order.
        defaults: the other options of [DEFAULT], for all back ends of the process; the Runtime knows which of them mean something.
    """

    backends: tuple[BackendSettings, ...]
    defaults: Mapping[str, object]


def read(path: Path) -> CinderConf:
    """The back ends of a cinder.conf, and what else concerns them.

    Raises:
        ConfigurationError: the file cannot be read or parsed, or names a back end that has no section or no driver.
    """
    sections = _parse(path)
    enabled = _last(sections.get("DEFAULT", {}).get("enabled_backends", []))
    names = [name.strip() for name in enabled.split(",") if name.strip()]
    if not names:
        raise ConfigurationError(f"{path}: [DEFAULT] enabled_backends", "names no back end")
    inherited = sections.get(DEFAULTS_SECTION, {})
    backends = tuple(_backend(path, name, sections, inherited) for name in names)
    used = [sections["DEFAULT"], inherited, *(sections[name] for name in names)]
    return CinderConf(backends, _defaults(sections["DEFAULT"], _references(used)))


def _defaults(section: _Options, referenced: Set[str]) -> Mapping[str, object]:
    marked = {
        key: [Referenced(value) for value in values] if key in referenced else values
        for key, values in section.items()
        if key != "enabled_backends"
    }
    return {key: _one_or_all(values) for key, values in marked.items()}


def _references(sections: Iterable[_Options]) -> Set[str]:
    """The names of the options that others refer to."""
    texts = (value for section in sections for values in section.values() for value in values)
    return {name.strip("{}") for text in texts for name in _REFERENCE.findall(text)}


def _backend(path: Path, name: str, sections: _Sections, defaults: _Options) -> BackendSettings:
    if name not in sections:
        known = sections.keys() - {"DEFAULT", DEFAULTS_SECTION}
        raise ConfigurationError(f"{path}: [DEFAULT] enabled_backends", unknown("section", name, known))
    inherited = {key: [Inherited(value) for value in values] for key, values in defaults.items()}
    options: _Options = {**inherited, **sections[name]}
    driver = _last(options.get("volume_driver", []))
    if not driver:
        raise ConfigurationError(f"{path}: [{name}] volume_driver", "is missing")
    values = {key: _one_or_all(given) for key, given in options.items() if key != "volume_driver"}
    return BackendSettings(name=name, driver=driver, options=values)


def _one_or_all(values: Sequence[str]) -> object:
    return values[0] if len(values) == 1 else values


def _last(values: Sequence[str]) -> str:
    return values[-1] if values else ""


def _parse(path: Path) -> _Sections:
    """Every section's assignments; a key that is given several times keeps all its values, as oslo.config's multi-options do."""
    from oslo_config import iniparser  # only who has a cinder.conf pays for it

    sections: dict[str, dict[str, list[str]]] = {}

    class Parser(iniparser.BaseParser):
        section = ""

        def new_section(self, section: str) -> None:
            self.section = section
            sections.setdefault(section, {})

        def assignment(self, key: str, value: list[str]) -> None:
            if not self.section:
                raise iniparser.ParseError("an assignment before the first [section]", self.lineno, key)
            sections[self.section].setdefault(key, []).append(Verbatim("\n".join(value)))

    try:
        Parser().parse(path.read_text().splitlines())
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None
    except (iniparser.ParseError, UnicodeDecodeError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, iniparser.ParseError) else "it is not text"
        raise ConfigurationError(str(path), line) from None
    return sections
