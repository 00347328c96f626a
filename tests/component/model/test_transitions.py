"""The status of a stored volume or snapshot changes only as its table says, whichever operation changes it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import csi_cinderlib
from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.model.making import moved, replace
from csi_cinderlib.model.records import FOREIGN, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.transitions import ADOPTION, TRANSITIONS

ROOT = Path(csi_cinderlib.__file__).parent
FREE = ("adoption/mapping.py", "adoption/openstack/planning.py", "persistence/contract", "node/")
"""Records that are not stored yet, tests, and records of nodes."""


def volume(status: Status, revision: str = "1") -> Volume:
    return Volume(id="v", backend="a", size=GiB(1), status=status, revision=revision)


@pytest.mark.parametrize("status", Status)
def test_an_operation_never_takes_what_belongs_to_cinder_and_never_gives_it_away(status: Status) -> None:
    for foreign in FOREIGN:
        for before, after in ((foreign, status), (status, foreign)):
            if before is not after:
                with pytest.raises(PreconditionFailed, match=f"volume 'v' is {before}, and cannot become {after}"):
                    replace(volume(before), status=after)


@pytest.mark.parametrize("status", [Status.ERROR, Status.DELETING, Status.EXTENDING, Status.CREATING])
@pytest.mark.parametrize("before", [Status.IMPORTING, Status.UNMANAGING])
def test_an_unfinished_import_is_only_finished_or_undone(before: Status, status: Status) -> None:
    taken = Snapshot(id="s", backend="a", volume_id="v", size=GiB(1), status=before, revision="1")
    with pytest.raises(PreconditionFailed, match="snapshot 's' is"):
        replace(taken, status=status)


def test_a_new_record_may_have_any_status_and_no_change_is_always_possible() -> None:
    for status in Status:
        assert replace(volume(Status.CREATING, ""), status=status).status is status
        assert replace(volume(status), status=status).status is status


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.DELETED])
def test_a_deleted_volume_gets_no_other_status(status: Status) -> None:
    """Its object does not exist any more. Its record is only removed."""
    with pytest.raises(PreconditionFailed, match="is deleted, and cannot become"):
        replace(volume(Status.DELETED), status=status)


def test_the_table_names_every_status() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_an_adoption_changes_its_own_statuses_only() -> None:
    assert moved(volume(Status.ADOPTING), Status.AVAILABLE, ADOPTION).status is Status.AVAILABLE
    for status in (Status.DELETING, Status.IMPORTING, Status.ERROR):
        with pytest.raises(PreconditionFailed):
            moved(volume(status), Status.RETURNING, ADOPTION)


def test_no_module_changes_a_status_without_the_table() -> None:
    assert [str(path) for path in ROOT.rglob("*.py") if not _is_free(path) and _changes_unchecked(path)] == []


def _is_free(path: Path) -> bool:
    return str(path.relative_to(ROOT)).startswith(FREE)


def _changes_unchecked(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"]
    if not any(name.name == "replace" for node in imports for name in node.names):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return any(
        call.func.id == "replace" and any(_is_status(word) for word in call.keywords)  # type: ignore[attr-defined]
        for call in calls
    )


def _is_status(word: ast.keyword) -> bool:
    return word.arg == "status" and not isinstance(word.value, ast.Constant)
