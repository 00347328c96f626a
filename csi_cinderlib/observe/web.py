"""A small HTTP server for figures and health: GET only, one thread, a few paths."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from csi_cinderlib.errors import ConfigurationError

Answer = tuple[int, str, bytes]
"""HTTP status, content type, body."""

SLOWEST_CLIENT = 5.0
"""Seconds that a client may take to send its request: a silent one must not hold a thread for ever."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Callable[[], Answer]]) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SLOWEST_CLIENT
    server_version, sys_version = "csi-cinderlib", ""

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        status, content_type, body = page() if page else (404, "text/plain", b"no such page\n")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes and probes are not worth a line."""


def parse_address(key: str, address: str) -> tuple[str, int]:
    """`HOST:PORT`, `[V6]:PORT` or `:PORT` (all addresses) as host and port.

    Raises:
        ConfigurationError: it is none of these; `key` is the setting's name.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(key, f"{address!r} is not HOST:PORT")
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - asked for by an empty host
    return host.strip("[]") or everywhere, int(port)


def serve(key: str, address: str, pages: Mapping[str, Callable[[], Answer]]) -> Callable[[], None]:
    """Answer these paths in a thread; call the result to stop.

    Raises:
        ConfigurationError: the address is wrong or taken.
    """
    host, port = parse_address(key, address)
    try:
        server = _Server((host, port), pages)
    except OSError as error:
        raise ConfigurationError(key, f"cannot listen on {address!r}: {error.strerror}") from None
    threading.Thread(target=server.serve_forever, name=f"http-{port}", daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop
