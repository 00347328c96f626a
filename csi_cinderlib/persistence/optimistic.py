"""Changes of records that other callers may change at the same time."""

from __future__ import annotations

from collections.abc import Callable

from csi_cinderlib.errors import StaleRecord
from csi_cinderlib.persistence.api import R, Store

_ATTEMPTS = 10


def change(store: Store, record: R, change: Callable[[R], R]) -> R:
    """Store `change(record)`. If the record was changed concurrently, `change` is applied again to the new version."""
    for _ in range(_ATTEMPTS):
        changed = change(record)
        if changed == record:
            return record
        try:
            return store.replace(changed)
        except StaleRecord:
            record = store.get(type(record), record.id)
    raise StaleRecord(type(record).__name__.lower(), record.id)
