"""How a driver's own threads are known as those of its back end.

A thread does not inherit context variables. So a thread takes over the route of the thread that starts it, and an item of a
thread pool takes over that of the thread that submits it: back ends of one driver may share a pool of the driver's module.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from csi_cinderlib.backend.work import Route, current_route, routed


def starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """`start` of a class of threads that take over the route."""

    @functools.wraps(start)
    def started(thread: threading.Thread) -> None:
        if (route := current_route()) is not None:
            thread.run = functools.partial(_run, route, thread.run)  # type: ignore[method-assign]  # of this thread only
        start(thread)

    return started


def submitting(submit: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`submit` of a class of thread pools whose items take over the route, also where there is none.

    Args:
        name: of the parameter that is the item, where callers may name it.
    """

    @functools.wraps(submit)
    def submitted(pool: Any, /, *arguments: Any, **named: Any) -> Any:
        item, *rest = arguments or (named.pop(name),)
        return submit(pool, functools.partial(_run, current_route(), item), *rest, **named)

    return submitted


def _run(route: Route | None, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
    with routed(route):
        return function(*arguments, **named)
