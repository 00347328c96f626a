"""What the drivers' `retype` does, by a reviewed table (`retypes.toml`). A driver that is not in the table modifies nothing.

Cinder's `retype` may copy a volume, delete the original, take it offline, or do nothing and report success. No driver declares it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("retypes.toml")
_PACKAGE, _OURS = "cinder.volume.drivers.", "csi_cinderlib."
_REPLICATED = ("extraSpecs/replication_enabled", "extraSpecs/capabilities:replication_enabled")
"""Many drivers set up replication again in each `retype`, so replicated volumes are not modified."""


Values = tuple[int, int] | tuple[str, ...]
_FALSE = re.compile(r"\s*(<is>)?\s*false\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retypes:
    """The parameters that a driver changes in place, in the notation of classes; `*` stands for any text.

    A driver that is not Cinder's declares it as its attribute `RETYPES`.

    Attributes:
        online: changed while the volume is attached, too.
        detached: changed only while it is not attached.
        removable: they can be added and removed, not only replaced.
        blocked_by: with any of these in the old or new type, nothing is changed.
        untouched: if the driver returns False, it has changed nothing.
        effect: what the driver does, or why it changes nothing, in sentences for the caller of a refused change.
        below: pairs of parameters with numbers, of which the first must be below the second.
        values: the values of a parameter: the least and the greatest whole number, or words. By default, any text but "".
    """

    online: tuple[str, ...] = ()
    detached: tuple[str, ...] = ()
    removable: bool = True
    blocked_by: tuple[str, ...] = ()
    untouched: bool = False
    effect: str = field(default="", compare=False)
    below: tuple[tuple[str, str], ...] = ()
    values: Mapping[str, Values] = field(default_factory=dict)

    @property
    def anything(self) -> bool:
        return bool(self.online or self.detached)

    @property
    def keys(self) -> tuple[str, ...]:
        """All parameters, as in the table."""
        return (*self.online, *self.detached)

    def allows(self, key: str) -> bool:
        return _matches(key, self.keys)

    def needs_detached(self, keys: Iterable[str]) -> bool:
        """Whether the volume must not be attached while these parameters change."""
        return not all(_matches(key, self.online) for key in keys)

    def bad_value(self, key: str, value: str) -> str:
        """What the value of a parameter must be, or "" if it is that."""
        allowed = self.values.get(key, ())
        if not allowed:
            return "" if value else "text"
        if isinstance(allowed[0], str):
            return "" if value in allowed else f"one of {', '.join(map(str, allowed))}"
        least, most = allowed
        number = int(value) if _NUMBER.fullmatch(value) else -1
        return "" if int(least) <= number <= int(most) else f"a whole number from {least} to {most}"

    def blocker(self, properties: Mapping[str, str]) -> str:
        """The first of these properties that forbids any change, or ""."""
        return next((key for key, value in sorted(properties.items()) if self._blocks(key, value)), "")

    def _blocks(self, key: str, value: str) -> bool:
        return key in self.blocked_by or (key in _REPLICATED and not _FALSE.fullmatch(value))

    def misordered(self, properties: Mapping[str, str]) -> str:
        """Two parameters of which the first must be below the second and is not, or ""."""
        for low, high in self.below:
            if low in properties and high in properties and int(properties[low]) >= int(properties[high]):
                return f"{low} must be below {high}"
        return ""


NONE = Retypes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Drivers with the same `retype`.

    Attributes:
        drivers: class paths.
        never: paths of methods that could copy the volume, and are replaced by a refusal.
        converts: paths of methods that are refused if they would convert the volume.
    """

    name: str
    drivers: tuple[str, ...]
    retypes: Retypes = NONE
    never: tuple[str, ...] = ()
    converts: tuple[str, ...] = ()

    @property
    def effect(self) -> str:
        """What the drivers do, in a sentence or two."""
        return self.retypes.effect


@cache
def families() -> tuple[Family, ...]:
    """The table."""
    return tuple(_family(raw) for raw in tomllib.loads(FILE.read_text())["family"])


@cache
def _by_driver() -> Mapping[str, Family]:
    return {driver: family for family in families() for driver in family.drivers}


def find(path: str) -> Family | None:
    """The family of a driver, by its class path."""
    return _by_driver().get(path)


def _family(raw: Mapping[str, Any]) -> Family:
    return Family(
        name=raw["name"],
        drivers=_full(raw["drivers"]),
        never=_full(raw.get("never", ())),
        converts=_full(raw.get("converts", ())),
        retypes=Retypes(
            online=tuple(raw.get("online", ())),
            detached=tuple(raw.get("detached", ())),
            removable=raw.get("removable", True),
            blocked_by=tuple(raw.get("blocked_by", ())),
            untouched=raw.get("untouched", False),
            effect=raw["effect"],
            below=tuple((low, high) for low, high in raw.get("below", ())),
            values={key: tuple(allowed) for key, allowed in raw.get("values", {}).items()},
        ),
    )


def _full(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name if name.startswith(_OURS) else f"{_PACKAGE}{name}" for name in names)


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
