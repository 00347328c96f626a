"""What the administration socket offers, whatever carries the requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from csi_cinderlib.errors import NotFound, OperationPending, Unsupported
from csi_cinderlib.model.records import EMPTY

MOST_SLOW = 8
"""Requests at one time that may have to wait. The others are answered from memory, and always have a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for.

    Attributes:
        path: quoted, as it came.
        names: by the words in upper case of the route's pattern: `/records/KIND` gives `kind`.
        query: of the URL; of several equal keys the last one.
        body: a JSON object; empty when there is none.
    """

    method: str
    path: str
    names: Mapping[str, str] = EMPTY
    query: Mapping[str, str] = EMPTY
    body: Mapping[str, object] = field(default_factory=dict)


Handler = Callable[[Request], Mapping[str, object]]
"""Answers with what JSON can hold. Secrets in it are hidden before it is sent. A DriverError becomes the answer's status."""


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    parts: tuple[str, ...]
    handler: Handler
    is_quick: bool

    def names(self, parts: tuple[str, ...]) -> Mapping[str, str] | None:
        """None when the path does not fit."""
        if len(parts) != len(self.parts):
            return None
        pairs = list(zip(self.parts, parts, strict=True))
        if any(part != pattern for pattern, part in pairs if not pattern.isupper()):
            return None
        return {pattern.lower(): unquote(part) for pattern, part in pairs if pattern.isupper()}


class Routes:
    """What the socket offers. Each part of the process adds its own, at any time, from any thread."""

    def __init__(self) -> None:
        self._routes: tuple[_Route, ...] = ()
        self._slow = threading.BoundedSemaphore(MOST_SLOW)

    def add(self, method: str, pattern: str, handler: Handler, *, quick: bool = False) -> None:
        """Offer a path.

        Args:
            pattern: a path; its words in upper case stand for any one word: `/backends/NAME/restart`.
            quick: it never waits for a store, a back end, a device or a lock that is held meanwhile.
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
        raise Unsupported(f"{request.method} {request.path}: use {', '.join(route.method for route, _ in fitting)}")

    def _call(self, route: _Route, request: Request) -> Mapping[str, object]:
        if route.is_quick:
            return route.handler(request)
        if not self._slow.acquire(blocking=False):
            raise OperationPending(f"{MOST_SLOW} administration requests are under way; try again later")
        try:
            return route.handler(request)
        finally:
            self._slow.release()


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))
