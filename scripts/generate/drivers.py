"""The pages about Cinder's drivers, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from csi_cinderlib.backend import retypes
from csi_cinderlib.backend.catalogue import Catalogue, Driver, Option
from csi_cinderlib.backend.retypes import Family
from csi_cinderlib.commands import drivers as command
from scripts.generate import vendor_pages
from scripts.generate.markdown import escape, prose, table

COMMON = "every-driver.md"
HOW_TO = "../../how-to/modify-a-volume.md"


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
    parts.append(f"## Modification\n\n{_modification(driver)}")
    parts.append(f"## Options\n\nSee also [the options of every driver]({COMMON}).\n\n{_options(driver.options)}")
    return "\n".join(parts)


def _modification(driver: Driver) -> str:
    """What the driver changes of existing volumes."""
    family = retypes.find(driver.path)
    if family is None:
        return "This driver cannot modify existing volumes: it does not implement Cinder's `retype`.\n"
    if not family.retypes.anything:
        return f"This driver does not modify existing volumes. Its `retype`: {family.effect}\n"
    lines = [f"This driver modifies existing volumes in place, see [Modify a volume]({HOW_TO}). {family.effect}\n"]
    if family.retypes.online:
        lines.append(f"Attached or not: {_keys(family.retypes.online)}.\n")
    if family.retypes.detached:
        lines.append(f"Only while the volume is not attached: {_keys(family.retypes.detached)}.\n")
    return "\n".join([*lines, *_limits(family)])


def _limits(family: Family) -> list[str]:
    limits = []
    if not family.retypes.removable:
        limits.append("Values can be replaced by others, and neither added nor removed.\n")
    if family.retypes.blocked_by:
        limits.append(f"Volumes with one of these are not modified: {_keys(family.retypes.blocked_by)}.\n")
    if family.converts:
        limits.append(
            "A volume that the driver would convert, because the array has it in another form than its type, is not modified.\n"
        )
    if family.retypes.values:
        limits.append(
            f"Values: {', '.join(f'`{key}` {_allowed(values)}' for key, values in family.retypes.values.items())}.\n"
        )
    limits += [f"`{low}` must be below `{high}`.\n" for low, high in family.retypes.below]
    return limits


def _allowed(values: retypes.Values) -> str:
    if isinstance(values[0], str):
        return " or ".join(f"`{word}`" for word in values)
    return f"{values[0]} to {values[1]}"


def _keys(keys: Iterable[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)


def modification(known: Catalogue) -> str:
    """The page of mutable parameters by family of drivers, from the reviewed table."""
    links = {driver.path: f"[{driver.name}](drivers/{driver.slug}.md)" for driver in known.drivers}
    able = [family for family in retypes.families() if family.retypes.anything]
    count = sum(path in links for family in able for path in family.drivers)

    def drivers(family: Family) -> str:
        return ", ".join(links[path] for path in family.drivers if path in links)

    rows = [
        (
            family.name,
            drivers(family),
            _keys(family.retypes.online),
            _keys(family.retypes.detached),
            " ".join([family.effect, *map(str.strip, _limits(family))]),
        )
        for family in able
    ]
    refused = [(family.name, drivers(family), family.effect) for family in retypes.families() if family not in able]
    others = ", ".join(links[driver.path] for driver in known.drivers if not driver.retype)
    return (
        prose("mutable-parameters").replace("COUNT", str(count))
        + "\n"
        + table(("family", "drivers", "attached or not", "only detached", "what the driver does"), rows)
        + "\n## Drivers whose `retype` is not used\n\n"
        + table(("family", "drivers", "what their `retype` does"), refused)
        + f"\n## Drivers without `retype`\n\n{others}.\n"
    )


def _options(options: Iterable[Option]) -> str:
    rows = ((f"`{option.name}`", escape(command.traits(option)), escape(option.help)) for option in options)
    return table(("option", "type and default", "meaning"), rows)
