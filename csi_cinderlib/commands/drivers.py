"""`csi-cinderlib drivers`: every driver there is, or one of them with its options and a back end to begin with."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import output

if TYPE_CHECKING:
    from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option

_WIDTH = 100


@click.command()
@click.argument("name", default="")
@output.formatted
def command(name: str, format: output.Format) -> int:
    """2 when there is no such driver."""
    from csi_cinderlib.backend import catalogue

    known = catalogue.load()
    if not name:
        rows = map(_row, known.drivers)
        output.print_rows(
            rows, format, columns=("driver", "supported", "options", "missing_here"), nothing="no drivers"
        )
        return 0
    driver = known.find(name)
    if format.kind in (output.Kind.JSON, output.Kind.YAML):
        output.print_object(_whole(driver, known), format)
    else:
        _describe(driver, known)
    return 0


def _row(driver: Driver) -> output.Row:
    missing = ", ".join(library.module for library in _missing(driver))
    return {
        "driver": driver.path,
        "supported": "yes" if driver.supported else "no",
        "options": len(driver.options),
        "missing_here": missing,
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
        output.print_text(f"  MISSING HERE: {missing.module}")
    output.print_text("\na back end to begin with:\n")
    output.print_text(textwrap.indent(block(driver), "  "))
    for title, options in (("its options", driver.options), ("options of every driver", known.common)):
        output.print_text(f"\n{title}:\n")
        for option in options:
            _option(option)


def _option(option: Option) -> None:
    output.print_text(f"  {option.name}  ({traits(option)})")
    output.print_text(textwrap.fill(option.help, _WIDTH, initial_indent="      ", subsequent_indent="      "))


def traits(option: Option) -> str:
    """Type, bounds, default and what else is to be known, in one line."""
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


def block(driver: Driver, name: str = "array1") -> str:
    """A back end in our YAML."""
    import yaml

    options = driver.example()
    backend = {"driver": driver.path, **({"options": options} if options else {})}
    return yaml.safe_dump({"backends": {name: backend}}, sort_keys=False, default_flow_style=False, width=200)
