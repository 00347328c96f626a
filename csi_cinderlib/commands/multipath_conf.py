"""What in a host's multipath.conf makes volumes go wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LINE = re.compile(r'^\s*(?P<key>[\w-]+)\s+"?(?P<value>[^"\s{}]+)"?\s*$')
_OPEN = re.compile(r"^\s*(?P<section>[\w-]+)\s*\{\s*(?P<rest>.*)$")


def advice(text: str) -> tuple[str, ...]:
    """One clause for each setting of [defaults] that hurts; none when all is well."""
    values, crowded = _defaults(text)
    found = [f"line {number}: only one keyword a line is understood" for number in crowded]
    if values.get("find_multipaths", "strict") in ("no", "off", "greedy"):
        found.append(
            f"find_multipaths {values['find_multipaths']} lets multipathd take disks that have one path only; use yes or strict"
        )
    if values.get("recheck_wwid", "no") == "no":
        found.append("recheck_wwid yes is missing: a reused LUN could be taken for the old volume")
    if values.get("skip_kpartx", "no") == "no":
        found.append(
            "skip_kpartx yes is missing: partitions inside a raw block volume would be mapped and hold it open"
        )
    return tuple(found)


def _defaults(text: str) -> tuple[Mapping[str, str], tuple[int, ...]]:
    """The settings of the section `defaults`, and the lines on which more stands than the program reads."""
    section, depth = "", 0
    values: dict[str, str] = {}
    crowded: list[int] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"[#!].*", "", raw)
        if opened := _OPEN.match(line):
            depth += 1
            section = opened["section"] if depth == 1 else section
            crowded += [number] if opened["rest"].strip() else []
        elif line.strip() == "}":
            depth -= 1
        elif depth == 1 and section == "defaults" and (setting := _LINE.match(line)):
            values[setting["key"]] = setting["value"]
    return values, tuple(crowded)
