"""Concurrent calls in both directions between two processes over one socket.

The standard library's managers use a connection and a remote thread for each calling thread: 1,280 of each with 128 server
threads and ten back ends.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Final

from csi_cinderlib.backend import frames
from csi_cinderlib.errors import DriverError
from csi_cinderlib.observe import logs

CALL: Final = 0
ANSWER: Final = 1
FAILURE: Final = 2
NOTE: Final = 3
PING = "ping"
"""Answered by the reader thread: checks that the other process is running."""

Handlers = Mapping[str, Callable[..., Any]]
Within = Callable[[Any], AbstractContextManager[None]]
"""A context manager around each served call; receives the caller's context."""
Frame = tuple[int, int, str, Any, Any]
"""Kind; number of the call; name of the function; positional arguments, or the answer; named arguments and the context."""
_log = logs.logger(__name__)


class Gone(Exception):
    """The other process has ended, or the connection was closed."""


class Unexpected(Exception):
    """The other process raised an error that is not a DriverError, which is a bug. Its log has the traceback."""


def _no_context() -> Any:
    return None


def _without_context(_context: Any) -> AbstractContextManager[None]:
    return nullcontext()


class Peer:
    """One end. Calls the other end's handlers, and serves its calls in threads.

    Args:
        handlers: the functions that the other end may call, by name.
        threads: the number of calls served concurrently.
        context: returns the context to send with a call of this thread; picklable.
        within: surrounds each served call; receives the caller's context.
        gone: called once, in a thread of this peer, when the other end has closed.
    """

    def __init__(
        self,
        connection: Connection,
        handlers: Handlers,
        *,
        name: str,
        threads: int,
        context: Callable[[], Any] = _no_context,
        within: Within = _without_context,
        gone: Callable[[], None] = _no_context,
    ) -> None:
        self._connection = connection
        self._handlers = handlers
        self._context = context
        self._within = within
        self._gone = gone
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._guard = threading.Lock()
        self._idle = threading.Condition(self._guard)
        self._closing = threading.Lock()
        self._is_closed = False
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name=f"{name}-writer", daemon=True)
        self._reader = threading.Thread(target=self._read, name=f"{name}-reader", daemon=True)

    def start(self) -> None:
        """Start to read and write. Raises RuntimeError if no thread can be started."""
        self._pool.submit(_no_context).result()  # at least one thread, so that every call is served
        self._writer.start()
        self._reader.start()

    def call(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        """Call the other end's handler of that name and return its result.

        Raises:
            DriverError: as the other end raised it.
            Unexpected: it raised something else.
            Gone: the other end has closed; the state of the call is unknown.
            Unsendable: an argument has a type that the other end does not know.
        """
        return self.begin(name, *arguments, **named).result()

    def begin(self, name: str, /, *arguments: Any, **named: Any) -> Future[Any]:
        """As `call`, without waiting."""
        number: int = next(self._numbers)
        future: Future[Any] = Future()
        frame = frames.dump((CALL, number, name, arguments, (named, self._context())))
        with self._guard:
            if self._is_closed:
                raise Gone
            self._waiting[number] = future
        self._send(frame)
        return future

    def tell(self, name: str, /, *arguments: Any) -> None:
        """As `call`, without an answer. Does nothing if the other end has closed."""
        self._send(frames.dump((NOTE, 0, name, arguments, None)))

    @property
    def calls(self) -> int:
        """The number of calls in progress."""
        return len(self._waiting)

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no call is in progress. False on timeout."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        """Close the connection; calls in progress raise Gone.

        The reader thread closes the descriptor. Closed here, its number could be reused before that thread notices.
        """
        self._end()
        self._shut_down()

    def _shut_down(self) -> None:
        with self._closing, suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def _send(self, frame: bytes) -> None:
        """Never blocks: the other process may have stopped reading."""
        self._outgoing.put(frame)

    def _write(self) -> None:
        """The writer or the reader may be the first, or the only thread, to notice a broken connection."""
        try:
            while (frame := self._outgoing.get()) is not None:
                self._connection.send_bytes(frame)
        except (OSError, ValueError):
            self._end()
            self._leave()

    def _read(self) -> None:
        try:
            while (data := self._receive()) is not None:
                self._take(frames.load(data))
        except Exception as error:
            _log.exception("unreadable frame", error)
        self._end()
        self._shut_down()
        self._outgoing.put(None)
        self._writer.join()
        with self._closing:
            self._connection.close()
        self._leave()

    def _leave(self) -> None:
        with self._guard:
            gone, self._gone = self._gone, _no_context
        gone()

    def _receive(self) -> bytes | None:
        """None if the other end has closed."""
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def _take(self, frame: Frame) -> None:
        what, number, name, body, _ = frame
        if what == CALL and name == PING:
            self._send(frames.dump((ANSWER, number, name, None, None)))
        elif what == CALL:
            with suppress(
                RuntimeError
            ):  # the connection is closing, or no further thread can be started: an existing one takes the call
                self._pool.submit(self._carry_out, frame)
        elif what == NOTE:
            self._handlers[name](*body)
        elif (future := self._taken(number)) is not None:
            if what == ANSWER:
                future.set_result(body)
            else:
                future.set_exception(body)

    def _taken(self, number: int) -> Future[Any] | None:
        with self._guard:
            future = self._waiting.pop(number, None)
            if not self._waiting:
                self._idle.notify_all()
        return future

    def _carry_out(self, frame: Frame) -> None:
        with suppress(Gone):  # the caller has gone, or the handler needs another process that has gone
            self._send(carry_out(self._handlers, frame, self._within))

    def _end(self) -> None:
        with self._guard:
            self._is_closed = True
            waiting, self._waiting = self._waiting, {}
            self._idle.notify_all()
        for future in waiting.values():
            future.set_exception(Gone())
        self._pool.shutdown(wait=False)


def carry_out(handlers: Handlers, call: Frame, within: Within = _without_context) -> bytes:
    """Serve a call and return the answer frame. Raises only Gone: the caller waits for the answer without a timeout."""
    _, number, name, arguments, (named, context) = call
    try:
        with within(context):
            answer = handlers[name](*arguments, **named)
            return frames.dump((ANSWER, number, name, answer, None))
    except Gone:
        raise
    except BaseException as error:  # including SystemExit, which would only end this thread
        with within(context):
            return _failure(number, name, error)


def _failure(number: int, name: str, error: BaseException) -> bytes:
    if isinstance(error, DriverError):
        with suppress(frames.Unsendable):
            return frames.dump((FAILURE, number, name, error, None))
    _log.exception("unexpected error", error, call=name)  # a driver's bug
    words = "".join(traceback.format_exception_only(error)).strip()  # str() of the error may raise as well
    return frames.dump((FAILURE, number, name, Unexpected(f"unexpected {words}"), None))
