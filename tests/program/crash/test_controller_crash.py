"""kill -9 of the controller at every step of every call, on loop files and SQLite: then a restart, and what may follow.

The caller repeats the call; or the claim was deleted meanwhile; or nobody ever asks again. In each case what is there afterwards is
what would be there without the kill, and in the end nothing is left: no file, no row.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.lifecycle.groups import GroupSnapshots
from csi_cinderlib.lifecycle.snapshots import Snapshots
from csi_cinderlib.lifecycle.volumes import Volumes
from tests.component.lifecycle.contract.test_imports_survive_crashes import IMPORT, SNAPSHOT, UNDO, UNDO_SNAPSHOT
from tests.program.crash.conftest import Action, Array, Processes, State

REPOSITORY = Path(__file__).parents[3]
EMPTY: State = {
    "volumes": [],
    "snapshots": [],
    "attachments": [],
    "groups": [],
    "cinder groups": [],
    "files": {},
    "allocated": {},
    "array": {},
    "invisible": [],
    "formatting": {},
}


@dataclass(frozen=True)
class Call:
    """A call to be interrupted.

    Attributes:
        before: what is done first.
        action: the call.
        points: where it may be interrupted.
        gone: what undoes the call when nobody wants it any more.
    """

    before: list[Action]
    action: Action
    points: tuple[str, ...]
    gone: list[Action]


CREATED = ("create-volume.record-written", "create-volume.driver-done")
CALLS = {
    "create": Call([], ["create", "v"], CREATED, [["delete", "v"]]),
    "restore": Call(
        [["create", "v"], ["snapshot", "s", "v"]], ["create", "r", 2, "s", "snapshot"], CREATED, [["delete", "r"]]
    ),
    "clone": Call([["create", "v"]], ["create", "r", 2, "v", "volume"], CREATED, [["delete", "r"]]),
    "snapshot": Call(
        [["create", "v"]],
        ["snapshot", "s", "v"],
        ("create-snapshot.record-written", "create-snapshot.driver-done"),
        [["delete_snapshot", "s"]],
    ),
    "publish": Call(
        [["create", "v"]],
        ["publish", "v", "n"],
        ("publish.record-written", "publish.exported", "publish.connected", "publish.sealed"),
        [["unpublish", "v", "n"]],
    ),
    "unpublish": Call(
        [["create", "v"], ["publish", "v", "n"]],
        ["unpublish", "v", "n"],
        ("unpublish.record-written", "unpublish.terminated"),
        [],
    ),
    "expand": Call([["create", "v"]], ["expand", "v", 3], ("expand.record-written", "expand.driver-done"), []),
    "modify": Call(
        [["create", "v"]],
        ["modify", "v", "extraSpecs/provisioning:type=thick"],
        ("modify.record-written", "modify.driver-done"),
        [["modify", "v", "extraSpecs/provisioning:type="]],
    ),
    "delete": Call(
        [["create", "v"]], ["delete", "v"], ("delete-volume.record-written", "delete-volume.driver-done"), []
    ),
    "delete-source": Call(
        [["create", "v"], ["snapshot", "s", "v"]],
        ["delete", "v"],
        ("delete-volume.record-written", "delete-volume.driver-done"),
        [],
    ),
    "delete-snapshot": Call(
        [["create", "v"], ["snapshot", "s", "v"]],
        ["delete_snapshot", "s"],
        ("delete-snapshot.record-written", "delete-snapshot.driver-done"),
        [],
    ),
    "delete-last": Call(
        [["create", "v"], ["snapshot", "s", "v"], ["delete", "v"]],
        ["delete_snapshot", "s"],
        ("delete-snapshot.record-removed",),
        [],
    ),
    "group": Call(
        [["create", "v"], ["create", "r"]],
        ["group", "g", "v", "r"],
        (
            "create-group-snapshot.record-written",
            "create-group-snapshot.members-written",
            "create-group-snapshot.answered",
            "create-group-snapshot.driver-done",
        ),
        [["delete_group", "g"]],
    ),
    "delete-group": Call(
        [["create", "v"], ["create", "r"], ["group", "g", "v", "r"]],
        ["delete_group", "g"],
        ("delete-group-snapshot.record-written", "delete-group-snapshot.driver-done"),
        [],
    ),
}
FILES_ONLY = {"modify", "delete-source", "delete-last", "group", "delete-group"}
"""The snapshots of the fake array depend on their volumes, and it takes no groups and changes no types."""
UNMAKING = {"unpublish", "expand", "delete", "delete-source", "delete-snapshot", "delete-last", "delete-group"}
"""What was asked for cannot be unwished: a clean-up finishes it."""

CLEAN: list[Action] = [
    ["unpublish", "v", ""],
    ["delete_group", "g"],
    ["delete_snapshot", "s"],
    ["delete", "r"],
    ["delete", "v"],
    ["delete", "never-made"],
]
CASES = [(name, point) for name, call in CALLS.items() for point in call.points]
BACK_ENDS: dict[str, Array | None] = {
    "files": None,
    "array": {"traits": ["unique-names", "refuses-unknown", "refuses-same-size"]},
}
"""What assigns ids is in test_array_that_assigns_ids.py."""
RETRIED = [
    (name, point, backend)
    for name, point in CASES
    for backend in BACK_ENDS
    if not (backend == "array" and name in FILES_ONLY)
    and name
    != "delete-last"  # the snapshot is gone: a retry has nothing to do, and the clean-up removes the volume's record
]


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, processes: Processes
) -> functools._lru_cache_wrapper[tuple[State, State]]:
    """What is there before and after a call that nobody interrupts."""

    @functools.cache
    def states(name: str, backend: str = "files") -> tuple[State, State]:
        call, array = CALLS[name], BACK_ENDS[backend]
        *before, after = processes.run(tmp_path_factory.mktemp(name), [*call.before, call.action], array=array)
        return (before[-1] if before else EMPTY), after

    return states


def interrupt(processes: Processes, state_dir: Path, name: str, point: str, array: Array | None = None) -> None:
    """The calls before it reach some of the same points, and are done by then."""
    call = CALLS[name]
    if call.before:
        processes.run(state_dir, call.before, array=array)
    processes.run(state_dir, [call.action], kill_at=point, array=array)


def same(state: State, expected: State, *, but: tuple[str, ...] = ("formatting",)) -> bool:
    return {key: value for key, value in state.items() if key not in but} == {
        key: value for key, value in expected.items() if key not in but
    }


@pytest.mark.parametrize(("name", "point", "backend"), RETRIED)
def test_a_retry_after_the_restart_gives_what_an_undisturbed_call_gives(
    name: str, point: str, backend: str, tmp_path: Path, processes: Processes, undisturbed: Any
) -> None:
    array = BACK_ENDS[backend]
    interrupt(processes, tmp_path, name, point, array)
    retried, *_, cleaned = processes.run(tmp_path, [CALLS[name].action, *CLEAN], array=array)
    _, expected = undisturbed(name, backend)
    assert same(retried, expected)
    if name == "publish":
        assert retried["formatting"] == {"n": "never-formatted"}
    assert same(cleaned, EMPTY)


@pytest.mark.parametrize(("name", "point"), [case for case in CASES if CALLS[case[0]].gone])
def test_when_the_claim_is_deleted_instead_nothing_of_it_is_left(
    name: str, point: str, tmp_path: Path, processes: Processes, undisturbed: Any
) -> None:
    interrupt(processes, tmp_path, name, point)
    states = processes.run(tmp_path, [*CALLS[name].gone, *CLEAN])
    undone, cleaned = states[len(CALLS[name].gone) - 1], states[-1]
    before, _ = undisturbed(name)
    if point == "publish.sealed":  # the node may have got the answer: the volume is not new any more
        assert [volume.pop("blank") for volume in undone["volumes"]] == [False]
        before = json.loads(json.dumps(before))
        assert [volume.pop("blank") for volume in before["volumes"]] == [True]
    assert same(undone, before)
    assert same(cleaned, EMPTY)


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("create", "create-volume.record-written"),
        ("restore", "create-volume.driver-done"),
        ("snapshot", "create-snapshot.driver-done"),
        ("publish", "publish.connected"),
        ("unpublish", "unpublish.terminated"),
        ("expand", "expand.driver-done"),
        ("delete", "delete-volume.record-written"),
        ("delete-source", "delete-volume.driver-done"),
        ("delete-last", "delete-snapshot.record-removed"),
        ("delete-snapshot", "delete-snapshot.driver-done"),
        ("group", "create-group-snapshot.driver-done"),
        ("delete-group", "delete-group-snapshot.record-written"),
    ],
)
def test_when_nobody_asks_again_it_is_finished_or_undone(
    name: str, point: str, tmp_path: Path, processes: Processes, undisturbed: Any
) -> None:
    interrupt(processes, tmp_path, name, point)
    settled, again, *_, cleaned = processes.run(tmp_path, [["settle"], CALLS[name].action, *CLEAN])
    before, after = undisturbed(name)
    assert same(settled, after if name in UNMAKING else before)
    assert same(again, after)
    assert same(cleaned, EMPTY)


def test_every_fault_point_of_the_controller_is_reached_by_some_call_here() -> None:
    sources = [
        *(REPOSITORY / "csi_cinderlib/lifecycle").glob("*.py"),
        *(REPOSITORY / "csi_cinderlib/provisioning").glob("*.py"),
    ]
    named = {name for path in sources for name in re.findall(r'reach\(f?"([^"]+)"\)', path.read_text())}
    found = {
        name.replace("{self.point}", kind.point).replace("{noun(record)}", noun)
        for name in named
        for kind, noun in ((Volumes, "volume"), (Snapshots, "snapshot"), (GroupSnapshots, "volume"))
    }
    of_imports = {point for point in (*IMPORT, *SNAPSHOT, *UNDO, *UNDO_SNAPSHOT) if not point.startswith("driver.")}
    assert found == {point for _, point in CASES} | of_imports
