"""What PostgreSQL, MariaDB and MySQL have in common as servers of a test: own directory, a free port, ended by pid."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest

from tests.support.ports import free_port

S = TypeVar("S", bound="Server")

PASSWORD = "open/se same@%"
"""With characters that a URL must encode."""


class Unavailable(Exception):
    """This machine lacks what the server needs; the text says what and how to get it."""


class Server(ABC):
    """One server. `start` may be called again after `kill` or `stop`."""

    account: str | None
    """Whom it runs as when the test is root; None: as root."""
    package: str
    stop_signal = signal.SIGTERM
    system_database: str
    create_options = ""
    drop_options = ""
    """Of CREATE DATABASE and DROP DATABASE."""
    timeout = 120.0

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-", dir="/tmp"))
        self.port = free_port()
        self.altered = False
        """Whether tests have made of the database `csi` what they liked. Who needs the program's own schema makes it anew."""
        self._connections: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        # MariaDB's and MySQL's temporary tables: one that starts removes all that it finds there, also those of another.
        self._environment = {**os.environ, "TMPDIR": str(self.directory)}
        self._as_account: dict[str, Any] = {}
        if os.geteuid() == 0 and self.account is not None:
            try:
                user = pwd.getpwnam(self.account)
            except KeyError:
                raise Unavailable(f"there is no user {self.account!r}: apt-get install {self.package}") from None
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as_account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    @property
    @abstractmethod
    def url(self) -> str:
        """Of the database `csi`, as its owner of the same name."""

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @abstractmethod
    def initialize(self) -> None:
        """Make the data directory, the user `csi` and the database `csi`; leaves the server running."""

    def answers(self) -> bool:
        try:
            self.connect(self.system_database).close()
        except Exception:  # each driver has its own
            return False
        return True

    @abstractmethod
    def connect(self, database: str) -> Any:
        """A driver's connection of the administrator, in autocommit mode."""

    @abstractmethod
    def connect_as_owner(self) -> Any:
        """A driver's connection as the store's own are: user `csi`, over TCP, in autocommit mode."""

    def query(self, statement: str, *values: object, database: str = "csi") -> list[tuple[Any, ...]]:
        """As the administrator, on a connection that is kept: a new one for each would take most of the tests' time."""
        if database not in self._connections:
            self._connections[database] = self.connect(database)
        with self._connections[database].cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def forget_connections(self) -> None:
        while self._connections:
            with suppress(Exception):
                self._connections.popitem()[1].close()

    def renew_database(self) -> None:
        """Make `csi` a database without tables."""
        self.forget_connections()
        self.query(f"DROP DATABASE IF EXISTS csi {self.drop_options}", database=self.system_database)
        self.query(f"CREATE DATABASE csi {self.create_options}", database=self.system_database)
        self.altered = False

    @abstractmethod
    def dump(self) -> bytes:
        """All of the database `csi`, as its own tool writes it."""

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            self._log = (self.directory / "log").open("ab")
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                cwd=self.directory,
                env=self._environment,
                **self._as_account,
            )
            while self._process.poll() is None and time.monotonic() < deadline:
                if self.answers():
                    return
                time.sleep(0.05)
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"no response from {self.command()[0]}:\n{(self.directory / 'log').read_text()[-3000:]}"
                )
            time.sleep(0.2)  # what a killed predecessor left may take a moment to go

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, and wait until they are gone."""
        assert self._process is not None
        self.forget_connections()
        # Held open first: a child may end by itself, as PostgreSQL's do when their parent is gone, and its number be another's.
        children = [pidfd for child in _children(self._process.pid) if (pidfd := _held(child)) is not None]
        self._process.kill()
        self._process.wait()
        for pidfd in children:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], 10)
            os.close(pidfd)

    def stop(self) -> None:
        self.forget_connections()
        if self._process is not None and self.runs:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._log is not None:
            self._log.close()

    def discard(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, argv: Sequence[str], **environment: str) -> bytes:
        done = subprocess.run(
            argv,
            capture_output=True,
            check=False,
            cwd=self.directory,
            env={**self._environment, **environment},
            **self._as_account,
        )
        if done.returncode:
            raise RuntimeError(f"{argv[0]}: {done.stderr.decode(errors='replace')[-3000:]}")
        output: bytes = done.stdout
        return output


def running(kind: Callable[[], S]) -> Iterator[S]:
    """For a fixture: a fresh server, discarded afterwards; skips the test, and says why, where it cannot be had."""
    try:
        server = kind()
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        server.initialize()
        yield server
    finally:
        server.discard()


def find(program: str, package: str, *directories: str) -> str:
    for path in (*(f"{directory}/{program}" for directory in directories), shutil.which(program) or ""):
        if path and os.access(path, os.X_OK):
            return path
    raise Unavailable(
        f"{program} is not installed: apt-get install {package} (scripts/install-debian-packages databases)"
    )


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _held(pid: int) -> int | None:
    """Its pidfd; None when it has ended already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
