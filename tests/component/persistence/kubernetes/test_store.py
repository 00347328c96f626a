"""The store on custom resources: what the API allows and no API server that we build sends."""

from __future__ import annotations

import base64
import json
from typing import Any

from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.kubernetes.rest import Client
from csi_cinderlib.persistence.kubernetes.store import KubernetesStore


class Sparse(Client):
    """Lists an empty page before each object."""

    def __init__(self) -> None:
        self.objects: list[dict[str, Any]] = []
        self.asked = 0

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.objects.append(body)
        return body

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """A page with one object, or an empty page if the token is not that of such a page."""
        at = sum(self._before(query.get("continue", ""), found) for found in self.objects)
        self.asked += 1
        if self.asked % 2:
            return {"items": [], "metadata": {"continue": query.get("continue", "first")}}
        more = "x" if at + 1 < len(self.objects) else ""
        return {"items": self.objects[at : at + 1], "metadata": {"continue": more}}

    @staticmethod
    def _before(token: str, found: dict[str, Any]) -> bool:
        """Whether an object precedes the place of a token."""
        if token in ("", "first"):
            return False
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        return bool(found["metadata"]["name"] < json.loads(text)["start"])


def test_an_empty_page_is_not_taken_for_the_end_of_the_list() -> None:
    server = Sparse()
    store = KubernetesStore(server, "storage", None)
    for id in ("a", "b"):
        store.add(KeyValue(id=id, value=""))
    assert [record.id for record in walk_all(store, KeyValue)] == ["a", "b"]
