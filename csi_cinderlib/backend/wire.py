"""Calls between two processes over one socket, in both directions and many at once.

The standard library's managers were measured against this: each thread that calls gets a connection of its own there, and a thread at
the other end, which with 128 server threads and ten back ends makes 1,280 of each.
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
"""Answered by the thread that reads, so that it tells whether the other process runs at all."""

Handlers = Mapping[str, Callable[..., Any]]
Within = Callable[[Any], AbstractContextManager[None]]
"""What surrounds a call that is carried out, given its caller's context."""
Frame = tuple[int, int, str, Any, Any]
"""What it is; the call's number; the name of what is called; positional arguments, or the answer; named arguments and the context."""
_log = logs.logger(__name__)


class Gone(Exception):
    """The other process has ended, or the connection was closed."""


class Unexpected(Exception):
    """What the other process raised is none of our errors: a bug. Its traceback is in that process's log."""


def _no_context() -> Any:
    return None


def _without_context(_context: Any) -> AbstractContextManager[None]:
    return nullcontext()


class Peer:
    """One end. Calls what the other end offers, and carries out what it calls, in threads.

    Args:
        handlers: what the other end may call, by name.
        threads: how many of its calls run here at one time.
        context: what goes along with each call that this thread makes; picklable.
        within: what surrounds each call that is carried out here, given that context.
        gone: called once, in a thread of this peer, when the other end is gone.
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
        """Read and write from now on. Raises RuntimeError when no thread can be started."""
        self._pool.submit(_no_context).result()  # one thread at least, so that no call is left lying
        self._writer.start()
        self._reader.start()

    def call(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        """Call what the other end offers under that name, and return what it returns.

        Raises:
            DriverError: as the other end raised it.
            Unexpected: it raised something else.
            Gone: there is no other end any more; nobody knows how far the call came.
            Unsendable: an argument is of a type that the other end does not know.
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
        """As `call`, without an answer. Does nothing when the other end is gone."""
        self._send(frames.dump((NOTE, 0, name, arguments, None)))

    @property
    def calls(self) -> int:
        """How many calls are waiting for their answers."""
        return len(self._waiting)

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no call waits for its answer; False when the time was over first."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        """Give the connection up; calls that wait for an answer end with Gone.

        The thread that reads closes it: closed here, its number could be another file's before that thread knows.
        """
        self._end()
        self._shut_down()

    def _shut_down(self) -> None:
        with self._closing, suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def _send(self, frame: bytes) -> None:
        """Never waits: the other process may have stopped reading."""
        self._outgoing.put(frame)

    def _write(self) -> None:
        """Either this thread or the one that reads may be the first, or the only one, to notice a broken connection."""
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
        """None when there is no other end any more."""
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
            ):  # the line ends just now, or no further thread can be started: another one will do
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
        with suppress(Gone):  # the question came from a process that is gone, or needs one
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
    """The answer, whatever happens: the caller waits for it without limit. Raises Gone alone."""
    _, number, name, arguments, (named, context) = call
    try:
        with within(context):
            answer = handlers[name](*arguments, **named)
            return frames.dump((ANSWER, number, name, answer, None))
    except Gone:
        raise
    except BaseException as error:  # also SystemExit, which would only end this thread
        with within(context):
            return _failure(number, name, error)


def _failure(number: int, name: str, error: BaseException) -> bytes:
    if isinstance(error, DriverError):
        with suppress(frames.Unsendable):
            return frames.dump((FAILURE, number, name, error, None))
    _log.exception("unexpected error", error, call=name)  # a driver's bug
    words = "".join(traceback.format_exception_only(error)).strip()  # whose own text may raise as well
    return frames.dump((FAILURE, number, name, Unexpected(f"unexpected {words}"), None))
