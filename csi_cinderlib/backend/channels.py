"""Calls to a driver process, each with exclusive use of a socket: a call wakes one thread in each process.

A call through `wire.Peer` wakes six threads, but works in both directions and need not block its caller.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from csi_cinderlib.backend import frames
from csi_cinderlib.backend.wire import ANSWER, CALL, NOTE, Frame, Gone, Handlers, Peer, Within, carry_out

MOST_IDLE = 16
"""Per back end, since a process may have only 1,024 open files. Opening a channel costs as much as a few empty calls."""
_LENGTH: Final = struct.Struct("!Q")
_BUFFER: Final = 1 << 14
"""Bytes. Most frames are read by one system call."""
_HELLO: Final = b"\0"
"""Sent by the thread that serves a new channel."""


class Channel:
    """One end of a socket. A thread that waits for an answer serves calls from the other end in the meantime."""

    def __init__(self, link: socket.socket, handlers: Handlers) -> None:
        link.settimeout(None)  # some drivers change the default timeout
        self._socket = link
        self._incoming = link.makefile("rb", _BUFFER)
        self._handlers = handlers

    def send(self, frame: bytes) -> None:
        """Raises OSError."""
        self._socket.sendall(_LENGTH.pack(len(frame)) + frame)

    def receive(self) -> Frame:
        """Raises EOFError if the other end has closed, or OSError."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        frame: Frame = frames.load(self._read(length))
        return frame

    def exchange(self, call: bytes) -> Frame:
        """Send a call and return the answer. Raises as `receive` does."""
        self.send(call)
        while True:
            frame = self.receive()
            what, _, name, body, _ = frame
            if what == CALL:
                self.send(carry_out(self._handlers, frame))
            elif what == NOTE:
                self._handlers[name](*body)
            else:
                return frame

    def greet(self) -> None:
        self._socket.sendall(_HELLO)

    def is_greeted(self) -> bool:
        """Wait for the thread at the other end. False if there is none."""
        with suppress(OSError):
            return bool(self._incoming.read(len(_HELLO)))
        return False

    def shut_down(self) -> None:
        """Wake the threads that wait at either end; they find the channel closed."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._incoming.close()
        self._socket.close()

    def _read(self, size: int) -> bytes:
        data: bytes = self._incoming.read(size)
        if len(data) < size:
            raise EOFError
        return data


class Channels:
    """The controller's ends. Thread-safe.

    Args:
        doorbell: passes the other ends to the driver process.
        handlers: what the driver may call during a call; run by the thread that waits for the call.
        peer: makes the call if no channel is available.
        context: see `Peer`.
        broken: called when a channel in use ends without having been closed by this process.
        most_idle: idle channels to keep. Each has a thread in the driver process.
    """

    def __init__(
        self,
        doorbell: socket.socket,
        handlers: Handlers,
        peer: Peer,
        *,
        context: Callable[[], Any],
        broken: Callable[[], None],
        most_idle: int = MOST_IDLE,
    ) -> None:
        doorbell.setblocking(False)
        self._doorbell = doorbell
        self._handlers = handlers
        self._peer = peer
        self._context = context
        self._broken = broken
        self._most_idle = most_idle
        self._idle: list[Channel] = []
        self._fewest_idle = 0
        self._used: set[Channel] = set()
        self._is_closed = False
        self._guard = threading.Lock()
        self._unused = threading.Condition(self._guard)

    def call(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        """As `Peer.call`."""
        call = frames.dump((CALL, 0, name, arguments, (named, self._context())))
        if (channel := self._take()) is None:
            return self._peer.call(name, *arguments, **named)
        try:
            what, _, _, body, _ = channel.exchange(call)
        except BaseException as error:
            self._drop(channel)
            self._broken()
            if isinstance(error, EOFError | OSError):
                raise Gone from None
            raise
        self._give_back(channel)
        if what == ANSWER:
            return body
        raise body

    @property
    def calls(self) -> int:
        """The number of calls in progress."""
        return len(self._used)

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no call is in progress. False on timeout."""
        with self._unused:
            return self._unused.wait_for(lambda: not self._used, seconds)

    def close_unneeded(self) -> None:
        """Close the channels that have been idle since the last call of this method: each holds files at both ends, and a thread."""
        with self._guard:
            for channel in self._idle[: self._fewest_idle]:
                channel.close()
            del self._idle[: self._fewest_idle]
            self._fewest_idle = len(self._idle)

    def close(self) -> None:
        """Close all channels; calls in progress raise Gone."""
        with self._guard:
            self._is_closed = True
            self._broken = _nothing  # break the reference cycle
            for channel in (*self._idle, *self._used):
                channel.shut_down()
            while self._idle:
                self._idle.pop().close()
            with suppress(OSError):
                self._doorbell.shutdown(socket.SHUT_RDWR)
            self._doorbell.close()

    def _take(self) -> Channel | None:
        """A channel, or None if none is available. Raises Gone."""
        with self._guard:
            if self._is_closed:
                raise Gone
            if self._idle:
                channel = self._idle.pop()
                self._used.add(channel)
                self._fewest_idle = min(self._fewest_idle, len(self._idle))
                return channel
        return self._open()

    def _open(self) -> Channel | None:
        try:
            ours, theirs = socket.socketpair()
        except OSError:  # out of file descriptors
            return None
        channel = Channel(ours, self._handlers)
        with theirs, self._guard, suppress(OSError):  # closed, or full
            self._used.add(channel)
            self._fewest_idle = 0
            socket.send_fds(self._doorbell, [_HELLO], [theirs.fileno()])
        if channel.is_greeted():
            return channel
        self._drop(channel)
        return None

    def _give_back(self, channel: Channel) -> None:
        with self._guard:
            self._used.remove(channel)
            if self._is_closed or len(self._idle) >= self._most_idle:
                channel.close()
            else:
                self._idle.append(channel)
            self._unused.notify_all()

    def _drop(self, channel: Channel) -> None:
        """Close under the guard, so that `close` never uses a descriptor number that has been reused."""
        with self._guard:
            self._used.remove(channel)
            channel.close()
            self._unused.notify_all()


