"""Keeps `retype` in place: the reviewed parameters of a driver, and refusals instead of copies."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from csi_cinderlib.backend import retypes as table
from csi_cinderlib.backend.retypes import NONE, Family, Retypes

_CONVERSIONS = ("tpvv", "tdvv", "cpg", "snap_cpg")
"""Thin provisioning, deduplication, and the pools of the volume and of its snapshots."""


_GUARDED: list[Callable[..., Any]] = []


class WouldCopy(Exception):
    """The driver would copy the volume, and has changed nothing yet."""


def retypes(kind: type) -> Retypes:
    """The parameters that drivers of the class change in place: as reviewed, or as the class of another author declares."""
    declared = getattr(kind, "RETYPES", None)
    if isinstance(declared, Retypes):
        return declared
    return next((family.retypes for family in _reviewed(kind)), NONE)


def never_copy(kind: type) -> None:
    """Replace the methods with which the driver's `retype` could copy or convert a volume. No other code calls them here."""
    from oslo_utils import importutils

    for family in _reviewed(kind):
        for path in family.never:
            cls, _, method = path.rpartition(".")
            setattr(importutils.import_class(cls), method, _refuse)
        for path in family.converts:
            cls, _, method = path.rpartition(".")
            owner = importutils.import_class(cls)
            setattr(owner, method, _unless_it_converts(getattr(owner, method)))


def _reviewed(kind: type) -> Iterator[Family]:
    """The family of the class, or of the base class whose `retype` it inherits."""
    method = getattr(kind, "retype", None)
    for cls in kind.__mro__:
        family = table.find(f"{cls.__module__}.{cls.__name__}")
        if family is not None and getattr(cls, "retype", None) is method:
            yield family
            return


def _unless_it_converts(method: Callable[..., Any]) -> Callable[..., Any]:
    """HPE's drivers compare the volume on the array, which may be an imported one, with the type and the configuration."""
    if method in _GUARDED:
        return method

    @functools.wraps(method)
    def guarded(*arguments: Any, **named: Any) -> Any:
        given = inspect.signature(method).bind(*arguments, **named).arguments
        for kind in _CONVERSIONS:
            old, new = given[f"old_{kind}"], given[f"new_{kind}"]
            if old is not None and old != new:
                raise WouldCopy(f"the driver would convert the volume from {kind} {old} to {new}")
        return method(*arguments, **named)

    _GUARDED.append(guarded)
    return guarded


def _refuse(*_arguments: Any, **_named: Any) -> Any:
    raise WouldCopy("the driver would copy the volume")
