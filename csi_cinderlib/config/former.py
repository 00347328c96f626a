"""Former names of Cinder's options and drivers, from a table of Cinder's history (`python -m scripts.former_names`).

The table is loaded on the first look-up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.model.verbatim import is_inherited

FILE = Path(__file__).with_name("former.json")
_CINDER, _NOVA = "cinder.volume.", "nova.volume."
_UPDATE = "update the configuration"
_ROOM = ("cinder", "volume", "drivers", "driver")
_ALIASES = {"ceph": "cinder.volume.drivers.rbd.RBDDriver"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """A name that Cinder no longer uses.

    Attributes:
        name: the current name; "" if it was removed.
        since: the release that renamed or removed it, "12.0 (Queens)" for example.
        last_release: the last release before that; "" if unknown.
        note: the replacement of a removed name; may be empty.
    """

    name: str
    since: str
    last_release: str
    note: str = ""

    def __str__(self) -> str:
        """A clause for messages: "renamed to target_helper in Cinder 12.0 (Queens)"."""
        if self.name:
            return f"renamed to {self.name} in Cinder {self.since}"
        return f"removed in Cinder {self.since}" + (f"; {self.note}" if self.note else "")


def option(name: str, driver: str | None = None) -> Former | None:
    """The history of an option of a driver's section; None if it is not a former name.

    Args:
        driver: the driver's current class path: only former names of its vendor apply, and only to Cinder's drivers.
    """
    entry = _table()["options"].get(name.replace("-", "_"))
    if entry is None or (driver is not None and not driver.startswith(_CINDER)):
        return None
    since, new, detail = entry
    if not new:
        return _former(since, "", detail)
    vendor = (driver or "").removeprefix(f"{_CINDER}drivers.").partition(".")[0]
    return _former(since, new) if driver is None or not detail or vendor in detail.split() else None


def option_names() -> Iterable[str]:
    """All former names of options."""
    return _table()["options"].keys()  # type: ignore[no-any-return]  # JSON


def driver(path: str) -> Former | None:
    """The history of a driver, by its class path; None if it has not moved or is unknown."""
    today = path.replace(_NOVA, _CINDER, 1) if path.startswith(_NOVA) else path
    entry = _table()["drivers"].get(today)
    return _former(*entry) if entry else None


def driver_named(name: str) -> tuple[str, Former] | None:
    """A moved or removed driver by its class path or its class alone, in any case: its former path and what became of it."""
    if became := driver(name):
        return name, became
    found = [path for path in _table()["drivers"] if name.lower() in (path.lower(), path.rpartition(".")[2].lower())]
    fates = {entry for path in found if (entry := driver(path))}
    return (found[0], fates.pop()) if len(fates) == 1 else None


def likely_drivers(name: str, *, limit: int = 3) -> list[str]:
    """Current class paths for a short name such as `lvm`, `Pure iSCSI` or `HPE3PARFCDriver`, best match first."""
    import difflib  # needed for mistakes only

    table = _table()
    moved = {path: entry[1] for path, entry in table["drivers"].items() if entry[1]}
    targets = {path: path for path in table["current"]} | moved | _ALIASES
    classes = {path.rpartition(".")[2].lower(): path for path in reversed(targets)}
    leaf = name.rpartition(".")[2].lower()
    if leaf in classes:
        return [targets[classes[leaf]]]
    words = [word for word in re.findall(r"[a-z0-9]+", name.lower()) if word not in _ROOM and len(word) > 1]
    matching = [path for path in targets if words and all(word in path.lower() for word in words)]
    near = [classes[found] for found in difflib.get_close_matches(leaf, classes, n=limit, cutoff=0.85)]
    ranked = sorted(matching, key=lambda path: (words[0] not in path.lower().split("."), len(path)))
    return list(dict.fromkeys(targets[path] for path in ranked or near))[:limit]


def why_no_driver(name: str) -> str:
    """A clause for a driver that does not exist: its history, or similar names."""
    if became := driver(name):
        return f"{name} was {became}"
    return f"there is no driver {name!r}{or_likely(name)}"


def or_likely(name: str) -> str:
    """The end of a message about a wrong driver name: "; did you mean ...?", or ""."""
    likely = likely_drivers(name)
    return f"; did you mean {' or '.join(likely)}?" if likely else ""


def why_unknown(name: str, given: Iterable[str]) -> str:
    """A clause for an unknown option that has a history; otherwise "".

    Args:
        given: the names of all options of the back end.
    """
    became = option(name)
    if became is None or not became.name:
        return f"was {became}" if became else ""
    both = became.name in {other.replace("-", "_") for other in given}
    return f"was {became}, which " + ("is also set; remove one" if both else "the driver does not support")


def why_no_value(name: str, given: object) -> str:
    """A clause for a value that an option no longer allows; otherwise ""."""
    entry = _table()["values"].get(name, {}).get(given.strip().lower()) if isinstance(given, str) else None
    return f"{str(given)!r} was {_former(*entry)}" if entry else ""


def translate(settings: BackendSettings) -> tuple[BackendSettings, list[str]]:
    """Replace the former names of a back end's driver and options by their current names.

    Removed options, and options whose current name is also set, are left for the check of options.

    Returns:
        the settings, and a message for each translated name with its key path.
    """
    place = f"backends.{settings.name}"
    moved = driver(settings.driver)
    notes, path = [], settings.driver
    if moved and moved.name:
        notes, path = [f"{place}.driver: {settings.driver} was {moved}; {_UPDATE}"], moved.name
    options: dict[str, object] = {}
    origins = dict(settings.origins)
    for today, names in _synonyms(settings.options, path).items():
        chosen = _chosen(today, names, settings.options)
        if len(chosen) == 1 and (became := option(chosen[0], path)) and became.name:
            notes.append(f"{place}.options.{chosen[0]}: {became}; {_UPDATE}")
            options[became.name] = settings.options[chosen[0]]
            if chosen[0] in origins:
                origins[became.name] = origins[chosen[0]]
        else:
            options.update({name: settings.options[name] for name in chosen})
    return replace(settings, driver=path, options=options, origins=origins), notes


def _synonyms(options: Iterable[str], driver: str) -> Mapping[str, list[str]]:
    """The given names by their current option, the current name first."""
    groups: dict[str, list[str]] = {}
    for name in options:
        became = option(name, driver)
        if became and became.name:
            groups.setdefault(became.name, []).append(name)
        else:
            groups.setdefault(name.replace("-", "_"), []).insert(0, name)
    return groups


def _chosen(today: str, names: list[str], options: Mapping[str, object]) -> list[str]:
    """The names that apply: of those with a value, the back end's own take precedence over [backend_defaults]."""
    if all(name.replace("-", "_") == today for name in names):
        return names
    given = [name for name in names if options[name] is not None]
    return [name for name in given if not is_inherited(options[name])] or given[:1]


def _former(since: int, name: str, note: str = "") -> Former:
    releases = _table()["releases"]
    return Former(name=name, since=releases[since], last_release=releases[since - 1] if since else "", note=note)


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(FILE.read_text())
    return table
