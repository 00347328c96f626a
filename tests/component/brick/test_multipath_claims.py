"""A new disk is used through the map that multipathd makes over it, however long that takes on a busy machine (promise 21)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from csi_cinderlib.brick import scsi

DISK, MAP = "/dev/sda", "/dev/dm-0"


class Machine:
    """Its multipathd lists the disk by the look of that number, and has made the map in the same step."""

    def __init__(self, listed_at: int, seconds_of_a_look: float) -> None:
        self.now = 0.0
        self.looks = 0
        self._listed_at = listed_at
        self._seconds_of_a_look = seconds_of_a_look

    @property
    def is_listed(self) -> bool:
        return self.looks >= self._listed_at

    def look(self, _device: str) -> bool:
        self.now += self._seconds_of_a_look
        self.looks += 1
        return self.is_listed

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    def made(*, listed_at: int = 1000000, seconds_of_a_look: float = 0.01) -> Machine:
        machine = Machine(listed_at, seconds_of_a_look)
        stand_ins = {
            "map_over": lambda _device: MAP if machine.is_listed else "",
            "map_name": lambda _device: "",
            "disks": lambda device: (device,),
            "_multipathd_runs": lambda: True,
            "_is_seen_by_multipathd": machine.look,
            "time": SimpleNamespace(monotonic=lambda: machine.now, sleep=machine.sleep),
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(scsi, name, stand_in)
        return machine

    return made


def test_a_disk_that_multipathd_takes_some_moments_later_is_used_through_its_map(
    machine: Callable[..., Machine],
) -> None:
    machine(listed_at=30)
    assert scsi.settled_map(DISK) == MAP


def test_where_everything_takes_long_multipathd_is_given_longer(machine: Callable[..., Machine]) -> None:
    machine(listed_at=5, seconds_of_a_look=2.0)
    assert scsi.settled_map(DISK) == MAP


def test_a_disk_that_is_excluded_is_waited_for_two_seconds(machine: Callable[..., Machine]) -> None:
    quick = machine()
    assert scsi.settled_map(DISK) == ""
    assert 2.0 <= quick.now < 2.1


def test_a_multipathd_that_does_not_answer_is_not_waited_for_without_end(machine: Callable[..., Machine]) -> None:
    silent = machine(seconds_of_a_look=2.0)
    assert scsi.settled_map(DISK) == ""
    assert silent.now < 20
