"""A small HTTP server for metrics and health checks: GET only, optionally with TLS and a bearer token.

The server of prometheus_client 0.26 supports no token, never reloads its certificate, and does the TLS handshake in the accepting
thread, so that one silent client blocks all others.
"""

from __future__ import annotations

import hmac
import socket
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import logs

if TYPE_CHECKING:
    import ssl

Answer = tuple[int, str, bytes]
"""HTTP status, content type, body."""

SLOWEST_CLIENT = 5.0
"""Seconds for a client to send its request, so that a silent client does not occupy a thread for ever."""
MOST_CLIENTS = 64
"""Simultaneous connections. A further one closes the oldest, so that a client with many connections cannot block the kubelet's probe."""

_FORBIDDEN: Answer = (401, "text/plain", b"the bearer token is missing or wrong\n")
_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """TLS and authentication of clients. All files are reloaded when they change.

    Attributes:
        certificate_file: certificate with chain for TLS, PEM; "" means plain HTTP.
        key_file: private key of the certificate, PEM.
        token_file: contains the bearer token; "" means no token.
    """

    certificate_file: str = ""
    key_file: str = ""
    token_file: str = ""


UNPROTECTED = Protection()


class _Certificate:
    """TLS with the current certificate of the files.

    Raises:
        ConfigurationError: the files cannot be used. After the start such an error is logged, and the previous certificate stays in use.
    """

    def __init__(self, protection: Protection) -> None:
        self._files = (protection.certificate_file, protection.key_file)
        self._lock = threading.Lock()
        self._trouble = ""
        self._seen, self._context = self._stamps(), self._load()

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Raises OSError if the handshake fails."""
        return self._current().wrap_socket(connection, server_side=True)

    def _current(self) -> ssl.SSLContext:
        with self._lock:
            if (stamps := self._stamps()) != self._seen:
                try:
                    self._context = self._load()
                    self._seen, self._trouble = stamps, ""
                except (
                    ConfigurationError
                ) as error:  # the other file may be replaced a moment later: retry at the next connection
                    if str(error) != self._trouble:
                        _log.error("TLS certificate reload failed", reason=str(error))
                    self._trouble = str(error)
            return self._context

    def _stamps(self) -> tuple[object, ...]:
        """Stamps that change when a file is written or replaced."""
        stamps: list[object] = []
        for file in self._files:
            with suppress(OSError):
                status = Path(file).stat()
                stamps.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamps)

    def _load(self) -> ssl.SSLContext:
        import ssl  # imported only if TLS is used

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # An encrypted key would ask for its password on the terminal.
            context.load_cert_chain(*self._files, password=lambda: b"")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ConfigurationError(" and ".join(self._files), f"cannot be used for TLS: {reason}") from None
        return context


class _Token:
    """The current bearer token of a file.

    Raises:
        ConfigurationError: the file contains no token. After the start such an error is logged, and all clients are refused.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._trouble = ""
        self._read()

    def admits(self, authorization: str) -> bool:
        """Whether the header contains the token."""
        scheme, _, word = authorization.strip().partition(" ")
        try:
            token = self._read()
        except ConfigurationError as error:
            if str(error) != self._trouble:
                _log.error("bearer token not usable", reason=str(error))
            self._trouble = str(error)
            return False
        self._trouble = ""
        return scheme.lower() == "bearer" and hmac.compare_digest(word.strip().encode(), token)

    def _read(self) -> bytes:
        try:
            token = Path(self._file).read_bytes().strip()
        except OSError as error:
            raise ConfigurationError(self._file, f"cannot be read: {error.strerror}") from None
        if not token or not token.isascii() or len(token.split()) != 1:
            raise ConfigurationError(self._file, "must contain a token: one word of ASCII characters")
        return token


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = MOST_CLIENTS

    def __init__(
        self, address: tuple[str, int], pages: Mapping[str, Callable[[], Answer]], protection: Protection
    ) -> None:
        self.pages = pages
        self._token = _Token(protection.token_file) if protection.token_file else None
        self._certificate = _Certificate(protection) if protection.certificate_file else None
        self._connections: OrderedDict[socket.socket, None] = OrderedDict()
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def admits(self, authorization: str) -> bool:
        """Whether a client with that header is authorized."""
        return self._token is None or self._token.admits(authorization)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Runs in the accepting thread and must not wait for the client."""
        request.settimeout(SLOWEST_CLIENT)
        with self._lock:
            self._connections[request] = None
            if len(self._connections) > MOST_CLIENTS:
                oldest, _ = self._connections.popitem(last=False)
                with suppress(OSError):  # its thread may have closed it
                    oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the thread of the connection."""
        if self._certificate is None:
            super().finish_request(request, client_address)
            return
        with self._certificate.wrap(
            request.dup()
        ) as encrypted:  # `request` stays usable for a shutdown from another thread
            super().finish_request(encrypted, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # socketserver's signature
        """Log a failing page, but not a client that disconnects or does not use HTTP."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):
            _log.exception("HTTP page failed", error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "csi-cinderlib", ""

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        if not self.server.admits(self.headers.get("Authorization", "")):
            status, content_type, body = _FORBIDDEN
        else:
            status, content_type, body = page() if page else (404, "text/plain", b"no such page\n")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status == _FORBIDDEN[0]:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes and probes are not logged."""


def parse_address(key: str, address: str) -> tuple[str, int]:
    """`HOST:PORT`, `[V6]:PORT` or `:PORT` (all addresses) as host and port.

    Raises:
        ConfigurationError: the form is different; `key` is the name of the setting.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(key, f"must be HOST:PORT (got {address!r})")
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - requested by an empty host
    return host.strip("[]") or everywhere, int(port)


def serve(
    key: str, address: str, pages: Mapping[str, Callable[[], Answer]], protection: Protection = UNPROTECTED
) -> Callable[[], None]:
    """Serve these paths in a thread; call the result to stop.

    Raises:
        ConfigurationError: the address is invalid or in use, or a file of the protection cannot be used.
    """
    host, port = parse_address(key, address)
    try:
        server = _Server((host, port), pages, protection)
    except OSError as error:
        raise ConfigurationError(key, f"cannot listen on {address!r}: {error.strerror}") from None
    threading.Thread(target=server.serve_forever, name=f"http-{port}", daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop
