"""Test beds of the back-end contract: a driver with its options, a store, and a way to the data of a volume.

`CINDERLIB_CONTRACT_BEDS` may name a JSON file with other beds (a guest kernel's LVM, NFS and RBD):
`[{"name", "driver", "options", "data": "none|file|brick", "store", "store_options", "durable"}]`;
`{directory}` in an option stands for a new directory.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.plugins import open_store
from tests.support.fakes.array import SNAPSHOT, VOLUME, Array

VARIABLE = "CINDERLIB_CONTRACT_BEDS"
BACKEND = "bed"
BLOCK = 4096
ARRAY_FILE = "array.log"


@dataclass(frozen=True, kw_only=True)
class Bed:
    """One bed.

    Attributes:
        data: how a test gets at a volume's bytes: "none" (there are none), "file" (the connection names a regular file) or
            "brick" (the volume is attached to this host).
        durable: volumes and records outlive the process, so that a crash can be tried.
    """

    name: str
    driver: str
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str = "none"
    store: str = "memory"
    store_options: Mapping[str, Any] = field(default_factory=dict)
    durable: bool = False

    def settings(self, directory: Path) -> BackendSettings:
        options = json.loads(json.dumps(dict(self.options)).replace("{directory}", str(directory)))
        return BackendSettings(name=BACKEND, driver=self.driver, options=options)

    def to_json(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Held:
    """A volume that is connected to this host.

    Attributes:
        extend: makes the device show the size that the volume has by now, in GiB.
    """

    path: Path
    extend: Callable[[int], object]


class Place:
    """A bed made up in a directory, with a back end that can be started again as after a restart of the process."""

    def __init__(self, bed: Bed, directory: Path, runtime: Runtime) -> None:
        self.bed = bed
        self.directory = directory
        self.array = Array(directory / "volumes" / ARRAY_FILE, by=BACKEND)
        self._runtime = runtime
        self.store: Store = self._open()
        self.backend = self._backend()

    def _open(self) -> Store:
        return open_store(self.bed.store, dict(self.bed.store_options), state_dir=self.directory / "store")

    def _backend(self) -> LocalBackend:
        volumes = self.directory / "volumes"
        volumes.mkdir(exist_ok=True, parents=True)
        backend = LocalBackend(
            self.bed.settings(volumes), store=self.store, runtime=self._runtime, owner=f"process {os.getpid()}"
        )
        backend.start()
        return backend

    def close(self) -> None:
        self.backend.stop()
        self.store.close()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Leave everything to another process meanwhile, and begin anew afterwards."""
        self.close()
        try:
            yield
        finally:
            if self.bed.durable:
                self.store = self._open()
            self.backend = self._backend()

    def restart(self) -> None:
        """Another back end object on the same records. What only the memory of a fake holds is gone then."""
        self.backend.stop()
        self.backend = self._backend()

    def unrecorded(self) -> list[str]:
        """Names of what the array has and no record knows: nobody will ever delete it."""
        records: tuple[Volume | Snapshot, ...] = (*self.store.page(Volume).records, *self.store.page(Snapshot).records)
        known = {record.provider.location or f"{type(record).__name__.lower()}-{record.id}" for record in records}
        luns = [*self.array.luns(VOLUME), *self.array.luns(SNAPSHOT)]
        return [lun.name for lun in luns if lun.id not in known and lun.name not in known]

    @property
    def has_data(self) -> bool:
        return self.bed.data != "none"

    def connector(self, host: str = "") -> dict[str, object]:
        if self.bed.data == "brick":
            from csi_cinderlib.brick import connector_properties

            return connector_properties(host=host)
        return {"host": host or "here", "ip": "127.0.0.1", "initiator": f"iqn.2010-10.test:{host or 'here'}"}

    @contextlib.contextmanager
    def device(self, attachment: Attachment) -> Iterator[Path]:
        """The volume as something that can be opened on this host."""
        with self.held(attachment) as held:
            yield held.path

    @contextlib.contextmanager
    def held(self, attachment: Attachment) -> Iterator[Held]:
        info = attachment.connection_info
        data: Any = info["data"]
        if self.bed.data == "file":
            yield Held(Path(data["device_path"]), lambda _size: None)
            return
        from csi_cinderlib.brick import ANYWHERE, Initiator

        initiator = Initiator(self.directory, allowed=ANYWHERE)
        connection = Connection(
            volume_id=attachment.volume_id, protocol=str(info["driver_volume_type"]).lower(), data=data
        )
        device = initiator.connect(connection)
        try:
            yield Held(
                Path(device.path),
                lambda size: initiator.extend(connection, device, expected=size * BYTES_PER_GIB),
            )
        finally:
            initiator.disconnect(connection, device)

    @contextlib.contextmanager
    def mounted(self, held: Held) -> Iterator[Path]:
        """A new file system on the volume, mounted; of a volume that is a plain file here, the file itself."""
        if self.bed.data == "file":
            yield held.path
            return
        from csi_cinderlib.host import filesystems, mkfs, mounts

        mkfs.plan(str(held.path), "xfs").carry_out()
        folder = self.directory / "mounted"
        folder.mkdir(exist_ok=True)
        mounts.mount(str(held.path), str(folder), "xfs", ())
        try:
            file = folder / "file"
            file.write_bytes(bytes(BLOCK))
            yield file
            filesystems.grow(str(held.path), str(folder))
            assert os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize > 0.9 * size_gib(held.path) * BYTES_PER_GIB
        finally:
            mounts.unmount(str(folder))


