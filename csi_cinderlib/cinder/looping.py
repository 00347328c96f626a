"""End oslo.service's looping calls with their back end.

Drivers use looping calls in two ways. Some run in the background as long as the service runs: they keep a session alive, refresh a
token or purge a trash. In Cinder they end with the process. Others wait for the array during a call, which uses their result; they
end with their call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any

from csi_cinderlib.concurrency import LateLock
from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)
STOP_SECONDS = 2.0
"""How long a stop waits for looping calls, which may hang. Their threads do not keep the process alive."""


class Done:
    """Replaces oslo.service's `FutureEvent`, which a looping call's `start` returns: a future for its result."""

    def __init__(self) -> None:
        self._result: Future[Any] = Future()
        self._refusal: BackendUnavailable | None = None
        self.is_awaited = False

    def send(self, result: object) -> None:
        self._result.set_result(result)

    def send_exception(self, _type: object, error: BaseException, traceback: TracebackType | None) -> None:
        self._result.set_exception(error.with_traceback(traceback))

    def fail(self, error: BaseException) -> None:
        """Wake waiters after the looping call has ended without a result."""
        if not self._result.done():
            self._result.set_exception(error)

    def refuse(self, backend: str) -> None:
        """The back end is stopped: the end of the looping call must not count as success."""
        self._refusal = BackendUnavailable(backend, "the back end was stopped during the call")

    def wait(self, timeout: float | None = None) -> Any:
        """Raises BackendUnavailable after `refuse`, or what the function of the looping call raised."""
        self.is_awaited = True
        if self._refusal is None:
            wait([self._result], timeout)
        if self._refusal is not None:  # also if `refuse` was called during the wait
            raise self._refusal
        return self._result.result(0)


class LoopingCalls:
    """The running looping calls of a back end. Thread-safe."""

    def __init__(self) -> None:
        self._guard = LateLock()
        self._running: dict[Any, threading.Thread] = {}

    def stop(self, backend: str) -> None:
        """Stop the looping calls that no call waits for, and wait shortly for their end.

        Args:
            backend: the back end's name, for the log.
        """
        with self._guard:
            stopped = {call: thread for call, thread in self._running.items() if not call.done.is_awaited}
        for call in stopped:
            call.done.refuse(backend)
            call.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for call, thread in stopped.items():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _log.warning("looping call still running after the stop", backend=backend, call=_name(call))

    def start(self, call: Any, loop: Callable[[], None]) -> threading.Thread:
        """Run a looping call in its own thread."""

        go = threading.Event()  # as in oslo.service, the loop starts after the thread is stored

        def run() -> None:
            go.wait()
            try:
                loop()
            except BaseException as error:
                call.done.fail(error)
                raise
            finally:
                call._on_done()
                with self._guard:
                    self._running.pop(call, None)

        thread = threading.Thread(target=run, name=f"looping call {_name(call)}", daemon=True)
        with self._guard:
            self._running[call] = thread
        thread.start()
        go.set()
        return thread


def _name(call: Any) -> str:
    return str(getattr(call.f, "__qualname__", call.f))
