"""A configuration on its way from one product to another."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_cinderlib.model.records import NOTHING

Table = Mapping[str, object]
"""Options by name. A tuple holds the assignments of a cinder.conf, in oslo.config's notation; anything else is a value as YAML or JSON has it,
its scalars as text."""


class Verdict(enum.StrEnum):
    """What became of an item."""

    TRANSLATED = "translated"
    DROPPED = "dropped"
    FAILED = "failed"
    """It has to be done by hand."""


@dataclass(frozen=True, slots=True)
class Note:
    """What became of an item of the source, and why. Never holds a value: it may be a password."""

    verdict: Verdict
    item: str
    reason: str
    backend: str = ""


def translated(item: str, reason: str, backend: str = "") -> Note:
    return Note(Verdict.TRANSLATED, item, reason, backend)


def dropped(item: str, reason: str, backend: str = "") -> Note:
    return Note(Verdict.DROPPED, item, reason, backend)


def failed(item: str, reason: str, backend: str = "") -> Note:
    return Note(Verdict.FAILED, item, reason, backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBackend:
    """A back end as its source has it.

    Attributes:
        own: its own options, without the driver.
        shared: options that it inherits where its driver has them.
        sections: other sections by their names in lower case, for references to them.
    """

    name: str
    driver: str
    own: Table = field(default=NOTHING, repr=False)
    shared: Table = field(default=NOTHING, repr=False)
    sections: Mapping[str, Table] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was read.

    Attributes:
        product: whose configuration it is.
        defaults: options of all back ends: Cinder's [DEFAULT], or cinderlib's arguments of `setup`.
        place: of these, as notes name it: "[DEFAULT] ".
        implied: what options refer to by `$name` that is not set; None depends on the host.
        settings: this driver's settings that follow from it.
        notes: on what concerns no back end.
    """

    product: str
    backends: tuple[GivenBackend, ...]
    defaults: Table = field(default=NOTHING, repr=False)
    place: str = ""
    implied: Mapping[str, str | None] = field(default_factory=dict)
    settings: Table = field(default=NOTHING, repr=False)
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedBackend:
    """A back end as this driver takes it. Options are text, lists of text, mappings of text, or lists of such mappings."""

    name: str
    driver: str
    options: Mapping[str, object] = field(default=NOTHING, repr=False)
    secret: frozenset[str] = frozenset()
    """Names of options that hold a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The result.

    Attributes:
        cinder_defaults: options of Cinder's [DEFAULT] that drivers read.
    """

    product: str
    backends: tuple[ConvertedBackend, ...]
    cinder_defaults: Mapping[str, object] = field(default=NOTHING, repr=False)
    settings: Table = field(default=NOTHING, repr=False)
    notes: tuple[Note, ...] = ()
