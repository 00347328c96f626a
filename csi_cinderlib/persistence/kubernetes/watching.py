"""A live copy of some objects of the Kubernetes API: listed once, then kept up to date by a watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from csi_cinderlib.errors import DriverError
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client, Stream

Json = dict[str, Any]

WATCH_SECONDS = 50
"""The server ends a watch after this time, and the next one continues. A broken connection is noticed soon after."""
SHORTEST_SECONDS = 0.5
"""Between the beginnings of two watches, for a server or proxy that ends them at once."""
RETRY_SECONDS = (0.5, 2.0, 5.0)
"""Pauses after failures; the last value repeats."""
CLOSE_SECONDS = 2.0
"""Longest wait for the end of the thread."""
EXPIRED = 410
"""HTTP status: the server no longer has the changes since that version."""


class Watch:
    """Objects by name, kept up to date in a thread of its own until `close`.

    Args:
        client: has a connection for this watch alone.
        path: of the list.
        selector: query parameters that select objects, for example `fieldSelector`.
        changed: called in the thread of the watch after a change, and when `failure` changes.
        essence: the part of an object whose changes matter.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        selector: Mapping[str, str] = MappingProxyType({}),
        changed: Callable[[], None],
        essence: Callable[[Json], object],
    ) -> None:
        self._client = client
        self._path = path
        self._selector = dict(selector)
        self._changed = changed
        self._essence = essence
        self._objects: Mapping[str, Json] = {}
        self._stream: Stream | None = None
        self._guard = threading.Lock()
        self._ending = threading.Event()
        self._is_listed = False
        self._failures = 0
        self._tried = threading.Event()
        self.failure: DriverError | None = None
        """Why the copy may be outdated."""
        self._thread = threading.Thread(target=self._run, name=f"watch-{path.rpartition('/')[2]}", daemon=True)
        self._thread.start()

    @property
    def objects(self) -> Mapping[str, Json]:
        """The latest objects by name; empty before the first list."""
        return self._objects

    @property
    def is_listed(self) -> bool:
        """Whether the objects were read at least once."""
        return self._is_listed

    def wait(self, seconds: float) -> bool:
        """Wait for the first list, or its failure; returns `is_listed`."""
        self._tried.wait(seconds)
        return self._is_listed

    def close(self) -> None:
        """End the thread. One that waits for a server that does not respond ends later."""
        with self._guard:
            self._ending.set()
            if self._stream is not None:
                self._stream.stop()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                version = self._list()
                while not self._ending.is_set():
                    began = time.monotonic()
                    version = self._follow(version)
                    self._failures = 0
                    self._ending.wait(max(0.0, SHORTEST_SECONDS - (time.monotonic() - began)))
            except Exception as error:  # an unexpected answer, too: without this thread, the copy would be frozen
                if self._ending.is_set():
                    return
                if not (isinstance(error, ApiError) and error.status == EXPIRED):
                    self._fail(error)
                self._ending.wait(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)])
                self._failures += 1

    def _list(self) -> str:
        found = self._client.get(self._path, **self._selector)
        self._put({item["metadata"]["name"]: item for item in found["items"]})
        return str(found["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> str:
        """Apply changes until the server ends the watch; returns the version from which the next watch continues."""
        stream = self._client.follow(self._path, version, WATCH_SECONDS, **self._selector)
        with self._guard:
            self._stream = stream
        self._recover()
        try:
            if self._ending.is_set():  # before `close` knew the stream
                return version
            for event in stream:
                version = self._apply(event)
                self._failures = 0
        finally:
            stream.stop()
        return version

    def _apply(self, event: Json) -> str:
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise ApiError(int(item.get("code", 0)), str(item.get("reason", "")), str(item.get("message", "")))
        if kind != "BOOKMARK":
            name = item["metadata"]["name"]
            rest = {known: value for known, value in self._objects.items() if known != name}
            self._put(rest if kind == "DELETED" else {**rest, name: item})
        return str(item["metadata"]["resourceVersion"])

    def _put(self, objects: Mapping[str, Json]) -> None:
        before = {name: self._essence(item) for name, item in self._objects.items()}
        is_news = before != {name: self._essence(item) for name, item in objects.items()}
        is_news = is_news or not self._is_listed
        self._objects = objects
        self._is_listed = True
        self._tried.set()
        if is_news:
            self._changed()

    def _recover(self) -> None:
        """A list alone does not end a failure: without the right to watch, the copy is as old as the pause."""
        if self.failure is not None:
            self.failure = None
            self._changed()

    def _fail(self, error: Exception) -> None:
        told = error if isinstance(error, DriverError) else DriverError(f"unexpected answer: {error!r}")
        is_news = str(told) != str(self.failure)
        self.failure = told
        self._tried.set()
        if is_news:
            self._changed()
