"""How an administrator has a back end's process started anew: a file in the state directory of the controller."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from csi_cinderlib.app import state_dir
from csi_cinderlib.config import check
from csi_cinderlib.errors import DriverError, HostError, NotFound

DIRECTORY = "restart"
PATIENCE = 30.0
"""Seconds until a controller that runs has seen the request."""
_UNKNOWN = "unknown"


def request(directory: Path, name: str, *, patience: float = PATIENCE) -> None:
    """Ask the controller on that state directory to end the process of a back end and to start the next one; return once it has ended.

    Raises:
        NotFound: the controller has no back end of that name.
        HostError: no controller runs there, or it does not answer.
    """
    if not _is_held(directory):
        raise HostError(f"no controller is running with state directory {directory}")
    if not check.BACKEND_NAME.fullmatch(name):
        raise NotFound("back end", name)
    path = directory / DIRECTORY / name
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text("")
        _await_answer(path, name, patience)
    except OSError as error:
        raise HostError(f"the controller cannot be asked: {error}") from error


def _await_answer(path: Path, name: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while (said := _read(path)) is not None:
        if said == _UNKNOWN:
            path.unlink(missing_ok=True)
            raise NotFound("back end", name)
        if time.monotonic() > deadline:
            path.unlink(missing_ok=True)
            raise HostError(
                f"the controller did not answer within {patience:.0f} seconds; if it stands by, ask the active one"
            )
        time.sleep(0.1)


def _read(path: Path) -> str | None:
    """None once the controller has removed the file."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def requested(directory: Path) -> Iterator[str]:
    """In the controller: the names of back ends that are to be started anew. Each request is answered after its turn."""
    for path in sorted((directory / DIRECTORY).glob("*")):
        with suppress(OSError):
            if path.read_text() != _UNKNOWN:
                yield path.name


def answer(directory: Path, name: str, error: DriverError | None = None) -> None:
    """Tell who asked that it is done, or that there is no such back end."""
    path = directory / DIRECTORY / name
    with suppress(OSError):
        if error is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(_UNKNOWN)


def _is_held(directory: Path) -> bool:
    try:
        with (directory / state_dir.LOCK).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