def write(device: Path, mark: bytes, *, at: int = 0) -> None:
    """Put a recognisable block at that offset, durably."""
    with device.open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(mark.ljust(BLOCK, b"."))
        os.fsync(file.fileno())


def read(device: Path, *, at: int = 0) -> bytes:
    with device.open("rb", buffering=0) as file:
        file.seek(at)
        return file.read(BLOCK).rstrip(b".")


def size_gib(device: Path) -> float:
    with device.open("rb", buffering=0) as file:
        return file.seek(0, os.SEEK_END) / BYTES_PER_GIB


_NOTHING: Any = {"driver": "tests.support.fakes.nothing.NothingDriver"}
_LEGACY: Any = {"driver": "tests.support.fakes.legacy.LegacyDriver"}
_LOOPFILE: Any = {
    "driver": "csi_cinderlib.drivers.loopfile.LoopFileDriver",
    "options": {"loopfile_directories": ["{directory}"]},
    "data": "file",
}


def array_bed(name: str, *traits: str, faults: Sequence[str] = (), durable: bool = True) -> Bed:
    """A fake array with these traits (see `array_driver.TRAITS`), in a file as its records are."""
    options = {"nothing_array_file": f"{{directory}}/{ARRAY_FILE}", "nothing_traits": traits, "nothing_faults": faults}
    driver = "tests.support.fakes.array_driver.ArrayDriver"
    return Bed(name=name, driver=driver, options=options, store="sql", durable=durable)


ARRAYS = (
    array_bed("array-by-name", "unique-names", "refuses-unknown", "refuses-same-size"),
    array_bed("array-same-names"),
    array_bed("array-by-id", "assigned-ids"),
    array_bed("array-strict-by-id", "assigned-ids", "unique-names", "refuses-unknown", "extends-by-difference"),
)
ODD_ANSWERS = array_bed(
    "array-odd-answers",
    "assigned-ids",
    durable=False,
    faults=[
        "create_volume@after=unknown-keys",
        "create_volume_from_snapshot@after=integers",
        "create_cloned_volume@after=bytes",
        "create_snapshot@after=integers",
        "get_volume_stats@after=text-capacities",
    ],
)


def beds() -> list[Bed]:
    """The beds to run on: those of the environment, or the fakes and loop files, each on both stores."""
    if file := os.environ.get(VARIABLE):
        return [Bed(**values) for values in json.loads(Path(file).read_text())]
    return [
        Bed(name="nothing-memory", **_NOTHING),
        Bed(name="nothing-sqlite", store="sql", **_NOTHING),
        Bed(name="legacy-memory", **_LEGACY),
        Bed(name="loopfile-memory", **_LOOPFILE),
        Bed(name="loopfile-sqlite", store="sql", durable=True, **_LOOPFILE),
        *ARRAYS,
        ODD_ANSWERS,
    ]
