"""Fast construction and `replace` of frozen dataclasses.

The constructor of a frozen dataclass sets each field by a separate call, which takes most of the time for reading or changing a record.
Here, an object of a mutable class with the same slots is filled, and then its class is changed to the frozen one. This is done only for
classes without a base class and without further initialization.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Set
from dataclasses import MISSING, Field, field, fields, make_dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from csi_cinderlib.model import transitions
from csi_cinderlib.model.records import Status

K = TypeVar("K")

if TYPE_CHECKING:
    from dataclasses import replace as replace  # noqa: PLC0414  # mypy checks calls against this signature
else:

    def replace(instance, /, **changes):
        """A copy with the given values. Raises PreconditionFailed: a record cannot get this status."""
        if "status" in changes:
            transitions.check(instance, changes["status"])
        return _copier(type(instance))(instance, changes)


def moved(record: K, status: Status, table: Mapping[Status, Set[Status]], **values: Any) -> K:
    """A copy with another status and the given values, by a table of `transitions`. Raises PreconditionFailed."""
    transitions.check(record, status, table)
    kind: Any = type(record)
    copied: K = _copier(kind)(record, {"status": status, **values})
    return copied


@functools.cache
def maker(kind: type) -> Callable[[Mapping[str, Any]], Any]:
    """Return a fast constructor of the dataclass."""
    if not _is_plain(kind):
        return lambda values: kind(**values)
    same = [(item.name, object, _default(item)) for item in fields(kind)]
    open_class = make_dataclass(kind.__name__, same, slots=True, kw_only=True, eq=False, repr=False)

    def make(values: Mapping[str, Any]) -> Any:
        instance = open_class(**values)
        instance.__class__ = kind
        return instance

    return make


def _default(item: Field[Any]) -> Any:
    return (
        field(default=item.default) if item.default_factory is MISSING else field(default_factory=item.default_factory)
    )


@functools.cache
def _copier(kind: type) -> Callable[[Any, Mapping[str, Any]], Any]:
    names = [item.name for item in fields(kind)]
    if not _is_plain(kind) or len(names) == 1:  # with one name, `attrgetter` returns no tuple
        return lambda instance, changes: dataclasses.replace(instance, **changes)
    open_class = make_dataclass(kind.__name__, names, slots=True, eq=False, repr=False)
    known, values_of = frozenset(names), attrgetter(*names)

    def copy(instance: Any, changes: Mapping[str, Any]) -> Any:
        changed = open_class(*values_of(instance))
        for name, value in changes.items():
            if name not in known:
                return dataclasses.replace(instance, **changes)  # raises the error
            setattr(changed, name, value)
        changed.__class__ = kind
        return changed

    return copy


def _is_plain(kind: type) -> bool:
    if "__slots__" not in vars(kind) or hasattr(kind, "__post_init__") or kind.__bases__ != (object,):
        return False
    own = fields(kind)
    # Excludes classes with an InitVar, a field with init=False, or a slot for weak references.
    return len(own) == len(kind.__dataclass_fields__) == len(kind.__slots__) and all(item.init for item in own)  # type: ignore[attr-defined]
