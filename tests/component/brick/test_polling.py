"""A new iSCSI disk is found without os-brick's sleep of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.brick import loading

HCTL = ("5", "0", "0", "1")


class Disks:
    """What the kernel shows in sysfs, and how often os-brick looked."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.looks = 0

    def find(self, path: str) -> list[str]:
        self.looks += 1
        return [f"/sys/block/{name}" for name in self.names]


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, Callable[[], object]]] = []

    def at(self, moment: float, event: Callable[[], object]) -> None:
        self._events.append((moment, event))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        while self._events and self._events[0][0] <= self.now:
            self._events.pop(0)[1]()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(loading, "time", made)
    return made


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Disks:
    found = Disks()
    monkeypatch.setattr("glob.glob", found.find)
    return found


def connector(tmp_path: Path) -> Any:
    made: Any = loading.connector_class("iscsi", lock_dir=tmp_path / "locks")(root_helper="")
    loading.poll_for_disks(made)
    return made


def look(made: Any, session: str) -> str | None:
    name: str | None = made._linuxscsi.device_name_by_hctl(session, HCTL)
    return name


def test_a_disk_is_found_while_the_kernel_still_probes_it(disks: Disks, clock: Clock, tmp_path: Path) -> None:
    made = connector(tmp_path)
    clock.at(0.1, lambda: disks.names.append("sdb"))
    assert look(made, "7") == "sdb", "os-brick's own look answers None here and sleeps"
    assert clock.now < 0.2


def test_the_wwn_is_found_while_udev_still_links_the_disk(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = connector(tmp_path)
    links: list[str] = []
    monkeypatch.setattr("glob.glob", lambda path: list(links))
    monkeypatch.setattr(type(made._linuxscsi), "get_sysfs_wwid", lambda self, names: "36001405abc")
    clock.at(0.1, lambda: links.append("/dev/disk/by-id/scsi-36001405abc"))
    assert made._linuxscsi.get_sysfs_wwn(["sdb"]) == "36001405abc"
    assert clock.now < 0.2


def test_a_session_without_the_disk_is_waited_for_once(disks: Disks, tmp_path: Path) -> None:
    made = connector(tmp_path)
    assert look(made, "7") is None
    assert disks.looks > 1
    disks.looks = 0
    assert look(made, "7") is None
    assert disks.looks == 1
    disks.looks = 0
    assert look(made, "8") is None
    assert disks.looks > 1, "another session has its own wait"
