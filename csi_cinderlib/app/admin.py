"""The administration socket of a running process: HTTP and JSON on `STATE_DIR/admin.sock`, for the commands of this host.

It is served from the start of the process until its end, in threads of its own, so that it answers while the process is not ready,
and while calls hang. Only the owner of the state directory's lock makes or replaces the socket: a second process never gets that far.
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
"""Bytes: the kernel's sun_path less the closing NUL."""
MOST_CONNECTIONS = 32
"""At one time. A further one is closed at once."""
SLOWEST_CLIENT = 5.0
"""Seconds that a client may take to send its request, or to read the answer."""
ACCEPT_SECONDS = 1.0
"""Before connections are accepted again after an error: this process may have no free file descriptor."""

_log = logs.logger(__name__)


@contextmanager
def address(directory: Path) -> Iterator[str]:
    """The socket's address in that directory, for `bind` or `connect`; also where its path is too long for one.

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
    """Serves routes on the socket of a state directory whose lock this process holds."""

    def __init__(self, directory: Path, routes: Routes) -> None:
        self._directory = directory
        self._path = directory / FILE
        self._routes = routes
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._inode: tuple[int, int] | None = None
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._is_closed = False

    def start(self) -> bool:
        """Listen; False, with a line in the log, where that is not possible: a driver works without it."""
        try:
            self._listen()
        except OSError as error:
            self._listener.close()
            _log.warning(
                "the administration socket cannot be served", path=str(self._path), reason=error.strerror or str(error)
            )
            return False
        threading.Thread(target=self._accept, name="admin", daemon=True).start()
        return True

    def _listen(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise FileExistsError(f"{self._path} is not a socket")
            self._path.unlink()  # of a process that has ended: it had the lock that this one has
        with address(self._directory) as where:
            self._listener.bind(where)
        found = self._path.lstat()
        self._inode = found.st_dev, found.st_ino
        self._path.chmod(0o600)  # nobody can connect before `listen`
        self._listener.listen(MOST_CONNECTIONS)

    def close(self) -> None:
        """Remove the socket, and answer no further request."""
        self._is_closed = True
        with suppress(OSError):
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._inode:
                self._path.unlink()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
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
        """Nothing here may wait for the client."""
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
            from csi_cinderlib.app.admin_http import serve  # 4 MB that a node carries only once somebody asks

            with connection:
                serve(connection, self._routes, SLOWEST_CLIENT)
        except OSError:  # the client has gone away, or was too slow
            return
        except Exception as error:
            _log.exception("an administration request failed", error)
        finally:
            self._places.release()
