"""Enough of a Kubernetes API server to be read: objects by path, lists of what lies below, and refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


@dataclass
class ApiServer:
    """What it has, and what it was asked.

    Attributes:
        objects: by path.
        lists: the paths that can be listed; those below `objects` are found.
        forbidden: the last words of paths that are answered with 403.
        asked: method and path of each request.
    """

    objects: dict[str, Json] = field(default_factory=dict)
    lists: dict[str, list[Json]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def kubeconfig(self, path: Path) -> Path:
        """Written there."""
        content = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "default"}}],
            "clusters": [{"name": "it", "cluster": {"server": self.url}}],
            "users": [{"name": "it", "user": {"token": "token"}}],
        }
        path.write_text(json.dumps(content))
        return path

    def answer(self, method: str, target: str) -> tuple[int, Json]:
        parts = urlsplit(target)
        self.asked.append((method, parts.path))
        last = parts.path.rpartition("/")[2]
        if self.forbidden & set(parts.path.split("/")):
            return 403, {
                "reason": "Forbidden",
                "message": f'{last} is forbidden: User "u" cannot get resource "{last}"',
            }
        if parts.path in self.lists:
            return 200, self._page(self.lists[parts.path], parse_qs(parts.query))
        if parts.path in self.objects:
            return 200, self.objects[parts.path]
        return 404, {"reason": "NotFound", "message": f"{last} not found"}

    @staticmethod
    def _page(items: list[Json], query: dict[str, list[str]]) -> Json:
        limit, start = int(query.get("limit", ["500"])[0]), int(query.get("continue", ["0"])[0])
        end = start + limit
        return {"items": items[start:end], "metadata": {"continue": str(end) if end < len(items) else ""}}


@contextmanager
def serving() -> Iterator[ApiServer]:
    api = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, answer = api.answer(self.command, self.path)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

        def log_message(self, *_args: object) -> None:
            """Not told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
