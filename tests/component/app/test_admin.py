"""The administration socket and its routes, in this process."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.app import admin
from csi_cinderlib.app.admin import Socket
from csi_cinderlib.app.admin_http import serve
from csi_cinderlib.app.routes import MOST_SLOW, Request, Routes
from csi_cinderlib.commands import running
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import NotFound, NotReady, OperationPending

CANARY = "tr0ub4dor-and-3"


@pytest.fixture
def routes() -> Routes:
    return Routes()


@pytest.fixture
def served(tmp_path: Path, routes: Routes) -> Iterator[Settings]:
    listening = Socket(tmp_path, routes)
    assert listening.start()
    yield Settings(state_dir=tmp_path)
    listening.close()


def test_names_query_and_body_reach_the_handler(served: Settings, routes: Routes) -> None:
    asked: list[Request] = []

    def handler(request: Request) -> dict[str, object]:
        asked.append(request)
        return {"done": True}

    routes.add("POST", "/records/KIND/ID/fix", handler)
    assert running.request(served, "POST", "/records/volumes/a%20b%C3%A4/fix?page=2&empty=", {"n": 1}) == {"done": True}
    (request,) = asked
    assert (request.names, request.query) == ({"kind": "volumes", "id": "a b\u00e4"}, {"page": "2", "empty": ""})
    assert request.body == {"n": 1}


def test_a_slash_in_a_name_stays_in_the_name(served: Settings, routes: Routes) -> None:
    routes.add("GET", "/claims/NAME", lambda request: {"name": request.names["name"]})
    assert running.request(served, "GET", "/claims/team%2Fdata") == {"name": "team/data"}


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (NotFound("volume", "v"), running.NotAccepted, 404),
        (NotReady("starting"), running.Refused, 503),
        (OperationPending("busy"), running.Refused, 409),
        (RuntimeError(f"password='{CANARY}'"), running.Refused, 500),
    ],
)
def test_what_a_handler_raises_is_told_without_secrets(
    served: Settings, routes: Routes, error: Exception, kind: type[running.Refused], status: int
) -> None:
    def handler(_request: Request) -> dict[str, object]:
        raise error

    routes.add("GET", "/it", handler)
    with pytest.raises(kind) as refused:
        running.request(served, "GET", "/it")
    assert refused.value.status == status
    assert CANARY not in str(refused.value)


def test_secrets_in_an_answer_are_hidden(served: Settings, routes: Routes) -> None:
    routes.add("GET", "/it", lambda _: {"auth": {"chap_password": CANARY}, "said": f"token='{CANARY}'"})
    assert CANARY not in json.dumps(running.request(served, "GET", "/it"))


def test_slow_requests_leave_quick_ones_alone(served: Settings, routes: Routes) -> None:
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def slow(_request: Request) -> dict[str, object]:
        begun.release()
        go_on.wait()
        return {}

    routes.add("GET", "/slow", slow)
    routes.add("GET", "/quick", lambda _: {"quick": True}, quick=True)
    threads = [threading.Thread(target=running.request, args=(served, "GET", "/slow")) for _ in range(MOST_SLOW)]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=60)
    try:
        with pytest.raises(running.Refused, match="8 administration requests are in progress"):
            running.request(served, "GET", "/slow")
        assert running.request(served, "GET", "/quick") == {"quick": True}
    finally:
        go_on.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("body", [b"[1]", b"{", b"[" * 60_000, b"\xff\xfe"])
def test_a_body_that_is_no_object_is_refused(served: Settings, routes: Routes, body: bytes) -> None:
    routes.add("PUT", "/it", lambda _: {}, quick=True)
    with socket.socket(socket.AF_UNIX) as client, admin.address(served.state_dir) as where:
        client.connect(where)
        client.sendall(b"PUT /it HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"body" in answer


@pytest.mark.parametrize("obstacle", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone_and_the_process_goes_on(tmp_path: Path, routes: Routes, obstacle: str) -> None:
    path = tmp_path / admin.FILE
    if obstacle == "file":
        path.write_text("mine")
    elif obstacle == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    listening = Socket(tmp_path, routes)
    assert not listening.start()
    listening.close()
    assert os.path.lexists(path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_socket_of_another_process_is_not_removed_at_the_end(tmp_path: Path, routes: Routes) -> None:
    first, second = Socket(tmp_path, routes), Socket(tmp_path, routes)
    assert first.start()
    assert second.start()
    first.close()
    assert (tmp_path / admin.FILE).exists()
    second.close()
    assert not (tmp_path / admin.FILE).exists()


def test_a_server_without_http_is_not_taken_for_a_driver(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, admin.address(tmp_path) as where:
        listener.bind(where)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(running.NotOurs, match="is not the socket of a driver"):
            running.request(Settings(state_dir=tmp_path), "GET", "/status", patience=60)
        thread.join()


@pytest.mark.parametrize(
    "head",
    [b"PUT /it HTTP/1.0\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"GET http://[ HTTP/1.0\r\n\r\n"],
    ids=["length", "path"],
)
def test_a_head_that_makes_no_sense_is_refused(served: Settings, routes: Routes, head: bytes) -> None:
    routes.add("PUT", "/it", lambda _: {})
    with socket.socket(socket.AF_UNIX) as client, admin.address(served.state_dir) as where:
        client.connect(where)
        client.sendall(head)
        assert b" 400 " in client.recv(100)


def test_a_client_that_sends_piece_by_piece_is_given_up(routes: Routes) -> None:
    client, server = socket.socketpair()
    serving = threading.Thread(target=serve, args=(server, routes, 0.5), daemon=True)
    serving.start()
    deadline = time.monotonic() + 60
    with client, server:
        while serving.is_alive() and time.monotonic() < deadline:
            client.sendall(b"G")
            serving.join(0.05)
        assert not serving.is_alive()
