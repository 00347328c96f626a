"""Whose a StorageBackend object is. On an API server: tests/cluster/store."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client
from csi_cinderlib.persistence.kubernetes.statuses import Statuses

Json = dict[str, Any]


class Objects(Client):
    """An API server's objects by path, as far as `Statuses` uses it."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}

    def get(self, path: str, **_query: str) -> Json:
        if path.endswith("/storagebackends"):
            return {"items": copy.deepcopy(list(self.objects.values()))}
        return copy.deepcopy(self._at(path))

    def post(self, path: str, body: Json) -> Json:
        place = f"{path}/{body['metadata']['name']}"
        if place in self.objects:
            raise ApiError(409, "AlreadyExists", "it exists")
        self.objects[place] = copy.deepcopy(body)
        return body

    def patch(self, path: str, operations: list[Json]) -> Json:
        found = self._at(path.removesuffix("/status"))
        for operation in operations:
            *parents, last = operation["path"].strip("/").split("/")
            target = found
            for parent in parents:
                target = target[parent]
            target[last] = operation["value"]
        return copy.deepcopy(found)

    def delete(self, path: str, body: Json | None = None, **_query: str) -> Json:
        found = self._at(path)["metadata"]
        if any(found.get(key) != value for key, value in (body or {}).get("preconditions", {}).items()):
            raise ApiError(409, "Conflict", "it has changed")
        return self.objects.pop(path)

    def _at(self, path: str) -> Json:
        if path not in self.objects:
            raise ApiError(404, "NotFound", "it does not exist")
        return self.objects[path]


def statuses(client: Client, driver_name: str) -> Statuses:
    return Statuses(client, "storage", driver_name=driver_name, instance="pod")


def test_the_object_of_another_csi_drivers_back_end_is_left_alone() -> None:
    client = Objects()
    one, other = statuses(client, "one.example.org"), statuses(client, "other.example.org")
    one.write(one.ensure("array", "x.Driver"), {"ready": True})
    before = copy.deepcopy(client.objects)
    with pytest.raises(
        PreconditionFailed, match=r"'array' belongs to the CSI driver 'one\.example\.org'; rename one of the two back"
    ):
        other.ensure("array", "y.Driver")
    assert other.all() == []
    other.remove("array")
    assert client.objects == before
    assert [found["status"] for found in one.all()] == [{"ready": True}]


def test_the_controllers_of_one_csi_driver_share_their_objects() -> None:
    client = Objects()
    active, standby = statuses(client, "one.example.org"), statuses(client, "one.example.org")
    active.ensure("array", "x.Driver")
    assert standby.ensure("array", "y.Driver")["spec"] == {"name": "array", "driver": "y.Driver"}
    standby.remove("array")
    standby.remove("array")
    assert active.all() == []


def test_an_object_without_an_owner_is_taken_over() -> None:
    client = Objects()
    one, other = statuses(client, "one.example.org"), statuses(client, "other.example.org")
    one.ensure("array", "x.Driver")
    for found in client.objects.values():
        del found["metadata"]["labels"]
    assert len(other.all()) == 1
    one.ensure("array", "x.Driver")
    assert (len(one.all()), other.all()) == (1, [])


def test_an_object_that_another_controller_makes_at_the_same_moment_is_looked_at() -> None:
    class Slow(Objects):
        def post(self, path: str, body: Json) -> Json:
            super().post(
                path, {**body, "metadata": {**body["metadata"], "labels": {"cinderlib.io/csi-driver": "other"}}}
            )
            return super().post(path, body)

    with pytest.raises(PreconditionFailed, match="'other'"):
        statuses(Slow(), "one.example.org").ensure("array", "x.Driver")


def test_an_object_that_was_replaced_meanwhile_is_not_removed() -> None:
    class Replaced(Objects):
        def get(self, path: str, **query: str) -> Json:
            found = super().get(path, **query)
            self._at(path)["metadata"]["uid"] = "2"
            return found

    client = Replaced()
    one = statuses(client, "one.example.org")
    path = "/apis/cinderlib.io/v1/namespaces/storage/storagebackends"
    client.post(path, {"metadata": {"name": "array", "uid": "1"}, "spec": {}})
    one.remove("array")
    assert client.objects[f"{path}/array"]["metadata"]["uid"] == "2"
