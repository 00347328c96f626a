"""Seals what lies in the store with the key that writes now, so that the keys of before can be taken away."""

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
"""Between two looks at which key writes, which cost nothing."""
MARK = "sealed-with"
"""The id of the record that tells with which key all others are sealed. It spares a restart the walk, and nothing else."""

_log = logs.logger(__name__)


def _nobody(_writer: str) -> tuple[str, ...]:
    return ()


class Resealing:
    """Safe beside calls that are being served: a record that changes meanwhile is sealed by that.

    A Secret reaches the machines one after the other, and a controller that still has the old one seals with the old key:
    so each waits until all seal with the new one.

    Args:
        sealer: the one that the store was opened with.
        lagging: the other controllers that may seal with another key than this (`Owners.lagging`).
    """

    def __init__(self, store: Store, sealer: Sealer, *, lagging: Callable[[str], tuple[str, ...]] = _nobody) -> None:
        self._store = store
        self._sealer = sealer
        self._lagging = lagging
        self._writer = sealer.writer
        self._is_due: bool | None = None
        self._awaited: tuple[str, ...] = ()

    def look(self) -> None:
        """Write all records with secrets again, if another key writes than at the last look. Raises StoreUnavailable."""
        was, self._writer = self._writer, self._sealer.writer
        if self._writer != was:
            self._is_due = True  # whatever the mark says: this process has written with the other key
        elif self._is_due is None:
            self._is_due = bool(self._writer) and self._mark() != self._writer
        if self._is_due and not self._waits():
            self._seal_all()
            self._is_due = False

    def _waits(self) -> bool:
        was, self._awaited = self._awaited, self._lagging(self._writer)
        if self._awaited and self._awaited != was:
            _log.info("controllers seal with another key still", key=self._writer, controllers=list(self._awaited))
        return bool(self._awaited)

    def _seal_all(self) -> None:
        writer = self._writer
        written, unreadable = self._rewrite()
        if unreadable:
            _log.error("records cannot be read, and so not be sealed with the key that writes now", ids=unreadable)
        else:
            self._set_mark(writer)
            _log.info("all records are sealed with the key that writes now", key=writer, written=written)

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
        except DriverError:  # sealed with a key that is gone, for instance
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
