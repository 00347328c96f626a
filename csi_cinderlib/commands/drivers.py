"""`csi-cinderlib drivers`: lists the drivers, or describes one driver with its options and an example."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import output
from csi_cinderlib.errors import InvalidRequest

if TYPE_CHECKING:
    from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option

_WIDTH = 100

_EPILOG = """\b
Each WORD is a protocol, or part of a class path, vendor or product. A driver must match all words. A single match is described.
  csi-cinderlib drivers pure
  csi-cinderlib drivers dell iscsi
  csi-cinderlib drivers PureISCSIDriver
"""


def _complete_words(_context: click.Context, _argument: click.Parameter, incomplete: str) -> list[str]:
    from csi_cinderlib.backend import catalogue, search

    names = {driver.name for driver in catalogue.load().drivers} | search.vendors(catalogue.load())
    return sorted(name for name in names if name.lower().startswith(incomplete.lower()))


def _complete_protocols(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[str]:
    from csi_cinderlib.backend import catalogue, search

    names = {name for driver in catalogue.load().drivers for name in search.protocols(driver)}
    return sorted(name for name in names if name.startswith(incomplete))


COLUMNS = ("driver", "protocols", "supported", "missing_here")
WIDE = ("name", "options", "version", "summary")


@click.command(epilog=_EPILOG)
@click.argument("words", nargs=-1, metavar="[WORD]...", shell_complete=_complete_words)
@click.option("--protocol", metavar="NAME", help="Only drivers with this protocol.", shell_complete=_complete_protocols)
@click.option("--missing", is_flag=True, help="Only drivers whose Python libraries are not installed here.")
@output.formatted
def command(words: Sequence[str], protocol: str, missing: bool, format: output.Format) -> int:
    """Return 2 if no driver matches the words."""
    from csi_cinderlib.backend import catalogue, search

    known = catalogue.load()
    try:
        found = search.search(known, _current(words, known), protocol or "")
    except InvalidRequest as error:
        raise click.UsageError(error.problem) from None
    if missing:
        found = [driver for driver in found if _missing(driver)]
    is_list = not words or len(found) != 1 or format.columns or format.kind in (output.Kind.WIDE, output.Kind.NAME)
    if is_list:
        output.print_rows(map(_row, found), format, columns=COLUMNS, wide=WIDE, nothing="no drivers")
    elif format.kind in (output.Kind.JSON, output.Kind.YAML):
        output.print_object(_whole(found[0], known), format)
    else:
        _describe(found[0], known)
    return 0


def _current(words: Sequence[str], known: Catalogue) -> Sequence[str]:
    """Replace a driver's former name by its current class path, and print a note. Raises InvalidRequest: the driver was removed."""
    from csi_cinderlib.config import former

    word = words[0].lower() if len(words) == 1 else ""
    if not word or any(driver.name.lower() == word for driver in known.drivers):
        return words
    if (moved := former.driver_named(words[0])) is None:
        return words
    path, became = moved
    if not became.name:
        raise InvalidRequest("driver", f"{path} was {became}")
    output.print_text(f"note: {path} was {became}", sys.stderr)
    return [became.name]


def _row(driver: Driver) -> output.Row:
    from csi_cinderlib.backend.search import protocols

    return {
        "driver": driver.path,
        "name": driver.name,
        "protocols": list(protocols(driver)),
        "supported": driver.supported,
        "options": len(driver.options),
        "missing_here": [library.module for library in _missing(driver)],
        "version": driver.version,
        "summary": driver.summary,
    }


def _missing(driver: Driver) -> tuple[Any, ...]:
    from csi_cinderlib.backend import libraries

    return libraries.missing(driver.path)


def _whole(driver: Driver, known: Catalogue) -> dict[str, Any]:
    values = {**dataclasses.asdict(driver), "common_options": [dataclasses.asdict(option) for option in known.common]}
    return {
        **values,
        "example": driver.example(),
        "libraries": [{"module": library.module, "install": library.advice} for library in driver.libraries],
    }


def _describe(driver: Driver, known: Catalogue) -> None:
    output.print_text(driver.path)
    output.print_text(
        textwrap.fill(driver.summary or "no description", _WIDTH, initial_indent="  ", subsequent_indent="  ")
    )
    output.print_text(
        f"  version {driver.version or 'unknown'}, {'supported' if driver.supported else 'not supported'} by Cinder"
    )
    for library in driver.libraries:
        output.print_text(f"  {library.advice.replace(', which is not installed', '')}")
    for missing in _missing(driver):
        output.print_text(f"  not installed here: {missing.module}")
    output.print_text("\nExample:\n")
    output.print_text(textwrap.indent(block(driver), "  "))
    for title, options in (("Options", driver.options), ("Options of every driver", known.common)):
        output.print_text(f"\n{title}:\n")
        for option in options:
            _option(option)


def _option(option: Option) -> None:
    output.print_text(f"  {option.name}  ({traits(option)})")
    output.print_text(textwrap.fill(option.help, _WIDTH, initial_indent="      ", subsequent_indent="      "))


def traits(option: Option) -> str:
    """Type, bounds, default and flags, in one line."""
    parts = [option.type if not option.choices else "one of " + ", ".join(option.choices)]
    if option.minimum is not None:
        parts.append(f"at least {option.minimum}")
    if option.maximum is not None:
        parts.append(f"at most {option.maximum}")
    if option.default not in (None, "", [], {}):
        parts.append(f"default {json.dumps(option.default)}")
    flags = {"required": option.required, "secret": option.secret, "may be a list": option.multiple}
    flags["deprecated"] = option.deprecated
    return ", ".join([*parts, *(name for name, holds in flags.items() if holds)])


_NUMERIC = re.compile(r"[-+]?(?:\.\d|\d)[\d_]*(?:\.[\d_]*)?(?:e[-+]?\d+)?|\d+(?::\d+)+|0[xob][\da-f_]+", re.IGNORECASE)
"""Text that a YAML parser may read as a number."""


def block(driver: Driver, name: str = "array1", more: Mapping[str, Any] = MappingProxyType({})) -> str:
    """A back end's section of the configuration, as YAML: the driver's example, and `more` options."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes text that looks like a number, such as 000120001234."""

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _NUMERIC.fullmatch(text) else None)

    Dumper.add_representer(str, represent)
    options = {**driver.example(), **more}
    backend = {"driver": driver.path, **({"options": options} if options else {})}
    document = {"backends": {name: backend}}
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=200)
