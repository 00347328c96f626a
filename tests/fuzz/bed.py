"""Where a run takes place: one process with all services, its disk, and things nearby that belong to others."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host import kernel, loopctl, mounts
from csi_cinderlib.node import stage_record
from csi_cinderlib.node.record_key import RecordKey
from csi_cinderlib.node.stage_record import StageRecord
from tests.support.processes import drivers
from tests.torture.bed import mounts_below

MIB = 1024**2
CANARY = b"of somebody else\n"
POOL_MEBIBYTES = 6144
RECORDS = ("volumes", "snapshots", "attachments", "volume_groups", "group_snapshots")
"""Tables of the store."""
_DETACH = 2


class Bed:
    """A temporary directory with all of it. The process must be root, in a mount namespace of its own.

    Attributes:
        root: the directory.
        pool: the disk of the volumes, mounted.
        kubelet: the kubelet's directory, below which all paths must lie.
        foreign_mount: a tmpfs of another pod.
        link: leads out of the kubelet's directory.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="fuzz-")).resolve()
        self.pool = self.root / "pool"
        self.state = self.root / "state"
        self.kubelet = self.root / "kubelet"
        self.foreign_mount = self.kubelet / "pods" / "foreign" / "mount"
        self.link = self.kubelet / "link"
        self._outside = self.root / "outside"
        self._foreign_disk = self.root / "foreign.img"
        for directory in (self.pool, self.state, self.foreign_mount, self._outside):
            directory.mkdir(parents=True)
        self._mount_pool()
        self.link.symlink_to(self._outside)
        self._invite_bystanders()
        self._before = dict(self._bystanders())
        self.driver = DriverProcess(self.state, ["--config", str(self._configure())])

    def close(self) -> None:
        """End the process and remove every trace, also of what it left."""
        self.driver.stop()
        devices = self.loops()  # their files lose their names with the mounts
        for point in mounts_below(self.root):
            kernel.call("umount2", os.fsencode(point), _DETACH)
        for number in reversed(devices):
            with suppress(OSError), kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
                loopctl.clear(fd)
        shutil.rmtree(self.root)

    def processes(self) -> dict[str, int]:
        """The server and its drivers, by name."""
        return {"server": self.driver.pid, **drivers(self.driver.pid)}

    def log(self) -> Path:
        return self.state / "driver.log"

    def stage_records(self) -> tuple[StageRecord, ...]:
        """Those of the node, read as files."""
        return tuple(
            stage_record.decode(path.read_bytes(), RecordKey(self.state))
            for path in (self.state / "stage").glob("*.json")
        )

    def mounted(self) -> tuple[str, ...]:
        """Where something is mounted below the kubelet's directory, apart from what belongs to others."""
        points = (item.target for item in mounts.table() if item.target.startswith(f"{self.kubelet}/"))
        return tuple(point for point in points if point != str(self.foreign_mount))

    def loops(self) -> dict[int, str]:
        """Loop devices on files below the directory, and on such devices, by number; what they are on is not asked."""
        attached = loopctl.attached()
        own = {number: path for number, path in attached.items() if path.startswith(f"{self.root}/")}
        names = {f"loop{number}" for number in own}
        return own | {number: path for number, path in attached.items() if Path(path).name in names}

    def damage(self) -> list[str]:
        """What belonged to others and is not as it was."""
        after = dict(self._bystanders())
        changed = [name for name, what in self._before.items() if after.get(name) != what]
        return [f"of others, and gone or changed: {name}" for name in changed]

    def leftovers(self) -> list[str]:
        """What is there although no volume is."""
        files = {str(self.root / "pool.img"), str(self._foreign_disk)}
        return [
            *(f"mount {point}" for point in self.mounted()),
            *(f"loop device on {path}" for path in self.loops().values() if path not in files),
            *self._records(),
            *(f"stage record {path.name}" for path in (self.state / "stage").iterdir()),
            *(f"file {path}" for path in _files(self.pool) if path.name not in ("canary", "volume-canary", ".lock")),
            *(f"file {path}" for path in _files(self.kubelet) if path.name != "canary" and path != self.link),
        ]

    def _records(self) -> Iterator[str]:
        """Those of the store."""
        with closing(sqlite3.connect(f"file:{self.state}/metadata.db?mode=ro", uri=True)) as store:
            for table in RECORDS:
                for row in store.execute(f"SELECT id FROM {table}"):
                    yield f"record in {table}: {row[0]}"

    def _mount_pool(self) -> None:
        image = self.root / "pool.img"
        with image.open("wb") as file:
            file.truncate(POOL_MEBIBYTES * MIB)
        subprocess.run(["mkfs.xfs", "-q", str(image)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", str(image), str(self.pool)], check=True)

    def _invite_bystanders(self) -> None:
        mounts.mount("foreign", str(self.foreign_mount), "tmpfs")
        self._foreign_disk.write_bytes(CANARY * (MIB // len(CANARY)) + bytes(MIB % len(CANARY)))
        subprocess.run(["losetup", "--find", str(self._foreign_disk)], check=True)
        for directory in (self.pool, self._outside, self.foreign_mount, self.kubelet, self.kubelet / "pods"):
            (directory / "canary").write_bytes(CANARY)
        (self.pool / "volume-canary").write_bytes(CANARY)

    def _bystanders(self) -> Iterator[tuple[str, object]]:
        for path in sorted(self.root.rglob("*canary")):
            if path.name in ("canary", "volume-canary"):
                yield str(path), (path.lstat().st_mode, path.read_bytes())
        yield "the foreign disk", self._foreign_disk.read_bytes()
        yield "the foreign mount", str(self.foreign_mount) in {item.target for item in mounts.table()}
        yield "the foreign loop device", str(self._foreign_disk) in self.loops().values()
        yield "the link", str(self.link.readlink())

    def _configure(self) -> Path:
        """JSON is YAML."""
        options = {"loopfile_directories": [str(self.pool)]}
        driver = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
        path = self.root / "config.yaml"
        settings = {
            "backends": {"local": {"driver": driver, "options": options}},
            "kubelet_directory": str(self.kubelet),
            "log": {"format": "json"},
        }
        path.write_text(json.dumps(settings))
        return path


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
