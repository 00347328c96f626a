"""All changes to libraries in this process, each with its reason and test.

`runtime.load_cinder` applies them once per process; importing this module changes nothing.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder import green, looping
from csi_cinderlib.cinder.work import Route, current_route, routed

_OF_NO_BACK_END = looping.LoopingCalls()


@dataclass(frozen=True, slots=True)
class Patch:
    """A change to a library.

    Attributes:
        target: the changed object.
        reason: why it is needed, and until when.
        versions: the library versions that it was checked with.
        test: the test that checks that it is still needed or correct.
        apply: applies it; called once per process.
    """

    target: str
    reason: str
    versions: str
    test: str
    apply: Callable[[], None]


def _popen_without_fork() -> None:
    """`processutils.execute` passes a preexec_fn that only resets SIGPIPE, which Popen's restore_signals already does."""
    from oslo_concurrency import processutils

    original: Any = subprocess.Popen

    def popen(*args: Any, preexec_fn: Any = None, **kwargs: Any) -> Any:
        theirs = getattr(preexec_fn, "args", (None,))[0]  # partial(_subprocess_setup, the caller's preexec_fn)
        return original(*args, preexec_fn=theirs, **kwargs)

    lean = types.ModuleType("subprocess")
    vars(lean).update({name: value for name, value in vars(subprocess).items() if not name.startswith("__")})
    vars(lean)["Popen"] = popen
    vars(processutils)["subprocess"] = lean


def _privsep_in_process() -> None:
    """Run privileged functions in this process; a daemon under sudo would only cost time and memory for root."""
    import cinder.privsep
    import os_brick.privileged

    for context in (
        cinder.privsep.sys_admin_pctxt,
        os_brick.privileged.default,
        os_brick.privileged.brick_privsep_hide_output,
    ):
        context.set_client_mode(False)


def _programs_of_this_python() -> None:
    """Add this Python's programs to PATH, since drivers run them by name, even without an activated virtual environment."""
    found, beside = os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)
    if beside not in found.split(os.pathsep):
        os.environ["PATH"] = f"{found}{os.pathsep}{beside}"


def _eventlet() -> None:
    """Keep Cinder from patching this process, and decide what it gets as eventlet."""
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
    green.keep_cinder_from_patching()
    green.choose()


# A driver's threads belong to its back end, and do not keep the process from ending. Threads do not inherit context variables, so
# a thread gets the route of the thread that starts it, and an item of a thread pool the route of the thread that submits it: back
# ends with the same driver may share a pool of the driver's module.


def _starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """Wrap `start` of a thread class, so that its threads inherit the route."""

    @functools.wraps(start)
    def started(thread: threading.Thread) -> None:
        if (route := current_route()) is not None:
            thread.daemon = True
            thread.run = functools.partial(_on_route, route, thread.run)  # type: ignore[method-assign]  # of this thread only
        start(thread)

    return started


def _submitting(submit: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wrap `submit` of a thread pool class, so that items inherit the submitter's route, including none.

    Args:
        name: the item's parameter name, for callers that pass it as a keyword.
    """

    @functools.wraps(submit)
    def submitted(pool: Any, /, *arguments: Any, **named: Any) -> Any:
        item, *rest = arguments or (named.pop(name),)
        return submit(pool, functools.partial(_on_route, current_route(), item), *rest, **named)

    return submitted


def _spawn_loop(call: Any, loop: Callable[[], None]) -> threading.Thread:
    """Replaces `_spawn_loop` of looping calls, so that they belong to the route."""
    route = current_route()
    return (_OF_NO_BACK_END if route is None else route.loops).start(call, loop)


def _on_route(route: Route | None, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
    with routed(route):
        return function(*arguments, **named)


def _threads_of_back_ends() -> None:
    """Looping calls, timers and pools all start `threading.Thread`s."""
    thread: Any = threading.Thread
    thread.start = _starting(thread.start)


def _looping_calls_of_back_ends() -> None:
    from oslo_service.backend._threading import loopingcall

    green.looping_calls()
    base: Any = loopingcall.LoopingCallBase
    base._spawn_loop = _spawn_loop
    base._create_done_event = lambda _call: looping.Done()


def _pool_items_of_back_ends() -> None:
    """oslo.service's looping calls and taskflow use futurist's thread pools."""
    import concurrent.futures
    import multiprocessing.pool

    import futurist

    methods: tuple[tuple[Any, str, str], ...] = (
        (concurrent.futures.ThreadPoolExecutor, "submit", "fn"),
        (futurist.ThreadPoolExecutor, "submit", "fn"),
        *(
            (multiprocessing.pool.ThreadPool, name, "func")
            for name in ("apply_async", "_map_async", "imap", "imap_unordered")
        ),
    )
    for pool, method, item in methods:
        setattr(pool, method, _submitting(getattr(pool, method), item))


def _no_cinder_conf_of_this_host() -> None:
    """FusionStorage's driver encodes its password in that file, and makes the file world-readable in the meantime."""
    from cinder.volume.drivers.fusionstorage import constants

    constants.CONF_PATH = os.devnull + "/none"


PATCHES: tuple[Patch, ...] = (
    Patch(
        "eventlet",
        "its pools and semaphores deadlock between native threads; in a process that it has not patched; until Cinder drops it",
        "cinder 29, eventlet 0.41",
        "test_eventlet_standin.py",
        _eventlet,
    ),
    Patch(
        "oslo_concurrency.processutils.subprocess",
        "a preexec_fn forces a fork of the whole process, 6 to 13 ms per command; until oslo.concurrency drops it",
        "oslo.concurrency 7",
        "test_runtime.py",
        _popen_without_fork,
    ),
    Patch(
        "cinder.privsep, os_brick.privileged",
        "no daemon, no sudo, no rootwrap: this process has the required privileges",
        "oslo.privsep 3",
        "test_runtime.py",
        _privsep_in_process,
    ),
    Patch(
        "PATH",
        "the LVM driver runs cinder-rtstool by name, other drivers run their programs; always",
        "cinder 29",
        "test_runtime.py",
        _programs_of_this_python,
    ),
    Patch(
        "threading.Thread.start",
        "a driver's threads must use the store of its back end; until each back end has its own process",
        "Python 3.11 to 3.13",
        "test_threads.py",
        _threads_of_back_ends,
    ),
    Patch(
        "submit of concurrent.futures, futurist and multiprocessing.pool",
        "back ends with the same driver may share a thread pool; until each back end has its own process",
        "Python 3.11 to 3.13, futurist 3",
        "test_threads.py",
        _pool_items_of_back_ends,
    ),
    Patch(
        "oslo_service.loopingcall, oslo_service.backend._threading.loopingcall.LoopingCallBase",
        "a driver's looping calls must end with its back end, and not keep the process alive; until oslo.service supports that",
        "oslo.service 4",
        "test_looping_calls.py",
        _looping_calls_of_back_ends,
    ),
    Patch(
        "cinder.volume.drivers.fusionstorage.constants.CONF_PATH",
        "the driver rewrites /etc/cinder/cinder.conf, which does not belong to csi-cinderlib; always",
        "cinder 29",
        "test_private_files.py",
        _no_cinder_conf_of_this_host,
    ),
)
"""In order of application: the first before Cinder is imported, the others after."""
