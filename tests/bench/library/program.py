"""The measured program: the same calls of cinderlib's API, with cinderlib itself or with this library.

It runs on the Python of either, so it imports nothing of this project but the driver, and uses no syntax newer than Python 3.10's.
Usage: `program.py LIBRARY DIRECTORY CONFIG`; CONFIG is the persistence configuration as JSON. It reads one command a line from
standard input, and answers each with one line of JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DRIVER = "tests.support.fakes.nothing.NothingDriver"
LOCAL_DRIVER = "tests.support.fakes.nothing.LocalDriver"
CONNECTOR = {"host": "node", "ip": "192.0.2.1", "initiator": "iqn.1993-08.org.debian:01:node", "multipath": False}


def resident() -> float:
    """MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Program:
    """The library after its set-up, with a back end. Methods without an underscore are commands.

    `taken` has the wall and the processor seconds of each row since the last answer.
    """

    def __init__(self, library: str, config: dict[str, Any]) -> None:
        self.taken: dict[str, tuple[float, float]] = {}
        with self._timed("import and set-up"):
            self._library = importlib.import_module(library)
            self._library.setup(persistence_config=config, file_locks_path=str(Path.cwd()))
            self._backend = self._library.Backend("bench", volume_driver=DRIVER)
        self._many: Any = None
        self._held: list[Any] = []
        self._text = ""

    @contextlib.contextmanager
    def _timed(self, row: str, count: int = 1) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.taken[row] = ((time.perf_counter() - wall) / count, (time.process_time() - processor) / count)

    def start(self) -> None:
        """The import and the set-up, which have happened."""

    def calls(self, count: int) -> None:
        """Operations on single volumes, each `count` times."""
        library, backend = self._library, self._backend
        with self._timed(
            "create and read", count
        ):  # Cinder's object exists after the creation, or from the first read on
            volumes = [backend.create_volume(1, name=f"volume-{number}") for number in range(count)]
            _ = [volume.provider_location for volume in volumes]
        with self._timed("get by id", count):
            for volume in volumes:
                library.Volume.get_by_id(volume.id)
        with self._timed("read five attributes", count):
            for volume in volumes:
                _ = (volume.size, volume.status, volume.provider_location, volume.host, volume.metadata)
        for volume in volumes:
            volume._ovo.display_description = "saved"
        with self._timed("save", count):
            for volume in volumes:
                volume.save()
        with self._timed("extend", count):
            for volume in volumes:
                volume.extend(2)
        self._snapshots(volumes)
        self._connections(volumes)
        with self._timed("delete", count):
            for volume in volumes:
                volume.delete()

    def _snapshots(self, volumes: list[Any]) -> None:
        with self._timed("create a snapshot", len(volumes)):
            snapshots = [volume.create_snapshot("snapshot") for volume in volumes]
        with self._timed("delete a snapshot", len(volumes)):
            for snapshot in snapshots:
                snapshot.delete()
        with self._timed("clone", len(volumes)):
            clones = [volume.clone() for volume in volumes]
        for clone in clones:
            clone.delete()

    def _connections(self, volumes: list[Any]) -> None:
        with self._timed("connect", len(volumes)):
            connections = [volume.connect(CONNECTOR) for volume in volumes]
        with self._timed("disconnect", len(volumes)):
            for connection in connections:
                connection.disconnect()

    def attachments(self, device: str, count: int) -> None:
        """Attach a volume to this host and detach it again. Its device is one that exists."""
        local = self._library.Backend("local", volume_driver=LOCAL_DRIVER, nothing_device=device)
        volume = local.create_volume(1)
        with self._timed("attach and detach", count):
            for _ in range(count):
                volume.attach()
                volume.detach()
        volume.delete()

    def fill(self, count: int) -> None:
        """Create many volumes on a back end of their own."""
        self._many = self._library.Backend("many", volume_driver=DRIVER, nothing_capacity_gb="infinite")
        for number in range(count):
            self._many.create_volume(1, name=f"many-{number}")

    def lists(self) -> None:
        """Operations on all the volumes of `fill`."""
        with self._timed("list"):
            volumes = self._many.volumes_filtered()
        with self._timed("find by name"):
            self._many.volumes_filtered(volume_name="many-7")
        with self._timed("dump"):
            self._text = json.dumps([volume.json for volume in volumes])
        with self._timed("list and dump"):
            json.dumps([volume.json for volume in self._many.volumes_filtered()])
        with self._timed("load"):
            loaded = self._library.load(self._text)
        assert len(loaded) == len(volumes)

    def memory(self) -> None:
        """MiB of this process, with all the volumes of `fill` held and their attributes read, twice instead of seconds."""
        self._held = [(volume, volume.provider_location) for volume in self._many.volumes_filtered()]
        self.taken["memory"] = (resident(), resident())


def main() -> None:
    library, directory, config = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.chdir(directory)
    program = Program(library, json.loads(config))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        getattr(program, name)(*arguments)
        print(json.dumps(program.taken), file=answers, flush=True)
        program.taken = {}


if __name__ == "__main__":
    main()
