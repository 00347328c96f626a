"""One step of a volume's life in a process of its own, which a fault point ends in the middle.

`python -m tests.support.fakes.crashing BED DIRECTORY STEP ID`, where STEP is a name in STEPS. The test names the records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from csi_cinderlib.backend.runtime import Runtime
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.beds import BACKEND, Bed, Place


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


STEPS: Mapping[str, Callable[[Place, str], None]] = {
    "create volume": _create_volume,
    "delete volume": _delete_volume,
    "extend": _extend,
    "create snapshot": _create_snapshot,
    "delete snapshot": _delete_snapshot,
    "connect": _connect,
    "disconnect": _disconnect,
}


def main(bed: str, directory: str, step: str, id: str) -> None:
    import json

    runtime = Runtime(Path(directory) / "runtime")
    STEPS[step](Place(Bed(**json.loads(bed)), Path(directory), runtime), id)


if __name__ == "__main__":
    main(*sys.argv[1:])
