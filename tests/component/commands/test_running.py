"""What is not a driver's socket at the socket's path."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from csi_cinderlib.app import admin
from csi_cinderlib.commands import running
from csi_cinderlib.config.settings import Settings


def status(directory: Path) -> object:
    return running.request(Settings(state_dir=directory), "GET", "/status", patience=5)


def test_a_file_at_the_path_of_the_socket_is_named(tmp_path: Path) -> None:
    (tmp_path / admin.FILE).touch()
    with pytest.raises(running.NotOurs, match=r"admin\.sock is a file, not a socket; remove it"):
        status(tmp_path)


def test_a_directory_at_the_path_of_the_socket_is_named(tmp_path: Path) -> None:
    (tmp_path / admin.FILE).mkdir()
    with pytest.raises(running.NotOurs, match="is a directory, not a socket"):
        status(tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nServer: other\r\nContent-Length: 99999999999\r\n\r\n{}",
    ],
)
def test_a_socket_of_another_program_is_named_with_its_process(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / admin.FILE))
        listener.listen()
        threading.Thread(target=_answer, args=(listener, answer), daemon=True).start()
        with pytest.raises(running.NotOurs, match=r"is not the socket of a driver \(listener: process \d+\)"):
            status(tmp_path)


def test_an_answer_that_breaks_off_is_not_taken_for_another_program(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / admin.FILE))
        listener.listen()
        threading.Thread(target=_answer, args=(listener, b""), daemon=True).start()
        with pytest.raises(running.Silent, match="closed the connection during its response"):
            status(tmp_path)


def _answer(listener: socket.socket, answer: bytes) -> None:
    client, _ = listener.accept()
    with client:
        client.recv(4096)
        client.sendall(answer)
