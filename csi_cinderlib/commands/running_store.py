"""Records of a running driver whose store is in memory, read over its administration socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

from csi_cinderlib.commands import running
from csi_cinderlib.errors import NotFound
from csi_cinderlib.model.records import EMPTY
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import Page, R, Traits, Where
from csi_cinderlib.persistence.queries import check_query, wanted

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings

MOST = 500
"""Maximum number of records in one answer: `app.record_routes.MOST`."""


class RunningStore:
    """A read-only `persistence.api.Store`. Records have no secrets."""

    traits = Traits(durable=False, shared=True)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def get(self, kind: type[R], id: str) -> R:
        name = codec.kind_name(kind)
        try:
            found = self._ask(f"/records/{quote(name)}/{quote(id, safe='')}")
        except running.NotAccepted as error:
            if error.status == 404:
                raise NotFound(name, id) from None
            raise
        return _record(kind, found)

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        check_query(kind, limit, where)
        query = {name: ",".join(values) for name, values in wanted(where).items()}
        query |= {"after": after, "limit": str(min(limit, MOST))}
        found = self._ask(f"/records/{quote(codec.kind_name(kind))}?{urlencode(query)}")
        return Page(tuple(_record(kind, item) for item in found["records"]), found["next"], tuple(found["corrupt"]))

    def orphans(self) -> list[dict[str, Any]]:
        """Rows of `provisioning.orphans.Orphan`."""
        return list(self._ask("/orphans")["orphans"])

    def close(self) -> None:
        """Does nothing: each request has its own connection."""

    def _ask(self, path: str) -> dict[str, Any]:
        return running.request(self._settings, "GET", path)

    def _refuse(self, _record: object) -> NoReturn:
        raise AssertionError("the records of a running driver are only read")

    add = replace = remove = _refuse


def _record(kind: type[R], item: Mapping[str, Any]) -> R:
    body = item["record"]
    return codec.decode(kind, body, id=str(body.get("id", "")), revision=str(item["revision"]), sealer=codec.UNOPENED)
