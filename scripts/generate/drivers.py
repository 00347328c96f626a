"""The pages about Cinder's drivers, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from csi_cinderlib.commands import drivers as command
from scripts.generate import vendor_pages
from scripts.generate.markdown import escape, table

COMMON = "every-driver.md"


def pages(known: Catalogue) -> Mapping[str, str]:
    """The pages by file name."""
    families = vendor_pages.links(known)
    return {
        "README.md": _index(known),
        COMMON: f"# Options of every driver\n\nA driver may ignore some of them.\n\n{_options(known.common)}",
        **{f"{driver.slug}.md": _page(driver, families[driver.path]) for driver in known.drivers},
    }


def _index(known: Catalogue) -> str:
    parts = [
        f"# Drivers\n\nThe {len(known.drivers) - 2} volume drivers of Cinder {known.cinder}, NetApp's common driver, and the file "
        "driver of this package. `csi-cinderlib drivers NAME` shows the same information. "
        f"All drivers also have [these options]({COMMON}). [Arrays by vendor](../vendors/README.md) describes how to prepare an array and its nodes.\n\n"
        "Drivers that Cinder no longer supports need `enable_unsupported_driver: true`.\n"
    ]
    for vendor, members in groupby(known.drivers, key=_vendor):
        rows = table(("driver", "version", "supported", "Python libraries"), map(_row, members))
        parts.append(f"## {vendor}\n\n{rows}")
    return "\n".join(parts)


def _row(driver: Driver) -> tuple[str, ...]:
    libraries = ", ".join(f"`{library.module}`" for library in driver.libraries)
    return f"[{driver.name}]({driver.slug}.md)", driver.version, "" if driver.supported else "no", libraries


def _vendor(driver: Driver) -> str:
    return "csi-cinderlib" if driver.path.startswith("csi_cinderlib.") else driver.module.partition(".")[0]


def _page(driver: Driver, family: str) -> str:
    parts = [f"# {driver.name}\n\n`{driver.path}`\n"]
    if driver.summary:
        parts.append(f"{escape(driver.summary)}.\n")
    facts = [f"Version {driver.version}." if driver.version else ""]
    facts.append("" if driver.supported else "**Cinder no longer supports this driver.**")
    parts.append(" ".join(fact for fact in facts if fact) + "\n")
    if driver.libraries:
        advice = (library.advice.replace(", which is not installed", "") for library in driver.libraries)
        parts.append("".join(f"- {line[0].upper()}{line[1:]}\n" for line in advice))
    parts.append(f"To prepare the array and its nodes, see {family}.\n")
    parts.append(f"## Example\n\n```yaml\n{command.block(driver)}```\n")
    parts.append(f"## Options\n\nSee also [the options of every driver]({COMMON}).\n\n{_options(driver.options)}")
    return "\n".join(parts)


def _options(options: Iterable[Option]) -> str:
    rows = ((f"`{option.name}`", escape(command.traits(option)), escape(option.help)) for option in options)
    return table(("option", "type and default", "meaning"), rows)
