"""Routes of the administration socket, independent of the transport."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from csi_cinderlib.errors import NotFound, OperationPending, Unsupported
from csi_cinderlib.model.records import EMPTY

SERVER = "csi-cinderlib"
"""In the header `Server` of each answer, so that a client recognizes the socket of another program."""
MOST_SLOW = 8
"""Simultaneous requests that may block. Other requests are answered from memory and always have a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of a client.

    Attributes:
        path: quoted, as received.
        names: values of the upper-case words of the pattern: `/records/KIND` gives `kind`.
        query: query of the URL; the last of several equal keys.
        body: a JSON object; empty without a body.
    """

    method: str
    path: str
    names: Mapping[str, str] = EMPTY
    query: Mapping[str, str] = EMPTY
    body: Mapping[str, object] = field(default_factory=dict)


Handler = Callable[[Request], Mapping[str, object]]
"""Returns data for JSON. Secrets in it are hidden before it is sent. A DriverError determines the HTTP status."""


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    parts: tuple[str, ...]
    handler: Handler
    is_quick: bool

    def names(self, parts: tuple[str, ...]) -> Mapping[str, str] | None:
        """None if the path does not match."""
        if len(parts) != len(self.parts):
            return None
        pairs = list(zip(self.parts, parts, strict=True))
        if any(part != pattern for pattern, part in pairs if not pattern.isupper()):
            return None
        return {pattern.lower(): unquote(part) for pattern, part in pairs if pattern.isupper()}


class Routes:
    """All routes of the socket. Parts of the process add routes at any time, in any thread."""

    def __init__(self) -> None:
        self._routes: tuple[_Route, ...] = ()
        self._slow = threading.BoundedSemaphore(MOST_SLOW)

    def add(self, method: str, pattern: str, handler: Handler, *, quick: bool = False) -> None:
        """Add a route.

        Args:
            pattern: a path; an upper-case word matches any single word: `/backends/NAME/restart`.
            quick: the handler never waits for a store, a back end, a device, or a lock that is held during such waits.
        """
        self._routes = (*self._routes, _Route(method, _split(pattern), handler, quick))

    def answer(self, request: Request) -> Mapping[str, object]:
        """Raises NotFound, Unsupported, OperationPending, or what the handler raises."""
        parts = _split(request.path)
        fitting = [(route, names) for route in self._routes if (names := route.names(parts)) is not None]
        if not fitting:
            raise NotFound("path", request.path, "is not served by this process")
        for route, names in fitting:
            if route.method == request.method:
                return self._call(route, replace(request, names=names))
        raise Unsupported(
            f"unsupported method {request.method} for {request.path}; supported: {', '.join(route.method for route, _ in fitting)}"
        )

    def _call(self, route: _Route, request: Request) -> Mapping[str, object]:
        if route.is_quick:
            return route.handler(request)
        if not self._slow.acquire(blocking=False):
            raise OperationPending(f"{MOST_SLOW} administration requests are in progress; try again later")
        try:
            return route.handler(request)
        finally:
            self._slow.release()


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))
