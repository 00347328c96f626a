"""kill -9 of the controller while it takes a group snapshot on an array that deletes the volumes in a group with the group."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program.crash.conftest import Action, Processes, State

TRAITS = ["unique-names"]
VOLUMES: list[Action] = [["create", "v"], ["create", "r"]]
TAKE: Action = ["group", "g", "v", "r"]
GONE: list[Action] = [["delete_group", "g"], ["delete", "v"], ["delete", "r"]]
MOMENTS = [
    "create_group:1=kill",
    "create_group:1@after=kill",
    "update_group:1=kill",
    "update_group:1@after=kill",
    "create_group_snapshot:1=kill",
    "create_group_snapshot:1@after=kill",
    "update_group:2=kill",
    "update_group:2@after=kill",
]


def volumes(state: State) -> list[str]:
    return sorted(name for name in state["array"] if name.startswith("volume "))


@pytest.mark.parametrize("settled", [True, False], ids=["nobody asks again", "asked again"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_volumes_outlive_a_group_snapshot_that_was_killed(
    moment: str, settled: bool, tmp_path: Path, processes: Processes
) -> None:
    array = {"traits": TRAITS}
    before = processes.run(tmp_path, VOLUMES, array=array)[-1]
    processes.run(tmp_path, [TAKE], array={**array, "faults": [moment]})
    *_, after, _, _, gone = processes.run(tmp_path, [["settle"] if settled else TAKE, TAKE, *GONE], array=array)
    assert len(volumes(before)) == 2
    assert volumes(after) == volumes(before)
    assert gone["array"] == {}
    assert (gone["volumes"], gone["snapshots"], gone["groups"], gone["cinder groups"]) == ([], [], [], [])


@pytest.mark.parametrize(
    "moment", ["delete_group_snapshot:1@after=kill", "delete_group:1=kill", "delete_group:1@after=kill"]
)
def test_volumes_outlive_a_deletion_of_a_group_snapshot_that_was_killed(
    moment: str, tmp_path: Path, processes: Processes
) -> None:
    array = {"traits": TRAITS}
    before, *_ = processes.run(tmp_path, [*VOLUMES[::-1], TAKE], array=array)[1:]
    processes.run(tmp_path, [GONE[0]], array={**array, "faults": [moment]})
    after, *_, gone = processes.run(tmp_path, [["settle"], *GONE], array=array)
    assert volumes(after) == volumes(before)
    assert after["snapshots"] == after["groups"] == after["cinder groups"] == []
    assert gone["array"] == {}
