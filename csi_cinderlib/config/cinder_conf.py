"""Reads the back ends of an existing cinder.conf."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError, Problems
from csi_cinderlib.model.verbatim import Inherited, Referenced, Verbatim
from csi_cinderlib.observe import logs

_Options = Mapping[str, Sequence[str]]
_Sections = Mapping[str, _Options]
DEFAULTS_SECTION = "backend_defaults"
"""Options that a back end's own section does not set come from here, and never from [DEFAULT]."""

_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[a-z_][a-z0-9_.]*)|\{(?P<braced>[a-z_][a-z0-9_.]*)\})", re.ASCII | re.IGNORECASE
)
"""As in oslo.config: `$name`, `${name}` or `${section.name}`; `$$` is a dollar sign."""


_COMMENT = re.compile(r"\s#\s")
_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class CinderConf:
    """The settings from a cinder.conf.

    Attributes:
        backends: the back ends of `enabled_backends`, in that order.
        defaults: the other options of [DEFAULT], for all back ends of the process. The Runtime selects those that have an effect.
    """

    backends: tuple[BackendSettings, ...]
    defaults: Mapping[str, object]


def read(path: Path) -> CinderConf:
    """Read a cinder.conf.

    Raises:
        ConfigurationError: the file cannot be read or parsed, or an enabled back end has no section or no driver.
    """
    sections = _parse(path)
    enabled = _last(sections.get("DEFAULT", {}).get("enabled_backends", []))
    names = list(dict.fromkeys(name.strip() for name in enabled.split(",") if name.strip()))
    if not names:
        raise ConfigurationError(f"{path}: [DEFAULT] enabled_backends", "must name at least one back end")
    inherited = sections.get(DEFAULTS_SECTION, {})
    backends, problems = [], Problems()
    for name in names:
        with problems:
            backends.append(_backend(path, name, sections, inherited))
    problems.raise_all()
    used = [sections["DEFAULT"], inherited, *(sections[_key(name)] for name in names)]
    return CinderConf(tuple(backends), _defaults(sections["DEFAULT"], _references(used)))


def _defaults(section: _Options, referenced: Set[str]) -> Mapping[str, object]:
    marked = {
        key: [Referenced(value) for value in values] if key in referenced else values
        for key, values in section.items()
        if key != "enabled_backends"
    }
    return {key: _one_or_all(values) for key, values in marked.items()}


def _references(sections: Iterable[_Options]) -> Set[str]:
    """The names of options that values refer to."""
    texts = (value for section in sections for values in section.values() for value in values)
    return {name for text in texts for name in _names(text)}


def _names(text: str) -> list[str]:
    """The names that a value refers to."""
    return [name for found in _REFERENCE.finditer(text) if (name := found["plain"] or found["braced"])]


def _key(section: str) -> str:
    """oslo.config ignores case in the names of sections, except in DEFAULT's."""
    return section if section == "DEFAULT" else section.lower()


def _backend(path: Path, name: str, sections: _Sections, defaults: _Options) -> BackendSettings:
    if _key(name) not in sections:
        known = sections.keys() - {"DEFAULT", DEFAULTS_SECTION}
        raise ConfigurationError(
            f"{path}: [DEFAULT] enabled_backends", unknown("section", name, known, label="sections")
        )
    inherited = {key: [Inherited(value) for value in values] for key, values in defaults.items()}
    options: _Options = {**inherited, **sections[_key(name)]}
    driver = _last(options.get("volume_driver", []))
    if not driver:
        raise ConfigurationError(f"{path}: [{name}] volume_driver", "is missing")
    places = {**sections, _key(name): options}
    values = {
        key: _one_or_all([_resolved(value, name, places) for value in given])
        for key, given in options.items()
        if key != "volume_driver"
    }
    return BackendSettings(name=name, driver=driver, options=values, directory=str(path.absolute().parent))


def _resolved(value: str, section: str, sections: _Sections) -> Verbatim:
    """The value with its references, so that secrets in them can be hidden everywhere."""
    kind = type(value) if isinstance(value, Verbatim) else Verbatim
    referred: dict[str, str] = {}
    return kind(value, _composed(value, section, sections, referred), referred)


def _composed(
    text: str, section: str, sections: _Sections, referred: dict[str, str], within: Set[str] = frozenset()
) -> str:
    """A value with its references replaced by the values of the options, which are added to `referred`.

    Args:
        within: the options around this value; circular references stay as written.
    """

    def put(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name = found["plain"] or found["braced"]
        place, value = _look_up(name, section, sections)
        if name in within or value is None:
            return found[0]
        referred[name] = _composed(value, place, sections, referred, within | {name})
        return referred[name]

    return _REFERENCE.sub(put, text.replace("\\$", "$$"))


def _look_up(name: str, section: str, sections: _Sections) -> tuple[str, str | None]:
    """The section and the value of the option for `$name` or `$section.name`; None if the file does not set it."""
    named, _, option = name.rpartition(".")
    for place in map(_key, (named,) if named else (section, "DEFAULT")):
        for key, values in sections.get(place, {}).items():
            if key.replace("-", "_") == option:
                return place, _last(values)
    return section, None


def _one_or_all(values: Sequence[str]) -> object:
    return values[0] if len(values) == 1 else values


def _last(values: Sequence[str]) -> str:
    return values[-1] if values else ""


def _parse(path: Path) -> _Sections:
    """The assignments of all sections. A repeated key keeps all its values, as oslo.config's multi-options do."""
    from oslo_config import iniparser  # a slow import, needed for a cinder.conf only

    sections: dict[str, dict[str, list[str]]] = {}

    class Parser(iniparser.BaseParser):
        section = ""

        def new_section(self, section: str) -> None:
            self.section = _key(section)
            sections.setdefault(self.section, {})

        def assignment(self, key: str, value: list[str]) -> None:
            if not self.section:
                raise iniparser.ParseError("assignment before the first [section]", self.lineno, key)
            if any(_COMMENT.search(line) for line in value):
                _log.warning(
                    "comment read as part of the value",
                    path=str(path),
                    section=self.section,
                    option=key,
                    reason="text after # is part of the value, as in Cinder; put comments on lines of their own",
                )
            sections[self.section].setdefault(key, []).append(Verbatim("\n".join(value)))

    try:
        Parser().parse(_lines(path))
    except iniparser.ParseError as error:
        raise ConfigurationError(str(path), f"line {error.lineno}: {error.msg}") from None
    return sections


def _lines(path: Path) -> list[str]:
    """Lines as in oslo.config, which does not split at U+0085 and similar characters, without a byte order mark, which it does not support."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            str(path), f"line {line} is not UTF-8: byte 0x{content[error.start]:02X}; save the file as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
