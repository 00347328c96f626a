"""Promise 41: killed between an array's answer and the record, on an array that assigns ids.

The driver knows objects by the id that it answered, and answers that a deletion without one is done. So an object whose id was
lost is out of reach, and must stay visible: in a record, or in the list of orphans with the name to look for on the array.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program.crash.conftest import Action, Array, Processes

TRAITS = ["assigned-ids"]
CREATE: Action = ["create", "v"]
BEFORE: list[Action] = [["create", "v"], ["snapshot", "s", "v"]]
DELETE: list[Action] = [["unpublish", "v", ""], ["delete", "r"], ["delete_snapshot", "s"], ["delete", "v"]]
SETTLE: list[Action] = [["settle"]]


def array(*faults: str) -> Array:
    return {"traits": TRAITS, "faults": list(faults)}


@pytest.mark.parametrize(
    ("before", "action", "method", "after"),
    [
        pytest.param([], CREATE, "create_volume", [CREATE], id="create-retried"),
        pytest.param([], CREATE, "create_volume", [["delete", "v"]], id="create-deleted"),
        pytest.param([], CREATE, "create_volume", SETTLE, id="create-settled"),
        pytest.param(
            BEFORE,
            ["create", "r", 2, "s", "snapshot"],
            "create_volume_from_snapshot",
            [["create", "r", 2, "s", "snapshot"]],
            id="restore-retried",
        ),
        pytest.param(
            BEFORE, ["create", "r", 2, "v", "volume"], "create_cloned_volume", [["delete", "r"]], id="clone-deleted"
        ),
        pytest.param(
            BEFORE[:1], ["snapshot", "s", "v"], "create_snapshot", [["delete_snapshot", "s"]], id="snapshot-deleted"
        ),
    ],
)
def test_what_was_created_before_the_kill_stays_visible(
    before: list[Action], action: Action, method: str, after: list[Action], tmp_path: Path, processes: Processes
) -> None:
    if before:
        processes.run(tmp_path, before, array=array())
    processes.run(tmp_path, [action], array=array(f"{method}@after=kill"))
    attempts = [["attempt", *following] for following in after]
    assert processes.run(tmp_path, attempts, array=array())[-1]["invisible"] == []


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        (["create", "r"], "create_volume=kill"),
        (["create", "r", 2, "s", "snapshot"], "create_volume_from_snapshot=kill"),
        (["snapshot", "t", "v"], "create_snapshot=kill"),
        (["expand", "v", 2], "extend_volume=kill"),
        (["expand", "v", 2], "extend_volume@after=kill"),
        (["publish", "v", "n"], "create_export@after=kill"),
        (["publish", "v", "n"], "initialize_connection=kill"),
        (["publish", "v", "n"], "initialize_connection@after=kill"),
        (["delete_snapshot", "s"], "delete_snapshot=kill"),
        (["delete_snapshot", "s"], "delete_snapshot@after=kill"),
    ],
)
def test_a_driver_that_takes_the_process_along_elsewhere_loses_nothing(
    action: Action, fault: str, tmp_path: Path, processes: Processes
) -> None:
    processes.run(tmp_path, BEFORE, array=array())
    processes.run(tmp_path, [action], array=array(fault))
    retried, *_, cleaned = processes.run(tmp_path, [action, ["delete_snapshot", "t"], *DELETE], array=array())
    assert retried["invisible"] == []
    assert (cleaned["array"], cleaned["volumes"], cleaned["attachments"]) == ({}, [], [])


@pytest.mark.parametrize("fault", ["delete_volume=kill", "delete_volume@after=kill", "remove_export=kill"])
def test_a_deletion_that_was_killed_is_finished(fault: str, tmp_path: Path, processes: Processes) -> None:
    processes.run(tmp_path, [CREATE], array=array())
    processes.run(tmp_path, [["delete", "v"]], array=array(fault))
    (settled,) = processes.run(tmp_path, SETTLE, array=array())
    assert (settled["array"], settled["volumes"]) == ({}, [])
