"""Data of a conversion."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_cinderlib.model.records import NOTHING

Table = Mapping[str, object]
"""Options by name. A tuple has the assignments of a cinder.conf in oslo.config's notation. Other values are those of YAML or JSON, with
scalars as text."""


class Verdict(enum.StrEnum):
    """The outcome for an item."""

    TRANSLATED = "translated"
    DROPPED = "dropped"
    FAILED = "failed"
    """Must be converted by hand."""


@dataclass(frozen=True, slots=True)
class Note:
    """The outcome for an item of the source, with the reason. Never has a value, which may be a password."""

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
    """A back end of the source.

    Attributes:
        own: options of the back end, without the driver.
        shared: inherited options; they apply if the driver has them.
        sections: other sections by their names in lower case, for references.
    """

    name: str
    driver: str
    own: Table = field(default=NOTHING, repr=False)
    shared: Table = field(default=NOTHING, repr=False)
    sections: Mapping[str, Table] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The configuration of another product.

    Attributes:
        product: name of the product.
        defaults: options of all back ends: Cinder's [DEFAULT], or cinderlib's arguments of `setup`.
        place: prefix of `defaults` in notes, such as "[DEFAULT] ".
        implied: defaults for references `$name` to options that are not set; None depends on the host.
        settings: resulting settings of this driver.
        notes: notes on items other than the back ends.
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
    """A back end for this driver. Options are text, lists of text, mappings of text, or lists of such mappings."""

    name: str
    driver: str
    options: Mapping[str, object] = field(default=NOTHING, repr=False)
    secret: frozenset[str] = frozenset()
    """Names of options with secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        cinder_defaults: options of Cinder's [DEFAULT] that drivers read.
    """

    product: str
    backends: tuple[ConvertedBackend, ...]
    cinder_defaults: Mapping[str, object] = field(default=NOTHING, repr=False)
    settings: Table = field(default=NOTHING, repr=False)
    notes: tuple[Note, ...] = ()
