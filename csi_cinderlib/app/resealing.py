"""Reseals stored records with the current writing key, so that old keys can be removed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from csi_cinderlib.errors import AlreadyExists, DriverError, NotFound, StaleRecord
from csi_cinderlib.model.records import KeyValue, Record
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import KINDS, Store
from csi_cinderlib.persistence.codec import FORMS, kind_name
from csi_cinderlib.persistence.iteration import walk_with_unreadable
from csi_cinderlib.sealing import Sealer

LOOK_SECONDS = 5.0
"""Interval between two checks of the writing key, which are cheap."""
MARK = "sealed-with"
"""Id of the record that names the key of all other records. It only saves a scan after a restart."""

_log = logs.logger(__name__)


def _no_owners(_writer: str) -> tuple[str, ...]:
    return ()


class Resealing:
    """Reseals records. Can run in parallel with calls: a record that changes in the meantime is sealed by that change.

    A Secret reaches the machines at different times, and a controller with the old Secret seals with the old key. So each controller
    waits until all seal with the new key.

    Args:
        sealer: the sealer of the store.
        lagging: returns the other controllers that may still seal with another key (`Owners.lagging`).
    """

    def __init__(self, store: Store, sealer: Sealer, *, lagging: Callable[[str], tuple[str, ...]] = _no_owners) -> None:
        self._store = store
        self._sealer = sealer
        self._lagging = lagging
        self._writer = sealer.writer
        self._is_due: bool | None = None
        self._awaited: tuple[str, ...] = ()

    def look(self) -> None:
        """Rewrite all records with secrets if the writing key has changed since the last check. Raises StoreUnavailable."""
        was, self._writer = self._writer, self._sealer.writer
        if self._writer != was:
            self._is_due = True  # regardless of the mark: this process has written with the other key
        elif self._is_due is None:
            self._is_due = bool(self._writer) and self._mark() != self._writer
        if self._is_due and not self._waits():
            self._seal_all()
            self._is_due = False

    def _waits(self) -> bool:
        was, self._awaited = self._awaited, self._lagging(self._writer)
        if self._awaited and self._awaited != was:
            reason = "other controllers still seal with a different key"
            _log.info("resealing postponed", reason=reason, key=self._writer, controllers=list(self._awaited))
        return bool(self._awaited)

    def _seal_all(self) -> None:
        writer = self._writer
        written, unreadable = self._rewrite()
        if unreadable:
            _log.error("resealing incomplete", reason="some records cannot be read", ids=unreadable)
        else:
            self._set_mark(writer)
            _log.info("records resealed", key=writer, written=written)

    def _rewrite(self) -> tuple[int, list[str]]:
        written, unreadable = 0, []
        kind: Any  # mypy cannot take a union of types for the type variable
        for kind in KINDS:
            for record in walk_with_unreadable(self._store, kind) if FORMS[kind].secrets else ():
                if isinstance(record, str):
                    unreadable.append(f"{kind_name(kind)} {record}")
                elif holds_secret(record):
                    written += self._write(record)
        return written, unreadable

    def _write(self, record: Any) -> bool:
        try:
            self._store.replace(record)
        except (StaleRecord, NotFound):
            return False
        return True

    def _mark(self) -> str:
        try:
            return self._store.get(KeyValue, MARK).value
        except NotFound:
            return ""
        except DriverError:  # for instance, sealed with a removed key
            return "?"

    def _set_mark(self, writer: str) -> None:
        with suppress(StaleRecord, NotFound):
            try:
                self._store.add(KeyValue(id=MARK, value=writer))
            except AlreadyExists:
                self._store.replace(KeyValue(id=MARK, value=writer, revision=self._store.get(KeyValue, MARK).revision))


def holds_secret(record: Record) -> bool:
    """Whether one of its secret fields has a value."""
    return any(functools.reduce(getattr, path.split("."), record) for path in FORMS[type(record)].secrets)
