"""HTTP on one connection of the administration socket."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from csi_cinderlib import errors
from csi_cinderlib.app.routes import SERVER, Request, Routes
from csi_cinderlib.errors import DriverError, InvalidRequest
from csi_cinderlib.observe import logs, redact

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_STATUS: tuple[tuple[type[DriverError], int], ...] = (
    (errors.NotFound, 404),
    (errors.InvalidRequest, 400),
    (errors.ConfigurationError, 400),
    (errors.Unsupported, 405),
    (errors.OperationPending, 409),
    (errors.AlreadyExists, 409),
    (errors.PreconditionFailed, 409),
    (errors.NotReady, 503),
)
LONGEST_BODY = 1 << 16
"""Bytes."""

_log = logs.logger(__name__)


def serve(connection: socket.socket, routes: Routes, seconds: float) -> None:
    """Read one request and answer it.

    Args:
        seconds: limit for the client to send the request and to read the response.

    Raises:
        OSError: the client disconnects or is too slow.
    """
    _Handler(connection, routes, seconds)


class _Request(io.RawIOBase):
    """Data of the client with a time limit for the whole request: a limit for each read would not bound the total time."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._connection.settimeout(max(0.001, self._until - time.monotonic()))
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = SERVER, ""

    def __init__(self, connection: socket.socket, routes: Routes, seconds: float) -> None:
        self._routes = routes
        self._seconds = seconds
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]  # there is no server object

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Request(self.connection, self._seconds))

    def do_GET(self) -> None:
        try:
            status, answer = 200, redact.mapping(self._routes.answer(self._request()))
        except DriverError as error:
            status, answer = next((code for kind, code in _STATUS if isinstance(error, kind)), 500), _told(error)
        except OSError:
            raise
        except Exception as error:
            _log.exception("administration request failed", error, method=self.command, path=self.path)
            message = f"unexpected {type(error).__name__}; see the log of the process"
            status, answer = 500, {"error": type(error).__name__, "message": message}
        self._send(status, answer)

    do_PUT = do_POST = do_GET

    def _request(self) -> Request:
        """Raises InvalidRequest."""
        try:
            parts = urlsplit(self.path)
        except ValueError:
            raise InvalidRequest("path", "must be a path") from None
        return Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            body=self._body(),
        )

    def _body(self) -> Mapping[str, object]:
        length = self.headers.get("Content-Length", "0")
        is_number = length.isascii() and length.isdecimal() and len(length) < 10  # int() refuses thousands of digits
        if not is_number or int(length) > LONGEST_BODY:
            raise InvalidRequest("Content-Length", f"must be at most {LONGEST_BODY}")
        if not (data := self.rfile.read(int(length))):
            return {}
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            raise InvalidRequest("body", "must be JSON") from None
        if not isinstance(body, dict):
            raise InvalidRequest("body", "must be a JSON object")
        return body

    def _send(self, status: int, answer: Mapping[str, object]) -> None:
        data = json.dumps(answer, ensure_ascii=False, default=str).encode(errors="replace") + b"\n"
        self.connection.settimeout(self._seconds)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged; changes are logged where they are made."""


def _told(error: DriverError) -> dict[str, object]:
    return {"error": type(error).__name__, "message": redact.text(str(error))}
