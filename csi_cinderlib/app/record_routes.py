"""Records and orphans on the administration socket, for repairs and for stores that other processes cannot read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from csi_cinderlib.app.routes import Request, Routes
from csi_cinderlib.errors import InvalidRequest, NotFound
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Node, Record, Snapshot, Volume
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import INDEXED, Store
from csi_cinderlib.provisioning.orphans import Orphans

KINDS = {codec.kind_name(kind): kind for kind in (Volume, Snapshot, Attachment, Group, GroupSnapshot, Node)}
"""Kinds that are shown. The others contain private data of drivers, including secrets."""
MOST = 500
"""Maximum number of records of a response."""

Answer = dict[str, object]


class RecordRoutes:
    """Routes for records and orphans.

    Args:
        store: returns the store. Raises NotReady until it can be read.
        orphans: lists and repairs orphans.
        working: held during a repair, so that the process does not end in the meantime.
    """

    def __init__(
        self, store: Callable[[], Store], orphans: Callable[[], Orphans], working: AbstractContextManager[Any]
    ) -> None:
        self._store = store
        self._orphans = orphans
        self._working = working

    def offer(self, routes: Routes) -> None:
        routes.add("GET", "/records/KIND", self._page)
        routes.add("GET", "/records/KIND/ID", self._get)
        routes.add("GET", "/orphans", self._find)
        routes.add("POST", "/orphans/ID/fix", self._fix)
        routes.add("POST", "/orphans/ID/forget", self._forget)
        routes.add("POST", "/orphans/ID/forget-modification", self._forget_modification)

    def _page(self, request: Request) -> Answer:
        """`after`, `limit`, and the indexed fields of the kind, values separated by commas. Raises InvalidRequest."""
        kind: Any = _kind(request)
        query = dict(request.query)
        after, limit = query.pop("after", ""), query.pop("limit", str(MOST))
        if not limit.isdecimal() or not 0 < int(limit) <= MOST:
            raise InvalidRequest("limit", f"must be between 1 and {MOST} (got {limit!r})")
        if unknown := query.keys() - set(INDEXED[kind]):
            raise InvalidRequest(min(unknown), f"unknown field; supported: {', '.join(INDEXED[kind])}")
        where = {name: tuple(value.split(",")) for name, value in query.items()}
        page = self._store().page(kind, after=after, limit=int(limit), where=where)
        return {"records": list(map(_shown, page.records)), "next": page.next, "corrupt": list(page.corrupt)}

    def _get(self, request: Request) -> Answer:
        kind: Any = _kind(request)
        return _shown(self._store().get(kind, request.names["id"]))

    def _find(self, _request: Request) -> Answer:
        self._store()
        return {"orphans": [asdict(orphan) for orphan in self._orphans().find()]}

    def _fix(self, request: Request) -> Answer:
        self._store()
        with self._working:
            settled = self._orphans().fix(request.names["id"])
        return {"orphan": asdict(settled.orphan), "error": settled.error}

    def _forget(self, request: Request) -> Answer:
        self._store()
        return {"forgotten": list(self._orphans().forget(request.names["id"]))}

    def _forget_modification(self, request: Request) -> Answer:
        self._store()
        return {"forgotten": [self._orphans().forget_modification(request.names["id"])]}


def _kind(request: Request) -> type[Record]:
    if (kind := KINDS.get(request.names["kind"])) is None:
        raise NotFound("kind", request.names["kind"], f"is not available; kinds: {', '.join(KINDS)}")
    return kind


def _shown(record: Record) -> Answer:
    return {"revision": record.revision, "record": codec.encode_for_display(record)}
