"""Seals what lies in the store with the key that writes now, so that the keys of before can be taken away."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any

from csi_cinderlib.app.stores import walk
from csi_cinderlib.errors import AlreadyExists, DriverError, NotFound, StaleRecord
from csi_cinderlib.model.records import KeyValue, Record
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import KINDS, Store
from csi_cinderlib.persistence.codec import FORMS, kind_name
from csi_cinderlib.sealing import Sealer

LOOK_SECONDS = 5.0
"""Between two looks at which key writes, which cost nothing."""
MARK = "sealed-with"
"""The id of the record that tells with which key all others are sealed."""

_log = logs.logger(__name__)


class Resealing:
    """Safe beside calls that are being served, and beside other controllers: a record that changes meanwhile is sealed by that.

    Args:
        sealer: the one that the store was opened with.
    """

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._done = ""

    def look(self) -> None:
        """Write all records with secrets again, if another key writes than at the last look. Raises StoreUnavailable."""
        writer = self._sealer.writer
        if writer == self._done:
            return
        if self._mark() != writer:
            written, unreadable = self._rewrite()
            if unreadable:
                _log.error("records cannot be read, and so not be sealed with the key that writes now", ids=unreadable)
            else:
                self._set_mark(writer)
                _log.info("all records are sealed with the key that writes now", key=writer, written=written)
        self._done = writer

    def _rewrite(self) -> tuple[int, list[str]]:
        written, unreadable = 0, []
        kind: Any  # mypy cannot take a union of types for `walk`'s type variable
        for kind in KINDS:
            for record in walk(self._store, kind) if FORMS[kind].secrets else ():
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
