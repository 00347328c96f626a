"""Bytes that are no request, and connections that behave as no client does."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

HUGE = 5 * 1024**2
"""More than gRPC takes in one message."""
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_PATH = b"/csi.v1.Identity/Probe"
_HEADERS = b"".join(
    b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", _PATH),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
)
"""HPACK's literals without indexing."""
METHODS = (
    "/",
    "",
    "/csi.v1.Node/NodeStage",
    "/csi.v1.Nobody/Probe",
    "/csi.v1.Controller/ControllerModifyVolume",
    "/x" * 2000,
    "/é",
)


def distort(rng: random.Random, payload: bytes) -> bytes:
    """A request's bytes, damaged, or others."""
    return rng.choice(_WAYS)(rng, payload)


def _flip(rng: random.Random, payload: bytes) -> bytes:
    damaged = bytearray(payload or b"\0")
    for _ in range(rng.choice((1, 1, 3, 20))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _truncate(rng: random.Random, payload: bytes) -> bytes:
    return payload[: rng.randrange(len(payload) + 1)]


def _randomize(rng: random.Random, _payload: bytes) -> bytes:
    return rng.randbytes(rng.choice((1, 7, 100, 4000)))


def _surrogate(rng: random.Random, payload: bytes) -> bytes:
    """UTF-8 has no surrogates: protobuf's texts may not hold these bytes."""
    at = rng.randrange(len(payload) + 1)
    return payload[:at] + b"\xed\xa0\x80" + payload[at + 3 :]


def _repeat(rng: random.Random, payload: bytes) -> bytes:
    """Messages that follow one another are one message."""
    return payload * rng.choice((2, 3, 50))


def _nest(rng: random.Random, payload: bytes) -> bytes:
    """Groups, which protobuf 3 knows as unknown fields only, one in another."""
    return payload + b"\x53" * rng.choice((10, 99, 101, 20_000))


_WAYS: Sequence[Callable[[random.Random, bytes], bytes]] = (
    _flip,
    _flip,
    _flip,
    _truncate,
    _randomize,
    _surrogate,
    _repeat,
    _nest,
)


def connect(rng: random.Random, path: Path) -> None:
    """Connect to the socket, send something, and go."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(rng.choice(_CONVERSATIONS)(rng))
        if rng.random() < 0.5:
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _open_call(rng: random.Random) -> bytes:
    """A call whose request does not end."""
    begun = _PREFACE + _SETTINGS + _frame(1, 4, 1, _HEADERS)
    return begun + rng.choice((b"", _frame(0, 0, 1, b"\0\0\0\0\5"), _frame(0, 0, 1, b"\0\xff\xff\xff\xff")))


def _reset_call(_rng: random.Random) -> bytes:
    return _PREFACE + _SETTINGS + _frame(1, 4, 1, _HEADERS) + _frame(3, 0, 1, b"\0\0\0\x08")


def _reset_often(_rng: random.Random) -> bytes:
    """Calls that are begun and cancelled at once, as in the attack called Rapid Reset."""
    calls = (
        _frame(1, 4, 2 * number + 1, _HEADERS) + _frame(3, 0, 2 * number + 1, b"\0\0\0\x08") for number in range(300)
    )
    return _PREFACE + _SETTINGS + b"".join(calls)


def _wrong_frame(rng: random.Random) -> bytes:
    frame = _frame(
        rng.randrange(256), rng.randrange(256), rng.choice((0, 1, 2**31 - 1)), rng.randbytes(rng.choice((0, 4, 300)))
    )
    return _PREFACE + _SETTINGS + frame


_CONVERSATIONS: Sequence[Callable[[random.Random], bytes]] = (
    _open_call,
    _reset_call,
    _reset_often,
    _wrong_frame,
    lambda rng: rng.randbytes(200),
    lambda _: b"GET / HTTP/1.1\r\n\r\n",
    lambda _: _PREFACE[:10],
    lambda _: b"",
)
