"""Each change to a library in this process, with its reason and its test.

`runtime.load_cinder` applies them, once a process; nothing is changed on import of this module.
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

from csi_cinderlib.cinder import eventlet_standin, looping
from csi_cinderlib.cinder.work import Route, current_route, routed
from csi_cinderlib.concurrency import without_eventlet

_OF_NO_BACK_END = looping.LoopingCalls()


@dataclass(frozen=True, slots=True)
class Patch:
    """One change to a library.

    Attributes:
        target: what is changed.
        reason: why, and when it may go.
        versions: for which it was checked.
        test: the test that proves it is still needed, or still right.
        apply: does it; called once a process.
    """

    target: str
    reason: str
    versions: str
    test: str
    apply: Callable[[], None]


def _popen_without_fork() -> None:
    """`processutils.execute` passes a preexec_fn that only resets SIGPIPE, which Popen's restore_signals does already."""
    from oslo_concurrency import processutils

    original: Any = subprocess.Popen

    def popen(*args: Any, preexec_fn: Any = None, **kwargs: Any) -> Any:
        theirs = getattr(preexec_fn, "args", (None,))[0]  # partial(_subprocess_setup, the caller's own)
        return original(*args, preexec_fn=theirs, **kwargs)

    lean = types.ModuleType("subprocess")
    vars(lean).update({name: value for name, value in vars(subprocess).items() if not name.startswith("__")})
    vars(lean)["Popen"] = popen
    vars(processutils)["subprocess"] = lean


def _privsep_in_process() -> None:
    """Privileged functions run right here; a daemon under sudo would only cost time and memory where we are root."""
    import cinder.privsep
    import os_brick.privileged

    for context in (
        cinder.privsep.sys_admin_pctxt,
        os_brick.privileged.default,
        os_brick.privileged.brick_privsep_hide_output,
    ):
        context.set_client_mode(False)


def _programs_of_this_python() -> None:
    """Drivers run programs by name that are installed beside this Python; a virtual environment need not be activated for it."""
    found, beside = os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)
    if beside not in found.split(os.pathsep):
        os.environ["PATH"] = f"{found}{os.pathsep}{beside}"


def _native_threads() -> None:
    """Cinder may neither load eventlet nor let oslo.service choose it; futurist and taskflow must see that it is absent."""
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
    os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "1"
    with without_eventlet() as absent:
        if absent:
            import futurist  # noqa: F401
    if absent:
        sys.modules.update(eventlet_standin.modules())
    import oslo_service.backend

    oslo_service.backend.init_backend(oslo_service.backend.BackendType.THREADING)


# A driver's own threads are known as those of its back end, and none of them keeps the process from ending. A thread does not
# inherit context variables. So it takes over the route of the thread that starts it, and an item of a thread pool takes over
# that of the thread that submits it: back ends of one driver may share a pool of the driver's module.


def _starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    """`start` of a class of threads, so that they take over the route."""

    @functools.wraps(start)
    def started(thread: threading.Thread) -> None:
        if (route := current_route()) is not None:
            thread.daemon = True
            thread.run = functools.partial(_on_route, route, thread.run)  # type: ignore[method-assign]  # of this thread only
        start(thread)

    return started


def _submitting(submit: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`submit` of a class of thread pools, so that items take over the route, or that there is none.

    Args:
        name: the item's parameter, for callers that pass it by name.
    """

    @functools.wraps(submit)
    def submitted(pool: Any, /, *arguments: Any, **named: Any) -> Any:
        item, *rest = arguments or (named.pop(name),)
        return submit(pool, functools.partial(_on_route, current_route(), item), *rest, **named)

    return submitted


def _spawn_loop(call: Any, loop: Callable[[], None]) -> threading.Thread:
    """`_spawn_loop` of looping calls, so that they are known as those of the route."""
    route = current_route()
    return (_OF_NO_BACK_END if route is None else route.loops).start(call, loop)


def _on_route(route: Route | None, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
    with routed(route):
        return function(*arguments, **named)


def _threads_of_back_ends() -> None:
    """Whatever a driver has, a looping call, a timer or a pool, in the end it starts `threading.Thread`s."""
    thread: Any = threading.Thread
    thread.start = _starting(thread.start)


def _looping_calls_of_back_ends() -> None:
    from oslo_service.backend._threading import loopingcall

    base: Any = loopingcall.LoopingCallBase
    base._spawn_loop = _spawn_loop
    base._create_done_event = lambda _call: looping.Done()


def _pool_items_of_back_ends() -> None:
    """oslo.service's looping calls and taskflow use futurist's pools."""
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
    """FusionStorage's driver encodes its password in that file, and makes it readable for everybody while it does."""
    from cinder.volume.drivers.fusionstorage import constants

    constants.CONF_PATH = os.devnull + "/none"


PATCHES: tuple[Patch, ...] = (
    Patch(
        "eventlet",
        "its pools and semaphores deadlock between native threads; until Cinder drops eventlet",
        "cinder 29, eventlet 0.40",
        "test_eventlet_standin.py",
        _native_threads,
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
        "no daemon, no sudo, no rootwrap: this process has the rights it was given",
        "oslo.privsep 3",
        "test_runtime.py",
        _privsep_in_process,
    ),
    Patch(
        "PATH",
        "the LVM driver runs cinder-rtstool by name, others ask for theirs; always",
        "cinder 29",
        "test_runtime.py",
        _programs_of_this_python,
    ),
    Patch(
        "threading.Thread.start",
        "a driver's own threads must be served from the store of its back end; until each back end has a process of its own",
        "Python 3.11 to 3.13",
        "test_threads.py",
        _threads_of_back_ends,
    ),
    Patch(
        "submit of concurrent.futures, futurist and multiprocessing.pool",
        "back ends of one driver may share a thread pool; until each back end has a process of its own",
        "Python 3.11 to 3.13, futurist 3",
        "test_threads.py",
        _pool_items_of_back_ends,
    ),
    Patch(
        "oslo_service.backend._threading.loopingcall.LoopingCallBase",
        "a driver's looping calls end with its back end, and do not keep the process, as threads of futurist do; until oslo.service can",
        "oslo.service 4",
        "test_looping_calls.py",
        _looping_calls_of_back_ends,
    ),
    Patch(
        "cinder.volume.drivers.fusionstorage.constants.CONF_PATH",
        "the driver rewrites /etc/cinder/cinder.conf, which is not its own here; always",
        "cinder 29",
        "test_private_files.py",
        _no_cinder_conf_of_this_host,
    ),
)
"""In the order of application; the first one before any of Cinder is imported, the others after."""
