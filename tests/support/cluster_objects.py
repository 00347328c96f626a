"""Objects of a Kubernetes API in memory, with resource versions, tested patches, finalizers and watches."""

from __future__ import annotations

import copy
import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client, Stream

Json = dict[str, Any]
NAMESPACE = "storage"


class ClusterObjects(Client):
    """A client, and the server that it asks. Several users may share it.

    Attributes:
        refused: HTTP statuses by call (`list`, `watch`, `patch` ...) that the server answers at present.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._objects: dict[str, Json] = {}
        self._events: list[tuple[int, str, Json]] = []
        self._versions = itertools.count(1)
        self._version = 0
        self.refused: dict[str, int] = {}

    # --- for tests

    def apply(self, collection: str, name: str, body: Json, **metadata: Any) -> Json:
        """Create an object, or replace all but its metadata."""
        place = f"{collection}/{name}"
        with self._changed:
            old = self._objects.get(place, {"metadata": {"name": name, "uid": uuid.uuid4().hex, "generation": 0}})
            new = {**copy.deepcopy(old), **copy.deepcopy(body)}
            new["metadata"] = {**old["metadata"], **copy.deepcopy(metadata)}
            new["metadata"]["generation"] += old.get("spec") != new.get("spec")
            return self._put(place, new)

    def drop(self, place: str) -> None:
        """Delete an object as `kubectl delete` does: finalizers keep it."""
        with self._changed:
            found = copy.deepcopy(self._at(place))
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._put(place, found)

    def found(self, place: str) -> Json | None:
        with self._changed:
            return copy.deepcopy(self._objects.get(place))

    # --- as a client

    def get(self, path: str, **query: str) -> Json:
        is_list = path.endswith(("/backendconfigurations", "/secrets", "/storagebackends"))
        self._answer("list" if is_list else "get")
        with self._changed:
            if not is_list:
                return copy.deepcopy(self._at(path))
            return {"items": self._listed(path, query), "metadata": {"resourceVersion": str(self._version)}}

    def patch(self, path: str, operations: list[Json]) -> Json:
        self._answer("patch")
        with self._changed:
            place = path.removesuffix("/status")
            found = copy.deepcopy(self._at(place))
            for operation in operations:
                *parents, last = operation["path"].strip("/").split("/")
                target = found
                for parent in parents:
                    target = target[parent]
                if operation["op"] == "test":
                    if target.get(last) != operation["value"]:
                        raise ApiError(422, "Invalid", f"testing {operation['path']} failed")
                else:
                    target[last] = copy.deepcopy(operation["value"])
            return copy.deepcopy(self._put(place, found))

    def post(self, path: str, body: Json) -> Json:
        self._answer("post")
        return self.apply(
            path, body["metadata"]["name"], {key: value for key, value in body.items() if key != "metadata"}
        )

    def follow(self, path: str, version: str, seconds: int, **query: str) -> Stream:
        self._answer("watch")
        return _Events(self, path, int(version), query)

    def close(self) -> None:
        """Nothing is open."""

    # --- inner

    def _answer(self, call: str) -> None:
        if status := self.refused.get(call):
            raise ApiError(status, "Forbidden", f"no right to {call}")

    def _at(self, place: str) -> Json:
        if place not in self._objects:
            raise ApiError(404, "NotFound", f"{place} not found")
        return self._objects[place]

    def _put(self, place: str, found: Json) -> Json:
        self._version = next(self._versions)
        found["metadata"]["resourceVersion"] = str(self._version)
        is_gone = bool(found["metadata"].get("deletionTimestamp")) and not found["metadata"].get("finalizers")
        kind = "DELETED" if is_gone else "MODIFIED" if place in self._objects else "ADDED"
        if is_gone:
            self._objects.pop(place, None)
        else:
            self._objects[place] = found
        self._events.append((self._version, kind, {"place": place, "object": copy.deepcopy(found)}))
        self._changed.notify_all()
        return found

    def _listed(self, path: str, query: dict[str, str]) -> list[Json]:
        return [copy.deepcopy(found) for place, found in sorted(self._objects.items()) if _selects(path, query, place)]


class _Events(Stream):
    def __init__(self, cluster: ClusterObjects, path: str, version: int, query: dict[str, str]) -> None:
        self._cluster = cluster
        self._path = path
        self._version = version
        self._query = query
        self._is_over = False

    def __iter__(self) -> Iterator[Json]:
        ends = time.monotonic() + 300
        while not self._is_over and time.monotonic() < ends:
            with self._cluster._changed:
                new = [event for event in self._cluster._events if event[0] > self._version]
                if not new:
                    self._cluster._changed.wait(0.2)
                    continue
            for version, kind, event in new:
                self._version = version
                if _selects(self._path, self._query, event["place"]):
                    yield {"type": kind, "object": event["object"]}

    def stop(self) -> None:
        self._is_over = True


def _selects(path: str, query: dict[str, str], place: str) -> bool:
    collection, _, name = place.rpartition("/")
    wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return collection == path and wanted in {"", name}
