"""Where a run takes place: two processes of the driver, their disks, and things nearby that belong to others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from csi_cinderlib.host import kernel, loopctl, mounts
from tests.support import loops
from tests.support.processes import drivers
from tests.torture import plan
from tests.torture.processes import Keeper
from tests.torture.truth import Truth

MIB = 1024**2
BYSTANDERS: Mapping[str, bytes] = {
    "notes.txt": b"not a volume\n",
    "volume-notes": b"nor is this\n",
    "volume-11111111-2222-4333-8444-555555555555": b"someone else's volume\n",
    "snapshot-of-last-year": b"someone else's snapshot\n",
}
"""Files of others among the volumes."""
_DETACH = 2


class Bed(ABC):
    """A temporary directory with all of it. The process must have a mount namespace of its own.

    Attributes:
        root: the directory.
        pool: the disk of the volumes, mounted.
        state: the disk of the state directories, mounted.
        faults: the driver's faults, for each of the next starts of the controller.
    """

    name = ""
    disturbances: tuple[str, ...] = ()
    """Those that are on by default."""
    snapshots_outlive = False
    """Whether a volume can be deleted before its snapshots."""
    modifies = False
    """Whether volumes become thick and thin again."""
    pool_mib = 6144

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="torture-"))
        self.pool = self.root / "pool"
        self.state = self.root / "state"
        self.faults: deque[tuple[str, ...]] = deque()
        self.faults_are_on = False
        self.truth = Truth(self.root / "calls.log")
        self._disk(self.pool, self.pool_mib, "mkfs.xfs", "-q")
        self._disk(self.state, 64, "mkfs.ext4", "-q", "-m", "0")
        self._invite_bystanders()
        for name in ("controller", "node"):
            (self.root / name).mkdir()
            (self.state / name).mkdir()
        (self.root / "staging").mkdir()
        self.controller: Keeper
        self.node: Keeper

    def start(self) -> None:
        self.controller = self._keeper("controller")
        self.node = self._keeper("node")
        for keeper in self.keepers():
            keeper.wait_until_ready()

    def keepers(self) -> tuple[Keeper, Keeper]:
        return self.controller, self.node

    def keeper(self, name: str) -> Keeper:
        return self.node if name == "node" else self.controller

    def pid(self, name: str) -> int:
        """Of one of plan.PROCESSES; the controller's while there is no driver."""
        pid = self.keeper(name).pid
        return next(iter(drivers(pid).values()), pid) if name == plan.DRIVER else pid

    def staging(self, volume: str) -> Path:
        return self.root / "staging" / volume

    def target(self, volume: str) -> Path:
        return self.root / "pods" / volume / "volume"

    def close(self, *, keep: bool = False) -> None:
        """End the processes and undo all mounts and loop devices; remove the directory, unless it is to be kept."""
        for keeper in (getattr(self, name, None) for name in ("controller", "node")):
            if keeper is not None:
                keeper.stop()
        self.truth.close()
        for point in mounts_below(self.root):
            kernel.call("umount2", os.fsencode(point), _DETACH)
        for number in loops.below(str(self.root)):
            with suppress(OSError), kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
                loopctl.clear(fd)  # those of the disks go by themselves once nothing lies on them
        if not keep:
            shutil.rmtree(self.root)

    # --- what the beds differ in

    @abstractmethod
    def backend(self) -> dict[str, object]:
        """The driver and its options."""

    @abstractmethod
    def objects(self) -> dict[str, int]:
        """Names and sizes in GiB of all volumes and snapshots on the back end, apart from those of bystanders."""

    def backing_name(self, volume: str) -> str:
        """The name of the file that nodes attach."""
        return volume

    def problems(self) -> list[str]:
        """What only this bed can tell."""
        return []

    # --- bystanders

    def missing_bystanders(self) -> list[str]:
        """What belonged to others and is not there any more, or is changed."""
        missing = [
            f"the file {name} of others in the pool is gone or changed"
            for name, content in BYSTANDERS.items()
            if not (self.pool / name).is_file() or (self.pool / name).read_bytes() != content
        ]
        if not (self.foreign_mount / "data").is_file():
            missing.append("a mount of others is gone")
        if self.foreign_file not in loops.below(str(self.root)).values():
            missing.append("a loop device of others is gone")
        return missing

    @property
    def foreign_mount(self) -> Path:
        return self.root / "pods" / "foreign" / "volume"

    @property
    def foreign_file(self) -> str:
        return str(self.root / "foreign.img")

    def own_loops(self) -> set[str]:
        """Backing files of loop devices that no volume needs."""
        return {self.foreign_file, *(str(self.root / f"{disk}.img") for disk in ("pool", "state"))}

    def own_mounts(self) -> set[str]:
        return {str(self.pool), str(self.state), str(self.foreign_mount)}

    def _invite_bystanders(self) -> None:
        for name, content in BYSTANDERS.items():
            (self.pool / name).write_bytes(content)
        self.foreign_mount.mkdir(parents=True)
        mounts.mount("foreign", str(self.foreign_mount), "tmpfs")
        (self.foreign_mount / "data").write_bytes(b"of another pod\n")
        Path(self.foreign_file).write_bytes(bytes(MIB))
        subprocess.run(["losetup", "--find", self.foreign_file], check=True)

    # --- disks and processes

    def _disk(self, path: Path, mebibytes: int, *mkfs: str) -> None:
        image = self.root / f"{path.name}.img"
        with image.open("wb") as file:
            file.truncate(mebibytes * MIB)
        subprocess.run([*mkfs, str(image)], check=True, stdout=subprocess.DEVNULL)
        path.mkdir()
        self.mount_disk(path)

    def mount_disk(self, path: Path) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.root / f"{path.name}.img"), str(path)], check=True)

    def unmount_disk(self, path: Path) -> None:
        """As far as names go: what is open, and the loop devices of volumes, stay."""
        kernel.call("umount2", os.fsencode(path), _DETACH)

    def _keeper(self, mode: str) -> Keeper:
        return Keeper(mode, self.root / mode, self.state / mode, lambda: self._configure(mode), self.truth)

    def _configure(self, mode: str) -> Path:
        """JSON is YAML."""
        path = self.root / mode / "config.yaml"
        of_node = {"local_paths": [str(self.pool)]}
        path.write_text(json.dumps({"backends": {"array": self.backend()}} if mode == "controller" else of_node))
        return path


def mounts_below(root: Path) -> list[str]:
    """Mount points, those last mounted first; one name may be there several times."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{root}/")]
