"""Reads configurations with Cinder in a process of its own: `python -m tests.component.corpus.worker DIRECTORY < paths`.

Each file is read in a fork of its own, as the driver process of a back end is one: drivers leave options in Cinder's globals.
"""

from __future__ import annotations

import base64
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

from tests.component.corpus import reading

SECONDS = 120
"""A file that takes longer hangs."""


class Worker:
    """The process, from its user's side."""

    def __init__(self, directory: Path) -> None:
        self._seen: dict[Path, dict[str, reading.Outcome] | Exception] = {}
        command = [sys.executable, "-m", __name__, str(directory)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def outcomes(self, file: Path) -> dict[str, reading.Outcome]:
        """By back end. Raises what the reading of the file raised."""
        if file not in self._seen:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(file, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline().strip()
            assert answer, f"{file.name}: no response within {SECONDS} seconds"
            self._seen[file] = pickle.loads(base64.b64decode(answer))  # from our own child
        found = self._seen[file]
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self._process.communicate()


def main(directory: Path) -> None:
    """Answer one line for each path: an empty one if its reader hangs or dies."""
    from csi_cinderlib.cinder.runtime import Runtime

    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    Runtime(directory).start()
    for line in sys.stdin:
        print(_in_a_fork(directory, Path(line.strip())), flush=True)


def _in_a_fork(directory: Path, file: Path) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        with os.fdopen(writer, "wb") as answer:
            answer.write(base64.b64encode(pickle.dumps(_read(directory, file))))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


def _read(directory: Path, file: Path) -> dict[str, reading.Outcome] | Exception:
    socket.socket.connect = _refuse  # type: ignore[method-assign,assignment]  # this process has no network
    time.sleep = lambda _seconds: None  # drivers try again and again
    try:
        return reading.read(directory, file)
    except Exception as error:
        return error


def _refuse(_socket: socket.socket, address: object) -> None:
    reading.contacts.append(address)
    raise ConnectionRefusedError("no array here")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
