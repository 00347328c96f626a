"""Converts a source as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from csi_cinderlib.backend import catalogue
from csi_cinderlib.backend.catalogue import Catalogue, Driver
from csi_cinderlib.config import former
from csi_cinderlib.config.check import BACKEND_NAME
from csi_cinderlib.conversion import documents, options, references
from csi_cinderlib.conversion.cinder_options import READ_BY_DRIVERS, why_idle
from csi_cinderlib.conversion.model import (
    Conversion,
    ConvertedBackend,
    GivenBackend,
    Note,
    Source,
    dropped,
    failed,
    translated,
)
from csi_cinderlib.errors import InvalidRequest

_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_RESERVED = frozenset({"DEFAULT", "backend_defaults"})


def convert(source: Source) -> Conversion:
    """Convert the source as far as possible; the notes name the rest."""
    known = catalogue.load()
    notes = list(source.notes)
    backends: list[ConvertedBackend] = []
    for backend in source.backends:
        name = _free_name(backend.name, {done.name for done in backends})
        driver = _driver(backend, known)
        if isinstance(driver, Note):
            notes.append(Note(driver.verdict, driver.item, driver.reason, name))
            continue
        converted, reasons = options.convert(backend, source, name, driver, catalogue=known)
        backends.append(converted)
        notes += _of_driver(backend, converted) + reasons
    defaults, reasons = _defaults(source, known)
    notes += [*reasons, *_of_shared(source, known)]
    return Conversion(
        product=source.product,
        backends=tuple(backends),
        cinder_defaults=defaults,
        settings=source.settings,
        notes=tuple(dict.fromkeys(notes)),
    )


def for_target(conversion: Conversion, target: str) -> Conversion:
    """Add notes on items that this kind of document cannot hold."""
    notes = list(conversion.notes)
    if target == "chart":
        notes += [
            failed(f"[DEFAULT] {name}", "is a password, which the chart's values must not contain; use --to config")
            for name in conversion.cinder_defaults.keys() - documents.open_defaults(conversion).keys()
        ]
    elif target != "config":
        notes += [
            failed(f"[DEFAULT] {name}", "set it in the chart's value cinderDefaults; --to chart writes it")
            for name in conversion.cinder_defaults
        ]
    if target in ("secret", "objects"):
        notes += [failed(name, "set it in the chart's values; --to chart writes them") for name in conversion.settings]
    if target == "objects":
        notes += [
            replace(
                failed(option, "several passwords cannot be one key of a Secret; use --to secret"), backend=backend.name
            )
            for backend in conversion.backends
            for option in sorted(backend.secret & backend.options.keys())
            if documents.text_of(backend.options[option]) is None
        ]
    return replace(conversion, notes=tuple(notes))


def _free_name(given: str, taken: set[str]) -> str:
    """The back end's name, or a similar one if this driver does not accept it."""
    base = re.sub(r"[^A-Za-z0-9_.-]", "-", given)[:50].lstrip("_.-") or "backend"
    base = f"{base}-1" if base in _RESERVED else base
    wanted = given if BACKEND_NAME.fullmatch(given) and given not in _RESERVED else base
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _driver(backend: GivenBackend, known: Catalogue) -> Driver | str | Note:
    """The driver in the catalogue, the class path of another driver, or a note why there is none."""
    with suppress(InvalidRequest):
        return known.find(backend.driver)
    short = [driver for driver in known.drivers if driver.name.lower().removesuffix("driver") == backend.driver.lower()]
    if len(short) == 1:
        return short[0]
    if _CLASS.fullmatch(backend.driver) and not backend.driver.startswith("cinder."):
        return backend.driver
    became = former.driver(backend.driver)
    if became and became.name:
        return known.find(became.name)
    return failed("driver", former.why_no_driver(backend.driver))


def _of_driver(given: GivenBackend, converted: ConvertedBackend) -> list[Note]:
    if given.driver == converted.driver:
        return []
    became = former.driver(given.driver)
    reason = f"{given.driver} was {became}" if became else f"{given.driver} means {converted.driver}"
    return [translated("driver", reason, converted.name)]


def _defaults(source: Source, known: Catalogue) -> tuple[dict[str, object], list[Note]]:
    """The options of Cinder's [DEFAULT] that drivers read, and notes on the others."""
    values: dict[str, object] = {}
    notes: list[Note] = []
    scope = references.Scope(default=source.defaults, implied=source.implied)
    of_drivers = {option.name for driver in known.drivers for option in driver.options} | {
        option.name for option in known.common
    }
    referred = set(_referred(source))
    for name, given in source.defaults.items():
        item = f"{source.place}{name}"
        if name in READ_BY_DRIVERS:
            try:
                resolved = references.resolve(given, scope)
            except references.Unresolved as error:
                notes.append(failed(item, str(error)))
                continue
            values[name] = resolved[-1] if isinstance(resolved, tuple) else resolved
        elif name in referred:
            notes.append(translated(item, "references to it are replaced by its value"))
        else:
            notes.append(dropped(item, _why_dropped(name, of_drivers)))
    return values, notes


def _why_dropped(name: str, of_drivers: set[str]) -> str:
    reason = why_idle(name)
    if reason:
        return reason
    if name in of_drivers:
        return "has no effect in Cinder either; drivers read it only from their own section or from [backend_defaults]"
    return "no driver reads it"


def _referred(source: Source) -> Iterator[str]:
    for backend in source.backends:
        for table in (backend.own, backend.shared):
            for value in table.values():
                yield from references.names_in(value)
    for value in source.defaults.values():
        yield from references.names_in(value)


def _of_shared(source: Source, known: Catalogue) -> Iterator[Note]:
    """Notes on options of [backend_defaults] that no driver of the back ends has, if the options of all drivers are known."""
    if any(isinstance(_driver(backend, known), str) for backend in source.backends):
        return
    common = {option.name for option in known.common}
    paths = {driver.path: driver for driver in known.drivers}
    used = {
        name
        for backend in source.backends
        if isinstance(driver := _driver(backend, known), Driver)
        for option in paths[driver.path].options
        for name in (option.name, *option.former_names)
    } | {name for option in known.common for name in (option.name, *option.former_names)}
    for name in source.backends[0].shared if source.backends else ():
        if name not in used | common:
            yield dropped(f"[backend_defaults] {name}", "is not an option of these back ends' drivers")
