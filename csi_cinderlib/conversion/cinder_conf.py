"""Reads a cinder.conf, which may consist of several files, as oslo.config and Cinder do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from csi_cinderlib.config.near import suggestion
from csi_cinderlib.conversion import cinder_options
from csi_cinderlib.conversion.files import File
from csi_cinderlib.conversion.model import GivenBackend, Note, Source, Table, dropped, translated
from csi_cinderlib.conversion.references import SHARED, Scope, Unresolved, resolve
from csi_cinderlib.errors import ConfigurationError

PRODUCT = "OpenStack Cinder"
LVM = "cinder.volume.drivers.lvm.LVMVolumeDriver"
"""Cinder's own default of `volume_driver`."""
_DEFAULT = "DEFAULT"
_SINGLE = "default"
"""The name of a back end in [DEFAULT] without `volume_backend_name`."""

_Sections = dict[str, dict[str, tuple[str, ...]]]


def read(files: Iterable[File]) -> Source:
    """Read the enabled back ends and the options that apply to them.

    Raises:
        ConfigurationError: a file has a syntax error, or no back end is enabled.
    """
    files = list(files)
    sections = _united([_parse(file) for file in files])
    default = sections.get(_DEFAULT, {})
    listed = _named(default, "enabled_backends", f"{files[0].place}: [DEFAULT]", sections)
    enabled = [name.strip() for name in listed.split(",") if name.strip()]
    if not enabled:
        return _single(files[0].place, sections)
    missing = [name for name in enabled if _key(name) not in sections]
    if missing:
        hint = suggestion(missing[0], sections.keys() - {_DEFAULT, SHARED}, label="sections")
        raise ConfigurationError(
            f"{files[0].place}: [DEFAULT] enabled_backends",
            f"section [{missing[0]}] does not exist{hint and '; ' + hint}",
        )
    names = list(dict.fromkeys(enabled))
    notes = [*_of_sections(sections, {_key(name) for name in names}), *_of_files(files)]
    backends = tuple(_backend(name, sections[_key(name)], sections, files[0].place) for name in names)
    rest = {key: value for key, value in default.items() if key != "enabled_backends"}
    return Source(
        product=PRODUCT,
        backends=backends,
        defaults=rest,
        place="[DEFAULT] ",
        implied=cinder_options.IMPLIED,
        notes=tuple(notes),
    )


def _single(place: str, sections: _Sections) -> Source:
    """The only back end of an old cinder.conf without `enabled_backends`, with its options in [DEFAULT]."""
    default = sections.get(_DEFAULT, {})
    if "volume_driver" not in default:
        others = [name for name, options in sections.items() if "volume_driver" in options]
        hint = (
            f"add enabled_backends = {','.join(others)}" if others else "the file does not configure a volume service"
        )
        raise ConfigurationError(f"{place}: [DEFAULT] enabled_backends", f"is missing; {hint}")
    name = default.get("volume_backend_name", (_SINGLE,))[-1] or _SINGLE
    own = {key: value for key, value in default.items() if not cinder_options.belongs_to_default(key)}
    rest = {key: value for key, value in default.items() if key not in own}
    note = translated("[DEFAULT] volume_driver", f"enabled_backends is missing, so [DEFAULT] is the back end {name!r}")
    backend = _backend(name, own, sections, place)
    return Source(
        product=PRODUCT,
        backends=(backend,),
        defaults=rest,
        place="[DEFAULT] ",
        implied=cinder_options.IMPLIED,
        notes=(note, *_of_sections(sections, set())),
    )


def _backend(name: str, options: Table, sections: Mapping[str, Table], place: str) -> GivenBackend:
    own = dict(options)
    shared = dict(sections.get(SHARED, {}))
    given = {"volume_driver": own.pop("volume_driver", ()) or shared.get("volume_driver", ())}
    driver = _named(given, "volume_driver", f"{place}: [{name}]", sections)
    shared.pop("volume_driver", None)
    return GivenBackend(name=name, driver=driver or LVM, own=own, shared=shared, sections=sections)


def _named(options: Table, name: str, place: str, sections: Mapping[str, Table]) -> str:
    """The value of an option with its references resolved. Raises ConfigurationError for a reference without a value."""
    value = options.get(name)
    scope = Scope(default=sections.get(_DEFAULT, {}), sections=sections, implied=cinder_options.IMPLIED)
    try:
        return str(resolve(value[-1], scope)) if isinstance(value, tuple) and value else ""
    except Unresolved as error:
        raise ConfigurationError(f"{place} {name}", str(error)) from None


def _of_sections(sections: _Sections, used: set[str]) -> list[Note]:
    notes = []
    for name, options in sections.items():
        if name in used or name in (_DEFAULT, SHARED):
            continue
        if "volume_driver" in options:
            notes.append(dropped(f"[{name}]", "is not in enabled_backends"))
        else:
            notes.append(dropped(f"[{name}]", cinder_options.why_no_section(name)))
    return notes


def _of_files(files: list[File]) -> list[Note]:
    """Notes on additional files."""
    return [translated(file.place, "read after the preceding files") for file in files[1:]]


def _united(parsed: Iterable[_Sections]) -> _Sections:
    """The sections of all files. The last assignment counts, except for options with several values."""
    united: _Sections = {}
    for sections in parsed:
        for name, options in sections.items():
            place = united.setdefault(name, {})
            for key, values in options.items():
                place[key] = place.get(key, ()) + values
    return united


def _key(section: str) -> str:
    """oslo.config ignores case in the names of sections, except in DEFAULT's."""
    return section if section == _DEFAULT else section.lower()


def _parse(file: File) -> _Sections:
    from oslo_config import iniparser  # a slow import, needed for a cinder.conf only

    sections: _Sections = {}

    class Parser(iniparser.BaseParser):
        section = ""

        def new_section(self, section: str) -> None:
            self.section = _key(section)
            sections.setdefault(self.section, {})

        def assignment(self, key: str, value: list[str]) -> None:
            if not self.section:
                raise iniparser.ParseError("assignment before the first [section]", self.lineno, "")
            options = sections[self.section]
            options[key] = (*options.get(key, ()), "\n".join(value))

    parser = Parser()
    try:
        parser.parse(file.text.split("\n"))
    except iniparser.ParseError as error:  # its text quotes the line
        raise ConfigurationError(file.place, f"line {error.lineno}: {error.msg}") from None
    return sections
