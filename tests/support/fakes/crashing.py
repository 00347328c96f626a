"""One step of a volume's life in a process that is killed in the middle.

`python -m tests.support.fakes.crashing DIRECTORY` imports Cinder, which takes longer than all else, and then forks a process for
each job: a JSON line from standard input, with the bed, its directory, the step (a name in STEPS), the id of the record and the
fault point. It answers a JSON line with the exit code of that process and its traceback.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.model.records import Attachment, Imported, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.beds import BACKEND, Bed, Place

ROOT = Path(__file__).parents[3]


def _create_volume(place: Place, id: str) -> None:
    place.backend.create_volume(replace(makers.volume(BACKEND), id=id))


def _delete_volume(place: Place, id: str) -> None:
    place.backend.delete_volume(place.store.get(Volume, id))


def _extend(place: Place, id: str) -> None:
    place.backend.extend_volume(place.store.get(Volume, id), GiB(2))


def _create_snapshot(place: Place, id: str) -> None:
    volume = place.store.page(Volume).records[0]
    place.backend.create_snapshot(replace(makers.snapshot(volume), id=id))


def _delete_snapshot(place: Place, id: str) -> None:
    place.backend.delete_snapshot(place.store.get(Snapshot, id))


def _connect(place: Place, id: str) -> None:
    volume = place.store.get(Volume, id)
    place.backend.connect(volume, makers.attachment(volume, connector=place.connector()))


def _disconnect(place: Place, id: str) -> None:
    place.backend.disconnect(place.store.page(Attachment, where={"volume_id": id}).records[0])


def imported(place: Place, id: str, *, static: bool = False) -> Volume:
    """The record of a file `disk.img`, before its import."""
    origin = Imported(name="disk.img", reference={"source-name": "disk.img"}, static=static)
    return place.backend.place_import(replace(makers.volume(BACKEND), id=id, pool="", imported=origin))


def _import_volume(place: Place, id: str) -> None:
    with place.backend.importing() as imports:
        imports.begin(imports.examine(imported(place, id))[0])


def _import_static_volume(place: Place, id: str) -> None:
    with place.backend.importing() as imports:
        imports.begin(imports.examine(imported(place, id, static=True))[0])


def _import_snapshot(place: Place, id: str) -> None:
    """Of the file `disk.img`, as a snapshot of the only volume."""
    volume = place.store.page(Volume).records[0]
    origin = Imported(name="disk.img", reference={"source-name": "disk.img"})
    with place.backend.importing() as imports:
        imports.begin(imports.examine(replace(makers.snapshot(volume), id=id, imported=origin))[0])


def _undo_import(place: Place, id: str) -> None:
    with place.backend.importing() as imports:
        imports.undo(place.store.get(Volume, id))


def _undo_snapshot_import(place: Place, id: str) -> None:
    with place.backend.importing() as imports:
        imports.undo(place.store.get(Snapshot, id))


STEPS: Mapping[str, Callable[[Place, str], None]] = {
    "create volume": _create_volume,
    "delete volume": _delete_volume,
    "extend": _extend,
    "create snapshot": _create_snapshot,
    "delete snapshot": _delete_snapshot,
    "connect": _connect,
    "disconnect": _disconnect,
    "import volume": _import_volume,
    "import static volume": _import_static_volume,
    "import snapshot": _import_snapshot,
    "undo snapshot import": _undo_snapshot_import,
    "undo import": _undo_import,
}


class Killed:
    """The processes, as a test sees them. Used as a context manager.

    Args:
        directory: for the process that the others are forked from.
    """

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "tests.support.fakes.crashing", str(directory)]
        self._server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Killed:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=240)

    def run(self, place: Place, step: str, id: str, *, fault_point: str = "") -> int:
        """Let another process do the step on that bed; its exit code, negative for a signal."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        bed, directory = place.bed.to_json(), str(place.directory)
        job = {"bed": json.loads(bed), "directory": directory, "step": step, "id": id, "fault_point": fault_point}
        with place.away():
            self._server.stdin.write(json.dumps(job) + "\n")
            self._server.stdin.flush()
            answer = json.loads(self._server.stdout.readline())
        assert not answer["error"], answer["error"]
        status: int = answer["status"]
        return status

    def kill(self, place: Place, step: str, id: str, fault_point: str) -> None:
        """As `run`, for a process that must reach the fault point, where it is killed."""
        assert self.run(place, step, id, fault_point=fault_point) == -signal.SIGKILL, f"{fault_point} was not reached"


def _act(job: Mapping[str, Any]) -> None:
    os.environ["CINDERLIB_FAULT_POINT"] = job["fault_point"]
    importlib.reload(faultpoints)
    directory = Path(job["directory"])
    STEPS[job["step"]](Place(Bed(**job["bed"]), directory, Runtime(directory / "runtime")), job["id"])


def _child(job: Mapping[str, Any], answers: int) -> None:
    """Never returns."""
    error = ""
    try:
        _act(job)
    except BaseException:
        error = traceback.format_exc()
    with os.fdopen(answers, "w") as pipe:
        pipe.write(error)
    os._exit(0)


def _serve() -> None:
    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            _child(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            error = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"status": status, "error": error}), flush=True)


def main(directory: str) -> None:
    runtime = Runtime(Path(directory))
    Place(Bed(name="warm-up", driver="tests.support.fakes.nothing.NothingDriver"), Path(directory), runtime).close()
    runtime.close()
    _serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
