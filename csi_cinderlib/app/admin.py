"""The administration socket of a running process: HTTP and JSON on `STATE_DIR/admin.sock`, for commands on this host.

It is served from the start of the process until its end, in its own threads, so that it answers while the process is not ready or calls
hang. Only the process that holds the lock of the state directory creates or replaces the socket.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csi_cinderlib.app.routes import Routes
from csi_cinderlib.observe import logs

FILE = "admin.sock"
"""In the state directory."""
LONGEST = 107
"""Bytes: sun_path of the kernel without the final NUL."""
MOST_CONNECTIONS = 32
"""Simultaneous connections. Further ones are closed at once."""
SLOWEST_CLIENT = 5.0
"""Seconds for a client to send its request, and to read the response."""
ACCEPT_SECONDS = 1.0
"""Pause before the next accept after an error: the process may have no free file descriptor."""

_log = logs.logger(__name__)


@contextmanager
def address(directory: Path) -> Iterator[str]:
    """The address of the socket for `bind` or `connect`, even if its path is too long.

    Raises:
        OSError: the directory cannot be opened.
    """
    path = os.fspath(directory.absolute() / FILE)
    if len(os.fsencode(path)) <= LONGEST:
        yield path
        return
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{FILE}"
    finally:
        os.close(fd)


class Socket:
    """Serves routes on the socket of a state directory. The process must hold the lock of the directory."""

    def __init__(self, directory: Path, routes: Routes) -> None:
        self._directory = directory
        self._path = directory / FILE
        self._routes = routes
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._inode: tuple[int, int] | None = None
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._is_closed = False

    def start(self) -> bool:
        """Listen; logs a failure and returns False, because the driver works without the socket."""
        try:
            self._listen()
        except OSError as error:
            self._listener.close()
            reason = error.strerror or str(error)
            _log.warning("administration socket not available", path=str(self._path), reason=reason)
            return False
        threading.Thread(target=self._accept, name="admin", daemon=True).start()
        return True

    def _listen(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise FileExistsError(f"{self._path} is not a socket")
            self._path.unlink()  # left by an ended process: this process has its lock now
        with address(self._directory) as where:
            self._listener.bind(where)
        found = self._path.lstat()
        self._inode = found.st_dev, found.st_ino
        self._path.chmod(0o600)  # no client can connect before `listen`
        self._listener.listen(MOST_CONNECTIONS)

    def close(self) -> None:
        """Remove the socket and refuse further requests."""
        self._is_closed = True
        with suppress(OSError):
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._inode:
                self._path.unlink()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                time.sleep(0 if self._is_closed else ACCEPT_SECONDS)
                continue
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        """Must not wait for the client."""
        if not self._places.acquire(blocking=False):
            connection.close()
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), name="admin-request", daemon=True).start()
        except RuntimeError:  # no further thread can be started now
            self._places.release()
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            from csi_cinderlib.app.admin_http import serve  # 4 MB that a node loads only at the first request

            with connection:
                serve(connection, self._routes, SLOWEST_CLIENT)
        except OSError:  # the client disconnected or was too slow
            return
        except Exception as error:
            _log.exception("administration request failed", error)
        finally:
            self._places.release()
