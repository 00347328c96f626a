"""A live copy of objects, from a server that tells changes as Kubernetes does. On an API server: tests/cluster/store."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from csi_cinderlib.persistence.kubernetes.rest import READ_SECONDS, Access, ApiError, Client
from csi_cinderlib.persistence.kubernetes.watching import Watch
from tests.support.running import wait_for

Json = dict[str, Any]
END = "end"


@dataclass
class Server:
    """One list, and the events of its watches; END ends a watch."""

    items: list[Json] = field(default_factory=list)
    events: queue.Queue[Json | str] = field(default_factory=queue.Queue)
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    status: int = 200
    watch_status: int = 200
    listed: Json | None = None
    url: str = ""

    def tell(self, kind: str, item: Json) -> None:
        self.events.put({"type": kind, "object": item})


@pytest.fixture
def server() -> Iterator[Server]:
    it = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            it.asked.append(query)
            status = it.watch_status if "watch" in query and it.status == 200 else it.status
            if status == 200 and "watch" in query:
                self._tell()
                return
            listed = it.listed or {"items": it.items, "metadata": {"resourceVersion": "10"}}
            answer = listed if status == 200 else {"reason": "Forbidden", "message": "no"}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _tell(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while isinstance(event := it.events.get(), dict):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_args: object) -> None:
            """Not told."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    it.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield it
    it.events.put(END)
    listening.shutdown()
    listening.server_close()
    thread.join()


def item(name: str, version: int, **spec: str) -> Json:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": spec}


@dataclass
class Watched:
    server: Server
    changes: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Client(Access(url=self.server.url))
        self.watch = Watch(
            self.client,
            "/apis/things",
            selector={"fieldSelector": "metadata.name=a"},
            changed=lambda: self.changes.append(0.0),
            essence=lambda found: found["spec"],
        )

    def specs(self) -> dict[str, Json]:
        return {name: found["spec"] for name, found in self.watch.objects.items()}


@pytest.fixture
def watched(server: Server) -> Iterator[Watched]:
    server.items = [item("a", 1, key="one")]
    it = Watched(server)
    assert it.watch.wait(60)
    yield it
    it.watch.close()
    it.client.close()


def test_the_objects_are_listed_and_their_changes_followed(watched: Watched, server: Server) -> None:
    assert watched.specs() == {"a": {"key": "one"}}
    server.tell("ADDED", item("b", 11, key="two"))
    server.tell("MODIFIED", item("a", 12, key="three"))
    wait_for(lambda: watched.specs() == {"a": {"key": "three"}, "b": {"key": "two"}})
    server.tell("DELETED", item("a", 13, key="three"))
    wait_for(lambda: watched.specs() == {"b": {"key": "two"}})
    assert [query["fieldSelector"] for query in server.asked] == [["metadata.name=a"]] * 2


def test_only_changes_that_matter_are_told(watched: Watched, server: Server) -> None:
    assert len(watched.changes) == 1
    server.tell("MODIFIED", {**item("a", 11, key="one"), "status": {"ready": True}})
    server.tell("BOOKMARK", {"metadata": {"resourceVersion": "12"}})
    server.tell("MODIFIED", item("a", 13, key="two"))
    wait_for(lambda: len(watched.changes) == 2)
    assert watched.specs() == {"a": {"key": "two"}}


def test_the_next_watch_continues_where_the_last_one_ended(watched: Watched, server: Server) -> None:
    server.tell("BOOKMARK", {"metadata": {"resourceVersion": "12"}})
    server.events.put(END)
    wait_for(lambda: len(server.asked) == 3)
    assert server.asked[-1]["resourceVersion"] == ["12"]


def test_objects_are_listed_again_when_the_changes_are_no_longer_known(watched: Watched, server: Server) -> None:
    server.items = [item("c", 20, key="new")]
    server.tell("ERROR", {"code": 410, "reason": "Expired", "message": "too old resource version"})
    wait_for(lambda: watched.specs() == {"c": {"key": "new"}})
    assert watched.watch.failure is None


def test_a_refusal_keeps_the_last_objects_and_is_told_once(watched: Watched, server: Server) -> None:
    server.status = 403
    server.events.put(END)
    wait_for(lambda: watched.watch.failure)
    assert isinstance(watched.watch.failure, ApiError)
    assert watched.specs() == {"a": {"key": "one"}}
    asked = len(server.asked)
    wait_for(lambda: len(server.asked) > asked)
    assert len(watched.changes) == 2
    server.status = 200
    wait_for(lambda: watched.watch.failure is None)
    assert len(watched.changes) == 3


def test_a_server_that_refuses_at_first_does_not_delay_the_start(server: Server) -> None:
    server.status = 403
    it = Watched(server)
    assert not it.watch.wait(60)
    assert it.watch.failure
    it.watch.close()
    it.client.close()


def test_closing_ends_a_watch_that_waits_for_changes(watched: Watched, server: Server) -> None:
    wait_for(lambda: len(server.asked) == 2)
    watched.watch.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "watch-things"]


def test_closing_does_not_wait_for_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        it = Watched(Server(url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        began = time.monotonic()
        it.watch.close()
        assert time.monotonic() - began < READ_SECONDS
        it.client.close()
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name == "watch-things"])


def test_without_the_right_to_watch_the_lists_become_rare_and_the_failure_stays(server: Server) -> None:
    server.items, server.watch_status = [item("a", 1, key="one")], 403
    it = Watched(server)
    wait_for(lambda: len([query for query in server.asked if "watch" in query]) >= 3)
    assert it.specs() == {"a": {"key": "one"}}, "lists go on"
    failures = set()
    began, asked = time.monotonic(), len(server.asked)
    while time.monotonic() < began + 6:
        failures.add(str(it.watch.failure))
        time.sleep(0.01)
    assert len(server.asked) - asked <= 4, "a list and a watch every five seconds"
    assert len(failures) == 1, "the failure does not come and go"
    assert len(it.changes) <= 2
    server.watch_status = 200
    wait_for(lambda: it.watch.failure is None)
    it.watch.close()
    it.client.close()


def test_an_unexpected_answer_does_not_end_the_watch(watched: Watched, server: Server) -> None:
    server.tell("ERROR", {"code": 500, "message": "no"})
    server.listed = {"kind": "Status"}
    wait_for(lambda: "unexpected answer" in str(watched.watch.failure))
    server.listed = None
    server.items = [item("a", 20, key="later")]
    wait_for(lambda: watched.specs() == {"a": {"key": "later"}})
    wait_for(lambda: watched.watch.failure is None)
