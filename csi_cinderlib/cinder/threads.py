"""How a driver's own threads are known as those of its back end, and none of them keeps the process from ending.

A thread does not inherit context variables. So a thread takes over the route of the thread that starts it, and an item of a
thread pool takes over that of the thread that submits it: back ends of one driver may share a pool of the driver's module.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from csi_cinderlib.cinder.looping import LoopingCalls
from csi_cinderlib.cinder.work import Route, current_route, routed

_OF_NO_BACK_END = LoopingCalls()


def starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """`start` of a class of threads, so that they take over the route."""

    @functools.wraps(start)
    def started(thread: threading.Thread) -> None:
        if (route := current_route()) is not None:
            thread.daemon = True
            thread.run = functools.partial(_run, route, thread.run)  # type: ignore[method-assign]  # of this thread only
        start(thread)

    return started


def submitting(submit: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`submit` of a class of thread pools, so that items take over the route, or that there is none.

    Args:
        name: the item's parameter, for callers that pass it by name.
    """

    @functools.wraps(submit)
    def submitted(pool: Any, /, *arguments: Any, **named: Any) -> Any:
        item, *rest = arguments or (named.pop(name),)
        return submit(pool, functools.partial(_run, current_route(), item), *rest, **named)

    return submitted


def spawn_loop(call: Any, loop: Callable[[], None]) -> threading.Thread:
    """`_spawn_loop` of looping calls, so that they are known as those of the route."""
    route = current_route()
    return (_OF_NO_BACK_END if route is None else route.loops).start(call, loop)


def _run(route: Route | None, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
    with routed(route):
        return function(*arguments, **named)
