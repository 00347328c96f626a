"""Cinder's `conditional_update` (compare and swap) on records.

No driver of Cinder 29 calls it. Conditions and values that records do not support are refused, since True means that everything
was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from csi_cinderlib.backend import columns
from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.cinder import rows
from csi_cinderlib.cinder.rows import Row
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.model.records import Snapshot, Volume

R = TypeVar("R", Volume, Snapshot)
Columns = Mapping[str, Any]
Swap = Callable[[Work, Columns, Columns, Iterable[object]], bool]


class NotServable(Exception):
    """The part of the update that is not supported: a filter, an expression, or a column that is not stored as given."""


class _Differs(Exception):
    """The record differs from the expected values."""


def swap_volume(work: Work, expected: Columns, values: Columns, filters: Iterable[object]) -> bool:
    """Whether the volume matched and was changed. Raises NotServable without a change."""
    id = expected["id"]
    work.forget_volume(id)  # the comparison must use the current record
    change = _change(lambda volume: rows.volume_row(volume, work.attachments(id)), update_volume, expected, values)
    return _swap(lambda: work.change_volume(id, change), expected, values, filters)


def swap_snapshot(work: Work, expected: Columns, values: Columns, filters: Iterable[object]) -> bool:
    """As `swap_volume`."""
    id = expected["id"]
    volume = work.volume(work.snapshot(id).volume_id)
    work.snapshots.pop(id)
    change = _change(lambda snapshot: rows.snapshot_row(snapshot, volume), update_snapshot, expected, values)
    return _swap(lambda: work.change_snapshot(id, change), expected, values, filters)


def _swap(store: Callable[[], object], expected: Columns, values: Columns, filters: Iterable[object]) -> bool:
    _check(expected, values, filters)
    try:
        store()
    except _Differs:
        return False
    return True


def _check(expected: Columns, values: Columns, filters: Iterable[object]) -> None:
    """Raises NotServable unless all values and conditions are plain."""
    if any(True for _ in filters):
        raise NotServable("filters")
    for column, condition in expected.items():
        _, wanted = _parse(condition)
        if not all(map(_is_plain, wanted if _is_several(wanted) else (wanted,))):
            raise NotServable(f"{column} compared with {type(wanted).__name__}")
    for column, value in values.items():
        if not _is_plain(value):
            raise NotServable(f"{column} as {type(value).__name__}")


def _change(
    row: Callable[[R], Row], update: Callable[[R, Columns], R], expected: Columns, values: Columns
) -> Callable[[R], R]:
    """A change for `work.change`, which repeats it on the newest record after a conflicting change.

    Args:
        row: the record as Cinder sees it.
    """

    def change(record: R) -> R:
        before = row(record)
        if not all(_is_met(before.get(column), condition) for column, condition in expected.items()):
            raise _Differs
        changed = update(record, values)
        after = row(changed)
        for column, value in values.items():
            if columns.plain(after.get(column)) not in (columns.plain(value), columns.text(value)):
                raise NotServable(column)
        return changed

    return change


def _is_met(have: object, condition: Any) -> bool:
    """As in Cinder's filters: NULL differs from every value, unless `auto_none` is off."""
    is_negated, wanted = _parse(condition)
    is_equal = have in wanted if _is_several(wanted) else have == wanted
    if not is_negated:
        return is_equal
    return not is_equal and (have is not None or condition.auto_none)


def _parse(condition: Any) -> tuple[bool, Any]:
    """Whether the condition is negated, and its value."""
    from cinder.db import utils

    if isinstance(condition, utils.Condition):
        return isinstance(condition, utils.Not), condition.value
    return False, condition


def _is_several(wanted: object) -> bool:
    return isinstance(wanted, list | tuple | set | frozenset)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | datetime)
