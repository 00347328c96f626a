"""Devices that fail: device-mapper's error and flakey targets, and the kernel's debug disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.guest.inside.iscsi import disks
from tests.guest.inside.shell import modprobe, run, settle, wait_until


@dataclass(frozen=True, slots=True)
class FaultyDevice:
    """A mapping over a healthy device whose table a test changes while it is in use."""

    name: str
    beneath: str

    @property
    def path(self) -> str:
        return f"/dev/mapper/{self.name}"

    def _load(self, table: str) -> None:
        run("dmsetup", "suspend", "--noflush", "--nolockfs", self.name)
        run("dmsetup", "load", self.name, input=table)
        run("dmsetup", "resume", self.name)

    def _sectors(self) -> int:
        return int(run("blockdev", "--getsz", self.beneath))

    def heal(self) -> None:
        self._load(f"0 {self._sectors()} linear {self.beneath} 0\n")

    def fail_all(self) -> None:
        """Every read and write fails."""
        self._load(f"0 {self._sectors()} error\n")

    def fail_tail(self, sectors: int = 2048) -> None:
        """The last sectors fail, the rest reads well."""
        healthy = self._sectors() - sectors
        self._load(f"0 {healthy} linear {self.beneath} 0\n{healthy} {sectors} error\n")

    def fail_head(self, sectors: int = 2048) -> None:
        self._load(f"0 {sectors} error\n{sectors} {self._sectors() - sectors} linear {self.beneath} {sectors}\n")

    def fail_writes(self) -> None:
        """Reads go well, writes fail."""
        self._load(f"0 {self._sectors()} flakey {self.beneath} 0 0 3600 1 error_writes\n")


@contextmanager
def faulty(name: str, beneath: str) -> Iterator[FaultyDevice]:
    """A healthy mapping to begin with."""
    modprobe("dm-mod", "dm-flakey")
    run(
        "dmsetup",
        "create",
        name,
        "--uuid",
        f"TEST-{name}",
        input=f"0 {run('blockdev', '--getsz', beneath).strip()} linear {beneath} 0\n",
    )
    try:
        yield FaultyDevice(name, beneath)
    finally:
        settle()
        run("dmsetup", "remove", "--retry", name)


@contextmanager
def suspended(device: str) -> Iterator[None]:
    """A mapping that takes all reads and writes, and answers none before the end."""
    run("dmsetup", "suspend", "--noflush", "--nolockfs", device)
    try:
        yield
    finally:
        run("dmsetup", "resume", device)


@contextmanager
def offline(disks: Iterable[str]) -> Iterator[None]:
    """The kernel has given these SCSI disks up, as it does with one that does not recover, though their sessions live."""
    states = [Path(f"/sys/block/{disk}/device/state") for disk in disks]
    for state in states:
        state.write_text("offline\n")
    try:
        yield
    finally:
        for state in states:
            state.write_text("running\n")


@contextmanager
def debug_disk(**parameters: str | int) -> Iterator[str]:
    """A disk of the kernel's scsi_debug (`dev_size_mb`, `every_nth`, `opts` ...); yields its path."""
    before = disks()
    modprobe("scsi_debug", **{"dev_size_mb": 64, **parameters})
    wait_until(lambda: disks() - before, "scsi_debug's disk")
    settle()
    try:
        yield f"/dev/{(disks() - before).pop()}"
    finally:
        settle()
        run("modprobe", "-r", "scsi_debug")


def parameter(module: str, name: str, value: str | int) -> None:
    """Change a module's parameter while it runs."""
    Path(f"/sys/bus/pseudo/drivers/{module}/{name}").write_text(str(value))
