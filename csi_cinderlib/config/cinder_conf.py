"""Back ends from an existing cinder.conf, its sections as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError

_Options = Mapping[str, Sequence[str]]
_Sections = Mapping[str, _Options]
DEFAULTS_SECTION = "backend_defaults"
"""Cinder takes what a back end's own section leaves out from here, and nothing from [DEFAULT]."""


class Verbatim(str):
    """A value as it stands in a cinder.conf, in oslo.config's own notation: `$name` refers to another option, a comma ends an
    item. One that is given several times is a list of these.
    """

    __slots__ = ()


class Inherited(Verbatim):
    """One from [backend_defaults]: as in Cinder, it goes to the back ends whose drivers have such an option."""

    __slots__ = ()


def backends(path: Path) -> tuple[BackendSettings, ...]:
    """The back ends that `enabled_backends` names, in that order.

    Raises:
        ConfigurationError: the file cannot be read or parsed, or names a back end that has no section or no driver.
    """
    sections = _parse(path)
    enabled = _last(sections.get("DEFAULT", {}).get("enabled_backends", []))
    names = [name.strip() for name in enabled.split(",") if name.strip()]
    if not names:
        raise ConfigurationError(f"{path}: [DEFAULT] enabled_backends", "names no back end")
    defaults = sections.get(DEFAULTS_SECTION, {})
    return tuple(_backend(path, name, sections, defaults) for name in names)


def _backend(path: Path, name: str, sections: _Sections, defaults: _Options) -> BackendSettings:
    if name not in sections:
        known = sections.keys() - {"DEFAULT", DEFAULTS_SECTION}
        raise ConfigurationError(f"{path}: [DEFAULT] enabled_backends", unknown("section", name, known))
    inherited = {key: [Inherited(value) for value in values] for key, values in defaults.items()}
    options: _Options = {**inherited, **sections[name]}
    driver = _last(options.get("volume_driver", []))
    if not driver:
        raise ConfigurationError(f"{path}: [{name}] volume_driver", "is missing")
    values = {key: given[0] if len(given) == 1 else given for key, given in options.items() if key != "volume_driver"}
    return BackendSettings(name=name, driver=driver, options=values)


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
