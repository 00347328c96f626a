"""A killed run leaves a state that the next run completes, in both directions. No record is lost or left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.model.records import KeyValue, Provider, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.sql import read
from csi_cinderlib.provisioning import restored
from tests.component.adoption.openstack.databases import ADOPTABLE, Run, id_of
from tests.component.adoption.openstack.databases import change as changed
from tests.component.adoption.openstack.test_rollback import add, attachment, change, name, opened

Capture = pytest.CaptureFixture[str]
APPLYING = [
    "adopt.record:1",
    "adopt.record:3",
    "adopt.record:6",
    "adopt.verified",
    "adopt.completed",
    "adopt.released:1",
    "adopt.released:6",
]
ROLLING_BACK = [
    "rollback.begun",
    "rollback.fenced:1",
    "rollback.fenced:5",
    "rollback.record:1",
    "rollback.record:2",
    "rollback.record:6",
    "rollback.forgotten",
]


def killed(run: Run, point: str, option: str) -> None:
    argv = ["adopt", "cinder", "--url", run.url, "--into", f"sqlite:///{run.target}", option, str(run.plan_file)]
    environment = {**os.environ, "CINDERLIB_FAULT_POINT": point}
    done = subprocess.run([sys.executable, "-m", "csi_cinderlib", *argv], check=False, env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL


def contents(run: Run) -> list[object]:
    return [replace(record, revision="") for record in run.records()]


def key_values(run: Run) -> list[KeyValue]:
    with read({"url": f"sqlite:///{run.target}"}, state_dir=run.target.parent, sealer=None) as store:
        return list(walk_all(store, KeyValue))


@pytest.mark.parametrize("point", APPLYING)
def test_a_killed_adoption_is_completed_by_the_next_one(run: Run, point: str) -> None:
    assert run.plan(*map(id_of, ADOPTABLE)) == 0
    killed(run, point, "--apply")
    assert run.apply() == 0
    assert {volume.name for volume in run.volumes().values()} == set(ADOPTABLE.values())
    assert run.roll_back() == 0
    assert (contents(run), key_values(run)) == ([], [])


@pytest.mark.parametrize("point", APPLYING)
def test_a_killed_adoption_can_be_rolled_back(run: Run, point: str) -> None:
    assert run.plan(*map(id_of, ADOPTABLE)) == 0
    killed(run, point, "--apply")
    assert run.roll_back() == 0
    assert contents(run) == []
    assert run.apply() == 0
    assert set(run.volumes()) == set(ADOPTABLE.values())


@pytest.mark.parametrize("point", ROLLING_BACK)
def test_a_killed_rollback_is_completed_by_the_next_one(run: Run, point: str, capsys: Capture) -> None:
    run.plan_and_apply()
    adopted = contents(run)
    killed(run, point, "--rollback")
    assert run.roll_back() == 0
    assert (contents(run), key_values(run)) == ([], [])
    assert run.apply() == 0
    assert contents(run) == adopted


def test_an_adoption_is_refused_until_a_killed_rollback_is_completed(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1)
    killed(run, "rollback.fenced", "--rollback")
    (volume,) = (record for record in run.records() if isinstance(record, Volume))
    assert volume.status is Status.RETURNING
    assert run.apply() == 2
    assert "a rollback of this plan was interrupted; finish it with --rollback " in capsys.readouterr().err


def test_a_problem_puts_the_volumes_of_a_killed_rollback_back(run: Run, capsys: Capture) -> None:
    run.plan_and_apply()
    adopted = contents(run)
    killed(run, "rollback.fenced:3", "--rollback")
    add(run, attachment(1))
    assert run.roll_back() == 1
    assert f"volume {id_of(1)}: is attached to node7; detach it first" in capsys.readouterr().err
    assert contents(run) == adopted


@pytest.mark.parametrize("point", ["adopt.record:1", "adopt.record:6", "adopt.verified", "adopt.completed"])
def test_no_record_is_usable_before_an_adoption_is_completed(run: Run, point: str) -> None:
    assert run.plan(*map(id_of, ADOPTABLE)) == 0
    killed(run, point, "--apply")
    assert {getattr(record, "status", None) for record in run.records()} == {Status.ADOPTING}


@pytest.mark.parametrize("point", ["rollback.begun", "rollback.record:1"])
def test_a_removal_that_was_begun_goes_on_beside_an_attachment_that_is_being_refused(run: Run, point: str) -> None:
    run.plan_and_apply(1, 2)
    killed(run, point, "--rollback")
    add(run, attachment(1))
    assert run.roll_back() == 0
    assert (contents(run), key_values(run)) == ([], [])


def test_an_unfinished_adoption_is_named_by_another_plan(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(2)) == 0
    killed(run, "adopt.verified", "--apply")
    assert run("--plan", str(run.plan_file.with_name("second.yaml")), id_of(2)) == 1
    assert f"with an unfinished adoption; undo that with --rollback {name(run)}" in capsys.readouterr().err
    second = run.plan_file.with_name("second.yaml")
    assert run("--rollback", name(run)) == 0
    assert run("--plan", str(second), id_of(2)) == 0


def test_a_record_of_a_killed_adoption_that_a_driver_has_changed_is_written_again(run: Run) -> None:
    assert run.plan(id_of(2)) == 0
    killed(run, "adopt.verified", "--apply")
    change(run, Volume, id_of(2), provider=Provider(id="set by the driver"), mark_void=True)
    assert run.apply() == 0
    (volume,) = run.volumes().values()
    assert (volume.provider.id, volume.mark_void, volume.status) == (None, False, Status.AVAILABLE)


@pytest.mark.parametrize(
    "values", [{"provider": Provider(id="set by the driver")}, {"mark_void": True}, {"size": GiB(9)}]
)
def test_what_a_driver_or_a_failed_attachment_leaves_does_not_prevent_the_return(run: Run, values: Any) -> None:
    run.plan_and_apply(1)
    change(run, Volume, id_of(1), **values)
    assert run.roll_back() == 0
    assert contents(run) == []


def test_a_problem_of_an_interrupted_run_names_how_to_undo_it(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(2)) == 0
    killed(run, "adopt.verified", "--apply")
    add(run, replace(next(iter(run.volumes().values())), id=id_of(77), adoption="", fields={"_name_id": id_of(2)}))
    assert run.apply() == 1
    assert f"the records of an interrupted run stay; undo it with --rollback {name(run)}" in capsys.readouterr().err
    assert run.roll_back() == 0
    assert [record.id for record in run.records()] == [id_of(77)]


@pytest.mark.parametrize("point", ["adopt.completed", "adopt.released:1"])
def test_what_cinder_got_back_after_a_kill_does_not_become_usable(
    run: Run, source: Path, point: str, capsys: Capture
) -> None:
    assert run.plan(id_of(2), id_of(3)) == 0
    killed(run, point, "--apply")
    changed(source, f"UPDATE volumes SET status = 'in-use' WHERE id = '{id_of(3)}'")
    assert run.apply() == 1
    printed = capsys.readouterr().err
    assert f"volume {id_of(3)}: can no longer be adopted: its status is 'in-use'" in printed
    assert f"undo it with --rollback {name(run)}" in printed
    assert run.volumes()["from image"].status is Status.ADOPTING
    assert run.roll_back() == 0
    assert (contents(run), key_values(run)) == ([], [])


def test_a_change_of_a_volume_that_is_usable_already_does_not_stop_the_others(run: Run, source: Path) -> None:
    assert run.plan(id_of(2), id_of(3)) == 0
    killed(run, "adopt.released:1", "--apply")
    changed(source, f"DELETE FROM volumes WHERE id = '{id_of(2)}'")
    assert run.apply() == 0
    assert {volume.status for volume in run.volumes().values()} == {Status.AVAILABLE}


def test_a_plan_that_is_applied_to_a_restored_store_cannot_be_returned(run: Run, capsys: Capture) -> None:
    """An earlier adoption, which the copy lacks, may have led to attachments that nothing knows of."""
    assert run.plan(id_of(1)) == 0
    run.target.touch()
    with opened(run) as store:
        restored.void_marks(store)
    assert run.apply() == 0
    assert run.roll_back() == 1
    assert "or the store was restored from a copy" in capsys.readouterr().err
    assert {record.adoption for record in run.records() if isinstance(record, Volume | Snapshot)} == {""}
