"""The whole life of a volume in this process, for tests of a process's state: `python -c "...; whole_life.run(...)"`."""

from __future__ import annotations

import os
import threading
from typing import Any

from tests.component.cinderlib.conftest import LOOPFILE, NOTHING


def run(cl: Any, directory: str, url: str = "", *, threads: int = 1) -> None:
    """Set up the library, and take a volume through its life in each thread. Prints `done`."""
    connection = url or f"sqlite:///{directory}/volumes.db"
    cl.setup(
        file_locks_path=directory, persistence_config={"storage": "db", "connection": connection}, disable_logs=False
    )
    name = os.path.basename(directory)  # noqa: PTH119  # unique on a shared server
    backend = cl.Backend(name, volume_driver=LOOPFILE, loopfile_directories=[f"{directory}/volumes"])
    cl.Backend(f"{name}-fake", volume_driver=NOTHING).create_volume(1).delete()
    failures: list[BaseException] = []
    workers = [threading.Thread(target=_caught, args=(live, failures, backend)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert backend.volumes_filtered() == []
    cl.close()
    print("done")


def _caught(work: Any, failures: list[BaseException], *arguments: Any) -> None:
    try:
        work(*arguments)
    except BaseException as error:
        failures.append(error)


def live(backend: Any) -> None:
    volume = backend.create_volume(1, name="data")
    with open(volume.attach().path, "r+b", buffering=0) as device:  # noqa: PTH123  # a device
        device.write(b"data".ljust(4096))
    volume.detach()
    snapshot = volume.create_snapshot()
    copy = snapshot.create_volume()
    copy.delete()
    snapshot.delete()
    volume.extend(2)
    backend.stats(refresh=True)
    (again,) = backend.volumes_filtered(volume_id=volume.id)
    assert (again.size, again.status) == (2, "available")
    clone = again.clone()
    again.delete()
    with open(clone.attach().path, "rb") as device:  # noqa: PTH123  # a device
        assert device.read(4) == b"data"
    clone.detach()
    clone.delete()
