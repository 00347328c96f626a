"""The parts of eventlet that Cinder and its drivers use, with native threads.

The real eventlet deadlocks with native threads: its pool and semaphore switch between green threads, so `SSHPool` and NetApp's
semaphore never wake a waiter in another native thread. Remove this module when Cinder no longer imports eventlet.
"""

from __future__ import annotations

import collections
import functools
import importlib.machinery
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Pool:
    """`eventlet.pools.Pool`: creates up to `max_size` items on demand, each used by one thread at a time."""

    def __init__(
        self,
        min_size: int = 0,
        max_size: int = 4,
        order_as_stack: bool = False,
        create: Callable[[], Any] | None = None,
    ) -> None:
        self.min_size = min_size
        self.max_size = max_size
        self.order_as_stack = order_as_stack
        self.current_size = 0
        self.free_items: collections.deque[Any] = collections.deque()
        self._changed = threading.Condition()
        self._waiting = 0
        if create is not None:
            self.create = create  # type: ignore[method-assign]  # as eventlet does
        for _ in range(min_size):
            self.current_size += 1
            self.free_items.append(self.create())

    def create(self) -> Any:
        """Create an item; implemented by subclasses."""
        raise NotImplementedError("Implement in subclass")

    def get(self) -> Any:
        with self._changed:
            while not self.free_items and self.current_size >= self.max_size:
                self._waiting += 1
                self._changed.wait()
                self._waiting -= 1
            if self.free_items:
                return self.free_items.popleft()
            self.current_size += 1
        try:
            return self.create()
        except BaseException:
            with self._changed:
                self.current_size -= 1
                self._changed.notify()
            raise

    def put(self, item: Any) -> None:
        with self._changed:
            if self.current_size > self.max_size:
                self.current_size -= 1
            elif self.order_as_stack:
                self.free_items.appendleft(item)
            else:
                self.free_items.append(item)
            self._changed.notify()

    @contextmanager
    def item(self) -> Iterator[Any]:
        borrowed = self.get()
        try:
            yield borrowed
        finally:
            self.put(borrowed)

    def resize(self, new_size: int) -> None:
        with self._changed:
            self.max_size = new_size
            self._changed.notify_all()

    def free(self) -> int:
        return len(self.free_items) + self.max_size - self.current_size

    def waiting(self) -> int:
        return self._waiting


class GreenThread(threading.Thread):
    """What `eventlet.spawn` returns: a native thread whose result can be waited for."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._function = functools.partial(function, *args, **kwargs)
        self._result: Any = None
        self._failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as failure:
            self._failure = failure

    def wait(self) -> Any:
        self.join()
        if self._failure is not None:
            raise self._failure
        return self._result


class GreenPool:
    """`eventlet.greenpool.GreenPool`: at most `size` threads at a time."""

    def __init__(self, size: int = 1000) -> None:
        self.size = size
        self._slots = threading.BoundedSemaphore(size)
        self._threads: list[GreenThread] = []

    def spawn(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread:
        self._slots.acquire()

        def run() -> Any:
            try:
                return function(*args, **kwargs)
            finally:
                self._slots.release()

        thread = GreenThread(run)
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        return thread

    spawn_n = spawn

    def waitall(self) -> None:
        for thread in self._threads:
            thread.join()


def _no_patching(*_args: object, **_kwargs: object) -> None:
    raise RuntimeError(
        "csi-cinderlib has set up Cinder with native threads, which eventlet's monkey patching would break; "
        "call eventlet.monkey_patch() before setup() and the first Backend(...)"
    )


def _public(module: types.ModuleType) -> Mapping[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def modules() -> Mapping[str, types.ModuleType]:
    """The stand-in modules by name, for the runtime to install in `sys.modules`."""
    modules_by_name: dict[str, types.ModuleType] = {}

    def module(name: str, **attributes: Any) -> types.ModuleType:
        new = types.ModuleType(name, __doc__)
        new.__path__ = []
        new.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        vars(new).update(attributes)
        modules_by_name[name] = new
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(modules_by_name[parent], leaf, new)
        return new

    module(
        "eventlet",
        __version__="0.0-native-threads",
        Semaphore=threading.Semaphore,
        GreenPool=GreenPool,
        sleep=time.sleep,
        spawn=GreenThread,
        spawn_n=GreenThread,
        monkey_patch=_no_patching,
    )
    module("eventlet.pools", Pool=Pool)
    module("eventlet.semaphore", Semaphore=threading.Semaphore)
    module("eventlet.greenpool", GreenPool=GreenPool)
    module("eventlet.greenthread", sleep=time.sleep, spawn=GreenThread, GreenThread=GreenThread)
    module("eventlet.patcher", is_monkey_patched=lambda _module: False, monkey_patch=_no_patching, original=__import__)
    module(
        "eventlet.tpool",
        Proxy=lambda wrapped, autowrap=(): wrapped,  # noqa: ARG005  # eventlet's parameter name
        execute=lambda function, *args, **kwargs: function(*args, **kwargs),
        set_num_threads=lambda _count: None,
        killall=lambda: None,
    )
    module("eventlet.green")
    module("eventlet.green.threading", **_public(threading))
    return modules_by_name
