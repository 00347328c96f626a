"""Sends requests to the process that runs with a state directory, over its administration socket."""

from __future__ import annotations

import json
import socket
import stat
import struct
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from csi_cinderlib.app import admin, routes
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import DriverError, HostError, InvalidRequest

SECONDS = 10.0
"""Default timeout, for requests that only read memory."""
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: process, user and group."""
_BAD_INPUT = frozenset({400, 404, 405})


class NotRunning(InvalidRequest):
    """No process runs with that state directory."""

    def __init__(self, directory: Path) -> None:
        DriverError.__init__(
            self,
            f"no driver is running with state directory {directory}; start one, or select another directory with --config or --state-dir",
        )


class Silent(HostError):
    """The process does not respond.

    Attributes:
        pid: the process that listens; 0 if unknown.
    """

    def __init__(self, directory: Path, problem: str, pid: int = 0) -> None:
        who = f"process {pid}" if pid else "the process"
        super().__init__(f"{who} with state directory {directory} {problem}")
        self.pid = pid


class NotOurs(HostError):
    """Something other than a driver's socket has the socket's name."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}; remove it and restart the driver, which creates its socket at the start")


class Refused(DriverError):
    """The process refused the request in its current state.

    Args:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotAccepted(InvalidRequest):
    """The process rejected the request as wrong."""

    def __init__(self, status: int, message: str) -> None:
        DriverError.__init__(self, message)
        self.status = status


def request(
    settings: Settings, method: str, path: str, body: Mapping[str, object] | None = None, *, patience: float = SECONDS
) -> dict[str, Any]:
    """Send a request and return the process's answer.

    Args:
        path: path with its query; names in it are quoted (`urllib.parse.quote(name, safe="")`).
        patience: seconds for the answer.

    Raises:
        NotRunning: no process runs with the settings' state directory.
        Silent: it does not respond, or this user may not connect.
        NotOurs: the socket's name belongs to another file, or to a socket of another program.
        NotAccepted: there is no such object, or the request is wrong.
        Refused: the process cannot do that now.
    """
    directory = settings.state_dir
    connection = _connected(directory, patience)
    pid = _peer(connection)
    try:
        with closing(connection):
            status, data = _exchange(connection, method, path, body)
        answer = json.loads(data)
    except TimeoutError:
        raise Silent(directory, f"did not respond within {patience:.0f} s", pid) from None
    except OSError as error:
        raise Silent(directory, f"closed the connection during its response ({type(error).__name__})", pid) from None
    except ValueError:
        raise NotOurs(directory / admin.FILE, f"is not the socket of a driver (listener: process {pid})") from None
    if status == 200:
        return dict(answer)
    kind = NotAccepted if status in _BAD_INPUT else Refused
    raise kind(status, str(answer.get("message", f"HTTP status {status}")))


def _connected(directory: Path, patience: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(patience)
    try:
        with admin.address(directory) as where:
            connection.connect(where)
    except OSError as error:
        connection.close()
        if kind := _other_kind(directory / admin.FILE):
            raise NotOurs(directory / admin.FILE, f"is {kind}, not a socket") from None
        if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
            raise NotRunning(directory) from None
        if isinstance(error, BlockingIOError):  # a unix socket whose queue is full
            raise Silent(directory, "does not accept connections") from None
        raise Silent(directory, f"cannot be reached: {error.strerror or error}") from None
    return connection


def _other_kind(path: Path) -> str:
    """Kind of the file at the socket's path; "" for a socket, or no file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    return "" if stat.S_ISSOCK(mode) else "a directory" if stat.S_ISDIR(mode) else "a file"


def _peer(connection: socket.socket) -> int:
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)


def _exchange(
    connection: socket.socket, method: str, path: str, body: Mapping[str, object] | None
) -> tuple[int, bytes]:
    """The HTTP status and body. Raises OSError if the answer breaks off, ValueError if it is not HTTP."""
    from http.client import HTTPConnection, HTTPException, IncompleteRead, RemoteDisconnected

    client = HTTPConnection("localhost")
    client.sock = connection
    try:
        client.request(
            method,
            path,
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json", "Connection": "close"},
        )
        response = client.getresponse()
        if not str(response.getheader("Server")).startswith(routes.SERVER):
            raise ValueError("the HTTP server is another program")
        return response.status, response.read()
    except (IncompleteRead, RemoteDisconnected) as error:
        raise ConnectionResetError(str(error)) from error
    except HTTPException as error:
        raise ValueError(f"no HTTP response: {error!r}") from error
    finally:
        client.close()
