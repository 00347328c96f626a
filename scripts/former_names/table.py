"""The table of former names, from the history of Cinder and what is known besides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from csi_cinderlib.backend import catalogue
from scripts.former_names import known
from scripts.former_names.history import Release

_ROOM = "cinder.volume.drivers."
_UNLISTED = (
    "cinder.volume.drivers.dell_emc.powermax.nvme_tcp.PowerMaxNVMETCPDriver",
    "cinder.volume.drivers.stx.fc.STXFCDriver",
    "cinder.volume.drivers.stx.iscsi.STXISCSIDriver",
)
"""Drivers that Cinder documents and does not register."""


class Table:
    """Everything that had another name, or is gone, by kind."""

    def __init__(self, releases: Sequence[Release], current: catalogue.Catalogue) -> None:
        self._releases = releases
        self._scopes = _scopes(current)
        self._paths = sorted({driver.path for driver in current.drivers} | set(_UNLISTED))
        self._first_seen: dict[str, int] = {}
        self._last_seen: dict[str, int] = {}
        self._homes: dict[str, str] = {}
        self._renamed: dict[str, tuple[str, int]] = {}
        for number, release in enumerate(releases):
            for path, option in release.options:
                self._first_seen.setdefault(option.name, number)
                self._last_seen[option.name] = number
                self._homes[option.name] = path
                for old in option.old:
                    self._renamed.setdefault(old, (option.name, number))

    def to_json(self) -> str:
        """The file's text, one entry a line."""
        drivers = dict(self.drivers())
        drivers.update({path: drivers[former] for path, former in known.MISNAMED.items()})
        parts = {
            "scanned": {release.tag: release.commit for release in self._releases},
            "releases": list(known.RELEASES.values()),
            "options": dict(sorted(self.options())),
            "values": self.values(),
            "drivers": dict(sorted(drivers.items())),
            "current": self._paths,
        }
        return "{\n" + ",\n".join(f'"{name}": {_lines(part)}' for name, part in parts.items()) + "\n}\n"

    def options(self) -> Iterator[tuple[str, list[Any]]]:
        """Former names with the release, the new name and the vendors who have it; without a new one, with advice."""
        newest = len(self._releases) - 1
        for name, last in self._last_seen.items():
            new = self._followed(name)
            if new != name and new in self._scopes:
                scope = known.SAME[name][1] if name in known.SAME else self._scopes[new]
                yield name, [self._since(name, last), new, scope]
            elif last < newest and name not in self._scopes:
                yield name, [last + 1, "", self._instead(name)]

    def _since(self, name: str, last: int) -> int:
        """The release that renamed the option; one that existed before took its place when it was gone."""
        if name in self._renamed:
            return self._renamed[name][1]
        new = self._first_seen[known.SAME[name][0]]
        return new if new > self._first_seen[name] else last + 1

    def _followed(self, name: str) -> str:
        """The option's name today, through all renamings."""
        seen = set()
        while name not in seen:
            seen.add(name)
            name = self._renamed.get(name, known.SAME.get(name, (name,)))[0]
        return name

    def _instead(self, name: str) -> str:
        final = self._followed(name)
        starts = (key for key in known.INSTEAD if key.endswith("_") and name.startswith(key))
        for key in (name, final, *starts):
            if key in known.INSTEAD:
                return known.INSTEAD[key]
        home = self._homes[name].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return f"it belonged to {home}" if home.startswith(_ROOM) else "remove it"

    def values(self) -> dict[str, dict[str, list[Any]]]:
        """Choices that options no longer have, with the release that dropped each."""
        seen: dict[str, dict[str, int]] = {}
        for number, release in enumerate(self._releases):
            for _, option in release.options:
                seen.setdefault(option.name, {}).update(dict.fromkeys(option.choices, number))
        newest = len(self._releases) - 1
        dropped = {
            name: {
                choice: [last + 1, "", known.VALUES_INSTEAD.get(choice, "")]
                for choice, last in sorted(choices.items())
                if last < newest
            }
            for name, choices in sorted(seen.items())
            if newest in choices.values()
        }
        return {name: choices for name, choices in dropped.items() if choices}

    def drivers(self) -> Iterator[tuple[str, list[Any]]]:
        """Former class paths with the release and the new path; without one, with advice."""
        there = set(self._releases[-1].drivers)
        last = {path: number for number, release in enumerate(self._releases) for path in release.drivers}
        gone = {path: number + 1 for path, number in last.items() if path not in there}
        mapped = {path: number for number, release in [*enumerate(self._releases)][::-1] for path in release.mapping}
        mapping = {old: new for release in self._releases for old, new in release.mapping.items()}
        mapping.update(known.MOVED)
        for path, since in sorted({**mapped, **gone}.items()):
            is_class = path.startswith("cinder.volume.") and path.rpartition(".")[2][:1].isupper()
            if is_class and path not in self._paths:
                new = _moved(path, mapping)
                yield path, [since, new, ""] if new in self._paths else [since, "", _successor(path, new)]


def _scopes(current: catalogue.Catalogue) -> Mapping[str, str]:
    """Every option of today, with the vendors' packages whose drivers have it; "" is all."""
    vendors: dict[str, set[str]] = {}
    for driver in current.drivers:
        for option in driver.options:
            vendors.setdefault(option.name, set()).add(driver.module.partition(".")[0])
    common = {option.name: "" for option in current.common}
    return {name: " ".join(sorted(places)) for name, places in vendors.items()} | common


def _moved(path: str, mapping: Mapping[str, str]) -> str:
    """Where the driver is today; Cinder's table names classes and whole modules."""
    seen = set()
    while path not in seen:
        seen.add(path)
        modules = sorted((old for old in mapping if path.startswith(f"{old}.")), key=len)
        if path in mapping:
            path = mapping[path]
        elif modules:
            path = mapping[modules[-1]] + path.removeprefix(modules[-1])
    return path


def _successor(path: str, moved: str) -> str:
    for candidate in (path, moved):
        for start, advice in known.SUCCESSORS.items():
            if candidate.startswith((f"{_ROOM}{start}", f"cinder.volume.{start}")):
                return advice
    return ""


def _lines(part: object) -> str:
    if isinstance(part, dict):
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in part.items()) + "\n}"
    assert isinstance(part, list)
    return "[\n" + ",\n".join(json.dumps(item) for item in part) + "\n]"