class Serving:
    """The driver's ends.

    Args:
        doorbell: receives new channels.
        handlers: what the controller may call, by name.
        peer: carries calls and notes from threads without a channel.
        within: see `Peer`.
        gone: called when a channel fails that the controller has not closed.
    """

    def __init__(
        self, doorbell: socket.socket, handlers: Handlers, peer: Peer, *, within: Within, gone: Callable[[], None]
    ) -> None:
        self._doorbell = doorbell
        self._handlers = handlers
        self._peer = peer
        self._within = within
        self._gone = gone
        self._own = threading.local()

    def start(self) -> None:
        """Serve until the controller has ended."""
        os.register_at_fork(after_in_child=self._leave_to_parent)
        threading.Thread(target=self._accept, name="channels", daemon=True).start()

    def call(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        """Call the controller. During a call, the thread that waits for that call answers. Raises as `Peer.call` does."""
        channel: Channel | None = getattr(self._own, "channel", None)
        if channel is None:
            return self._peer.call(name, *arguments, **named)
        question = frames.dump((CALL, 0, name, arguments, (named, None)))
        try:
            what, _, _, body, _ = channel.exchange(question)
        except (EOFError, OSError):
            raise Gone from None
        except BaseException:  # RecursionError, for example; the next call would receive the unread answer
            channel.shut_down()
            raise
        if what == ANSWER:
            return body
        raise body

    def tell(self, name: str, /, *arguments: Any) -> None:
        """As `call`, without an answer."""
        channel: Channel | None = getattr(self._own, "channel", None)
        if channel is None:
            self._peer.tell(name, *arguments)
            return
        with suppress(OSError):
            channel.send(frames.dump((NOTE, 0, name, arguments, None)))

    def _leave_to_parent(self) -> None:
        """In a process forked by a driver: the copied thread must not answer the call as well."""
        channel: Channel | None = getattr(self._own, "channel", None)
        if channel is not None:
            channel.close()

    def _accept(self) -> None:
        request = _HELLO
        with self._doorbell:
            while request:
                request, files, _, _ = socket.recv_fds(self._doorbell, 1, 1)
                for number in files:  # none if this process is out of descriptors
                    link = socket.socket(fileno=number)
                    link.set_inheritable(False)  # `recv_fds` of Python 3.11 ignores MSG_CMSG_CLOEXEC
                    _start(self._serve, link)

    def _serve(self, link: socket.socket) -> None:
        """Until the controller closes it."""
        channel = self._own.channel = Channel(link, self._handlers)
        try:
            channel.greet()
            while True:
                channel.send(carry_out(self._handlers, channel.receive(), self._within))
        except EOFError:
            channel.close()
        except (OSError, Gone):  # a driver has closed descriptors that are not its own, for example
            self._gone()


def _nothing() -> None:
    """The end of the channel is already known."""


def _start(serve: Callable[[socket.socket], None], link: socket.socket) -> None:
    """Serve a channel in a new thread. Without a thread, close the link; the controller then uses `Peer`."""
    try:
        threading.Thread(target=serve, args=(link,), name="channel", daemon=True).start()
    except RuntimeError:
        link.close()
