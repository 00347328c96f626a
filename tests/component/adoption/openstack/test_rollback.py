"""An adoption can be undone until a volume is used. Then its records stay, and the reason is printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.adoption.openstack import applying, rollback
from csi_cinderlib.adoption.openstack.adopted import USED
from csi_cinderlib.adoption.openstack.plan import parsed
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import (
    Attachment,
    InitiatorData,
    KeyValue,
    Snapshot,
    Source,
    SourceKind,
    Status,
    Volume,
)
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.sql import open_store
from tests.component.adoption.openstack.databases import FOLDER, Run, id_of

Capture = pytest.CaptureFixture[str]
EXAMPLE = FOLDER.parents[3] / "examples" / "adopted-volumes" / "template.yaml"


@contextmanager
def opened(run: Run) -> Iterator[Store]:
    store = open_store({"url": f"sqlite:///{run.target}"}, state_dir=run.target.parent, sealer=None)
    try:
        yield store
    finally:
        store.close()


def change(run: Run, kind: Any, id: str, **values: Any) -> None:
    with opened(run) as store:
        store.replace(replace(store.get(kind, id), **values))


def add(run: Run, record: Any) -> None:
    with opened(run) as store:
        store.add(record)


def name(run: Run) -> str:
    return parsed(run.plan_file.read_text(), "plan.yaml").name


def attachment(number: int) -> Attachment:
    return Attachment(
        id="a", volume_id=id_of(number), backend="lvm", node_id="node7", access_mode=AccessMode.SINGLE_NODE_READER_ONLY,
        read_only=True, status=Status.AVAILABLE,
    )  # fmt: skip


def test_a_rollback_removes_the_records_and_their_marks(run: Run, capsys: Capture) -> None:
    run.plan_and_apply()
    assert run.roll_back() == 0
    assert "rolled back: 5 volume, 1 snapshot; nothing on the array was touched" in capsys.readouterr().err
    assert list(run.records()) == []
    with opened(run) as store:
        assert list(walk_all(store, KeyValue)) == []
        assert list(walk_all(store, InitiatorData)) == []


def test_data_for_initiators_stay_while_another_volume_needs_them(run: Run) -> None:
    run.plan_and_apply(1, 2)
    change(run, Volume, id_of(1), adoption="")
    assert run.roll_back("--skip-problems") == 0
    with opened(run) as store:
        assert len(list(walk_all(store, InitiatorData))) == 1


def test_data_for_initiators_that_the_driver_has_changed_stay(run: Run) -> None:
    run.plan_and_apply(1)
    with opened(run) as store:
        (data,) = walk_all(store, InitiatorData)
        store.replace(replace(data, value="new"))
    assert run.roll_back() == 0
    with opened(run) as store:
        assert [kept.value for kept in walk_all(store, InitiatorData)] == ["new"]


def test_volumes_can_be_adopted_again_after_a_rollback(run: Run) -> None:
    run.plan_and_apply(1, 2)
    first = [replace(record, revision="") for record in run.records()]
    assert run.roll_back() == 0
    assert run.apply() == 0
    assert [replace(record, revision="") for record in run.records()] == first


def test_records_of_other_plans_and_of_the_driver_stay(run: Run) -> None:
    run.plan_and_apply(2)
    add(run, Volume(id="other", backend="lvm", size=GiB(1), status=Status.AVAILABLE))
    run.plan_file = run.plan_file.with_name("second.yaml")
    run.plan_and_apply(1)
    assert run.roll_back() == 0
    assert {record.id for record in run.records()} == {id_of(2), "other"}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"adoption": ""}, USED),
        ({"adoption": "other"}, "was adopted by another plan"),
        ({"status": Status.DELETING}, "is deleting, or an operation on it is not finished"),
        ({"owner": "controller"}, "is available, or an operation on it is not finished"),
    ],
)
def test_a_volume_that_was_used_is_not_rolled_back(
    run: Run, values: dict[str, Any], reason: str, capsys: Capture
) -> None:
    run.plan_and_apply(1, 2)
    change(run, Volume, id_of(1), **values)
    before = list(run.records())
    assert run.roll_back() == 1
    printed = capsys.readouterr().err
    assert f"problem: volume {id_of(1)}: {reason}" in printed
    assert "nothing rolled back; remove the causes, or leave these volumes out with --skip-problems" in printed
    assert list(run.records()) == before


def test_volumes_that_were_used_can_be_left_out(run: Run) -> None:
    run.plan_and_apply(1, 2)
    change(run, Volume, id_of(1), adoption="")
    assert run.roll_back("--skip-problems") == 0
    assert [(record.id, getattr(record, "status", "")) for record in run.records()] == [
        (id_of(1), Status.AVAILABLE),
        (id_of(101), Status.AVAILABLE),
    ]
    run.plan_file = run.plan_file.with_name("second.yaml")
    run.plan_and_apply(2)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (attachment(1), "is attached to node7; detach it first"),
        (
            Snapshot(id="new", backend="lvm", volume_id=id_of(1), size=GiB(2), status=Status.AVAILABLE),
            "has the snapshot new, which Cinder does not know",
        ),
        (
            Volume(id="new", backend="lvm", size=GiB(2), source=Source(SourceKind.VOLUME, id_of(1))),
            "volume new was created from it",
        ),
        (
            Volume(id="new", backend="lvm", size=GiB(2), source=Source(SourceKind.SNAPSHOT, id_of(101))),
            "volume new was created from it",
        ),
    ],
    ids=["attachment", "snapshot", "clone", "restored snapshot"],
)
def test_a_volume_that_something_depends_on_is_not_rolled_back(
    run: Run, record: Any, reason: str, capsys: Capture
) -> None:
    run.plan_and_apply(1)
    add(run, record)
    before = list(run.records())
    assert run.roll_back() == 1
    assert f"problem: volume {id_of(1)}: {reason}" in capsys.readouterr().err
    assert list(run.records()) == before


def test_a_source_stays_with_its_copy_of_the_same_plan(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1, 2, 4)  # 4 is a copy of 1
    change(run, Volume, id_of(4), adoption="")
    assert run.roll_back("--skip-problems") == 0
    assert (
        f"volume {id_of(1)}: volume {id_of(4)} was created from it; delete that volume first" in capsys.readouterr().err
    )
    assert {record.id for record in run.records()} == {id_of(1), id_of(101), id_of(4)}


def test_a_source_and_its_copy_are_returned_together(run: Run) -> None:
    run.plan_and_apply(1, 4)
    assert run.roll_back() == 0
    assert list(run.records()) == []


def test_data_for_initiators_stay_while_any_volume_is_left(run: Run) -> None:
    run.plan_and_apply(1)
    run.plan_file = run.plan_file.with_name("second.yaml")
    run.plan_and_apply(2)
    change(run, Volume, id_of(2), adoption="")
    run.plan_file = run.plan_file.with_name("plan.yaml")
    assert run.roll_back() == 0
    with opened(run) as store:
        assert [kept.value for kept in walk_all(store, InitiatorData)] == ["chap-secret"]


def test_a_volume_that_another_plan_has_adopted_stays_with_it(run: Run, capsys: Capture) -> None:
    first, second = run.plan_file, run.plan_file.with_name("second.yaml")
    assert run.plan(id_of(1), id_of(2)) == 0
    run.plan_file = second
    assert run.plan(id_of(2), id_of(3)) == 0
    run.plan_file = first
    assert run.apply() == 0
    run.plan_file = second
    assert run.apply() == 1
    assert f"volume {id_of(2)}: is in the store already; make a new plan without it" in capsys.readouterr().err
    assert run.roll_back() == 2
    assert f"the store has nothing of plan {name(run)}" in capsys.readouterr().err
    run.plan_file = first
    assert run.roll_back() == 0
    run.plan_file = second
    assert run.apply() == 0
    assert set(run.volumes()) == {"typed", "from image"}


def test_what_another_run_has_put_back_is_not_removed(run: Run) -> None:
    """Another run of the command met a problem, and put all volumes back, before this one had decided to remove them."""
    run.plan_and_apply(1, 2)
    with opened(run) as store:
        outlook = rollback.look(store, name(run))
        for item in outlook.volumes:
            rollback._fence(store, item)
        rollback.put_back(store, name(run))
        decided, problems = rollback._decide(store, name(run), [id_of(1), id_of(2)])
        assert decided == []
        assert problems[id_of(1)] == f"volume {id_of(1)} is available again, by another run of this command"
    assert run.roll_back() == 0
    assert list(run.records()) == []


def test_nothing_makes_a_volume_usable_whose_removal_was_decided(run: Run) -> None:
    run.plan_and_apply(1)
    plan = parsed(run.plan_file.read_text(), "plan.yaml")
    with opened(run) as store:
        (item,) = rollback.look(store, plan.name).volumes
        rollback._fence(store, item)
        decided, _ = rollback._decide(store, plan.name, [id_of(1)])
        assert [record.status for record in decided[0].records] == [Status.RETURNED] * 2
        rollback.put_back(store, plan.name)
        assert applying.release(store, plan) == 0
        assert store.get(Volume, id_of(1)).status is Status.RETURNED
    assert run.apply() == 2
    assert run.roll_back() == 0
    assert list(run.records()) == []


def test_a_volume_can_be_returned_after_the_others_of_its_plan(run: Run) -> None:
    run.plan_and_apply(1, 2)
    add(run, attachment(1))
    assert run.roll_back("--skip-problems") == 0
    with opened(run) as store:
        store.remove(store.get(Attachment, "a"))
    assert run.roll_back() == 0
    assert list(run.records()) == []


def test_a_snapshot_that_is_being_deleted_prevents_the_rollback(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1)
    change(run, Snapshot, id_of(101), status=Status.DELETING)
    assert run.roll_back() == 1
    assert f"its snapshot {id_of(101)} is deleting, or an operation on it is not finished" in capsys.readouterr().err


def test_a_volume_that_was_deleted_since_is_not_offered_for_adoption_again(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1, 2)
    with opened(run) as store:
        store.remove(store.get(Volume, id_of(2)))
    assert run.roll_back() == 0
    assert "note: 1 records of the plan are gone: deleted since" in capsys.readouterr().err
    run.plan_file = run.plan_file.with_name("second.yaml")
    assert run.plan(id_of(2)) == 1
    assert f"volume {id_of(2)}: was adopted before and has been deleted since" in capsys.readouterr().err
    assert run.plan(id_of(2), "--again", id_of(2)) == 0
    assert run.apply() == 0
    assert run.roll_back() == 0


def test_a_completed_plan_prints_no_claim_for_a_volume_that_was_deleted_since(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1, 2)
    with opened(run) as store:
        store.remove(store.get(Volume, id_of(2)))
    capsys.readouterr()
    assert run.apply("--claims", str(EXAMPLE)) == 0
    printed = capsys.readouterr()
    assert f"note: volume {id_of(2)}: was returned or deleted since; make a new plan for it" in printed.err
    assert id_of(1) in printed.out
    assert id_of(2) not in printed.out


def test_a_plan_that_was_never_carried_out_is_not_rolled_back(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(1)) == 0
    assert run.roll_back() == 2
    assert "the metadata store does not exist" in capsys.readouterr().err


def test_a_rollback_needs_no_database(run: Run, source: Any) -> None:
    run.plan_and_apply(1)
    source.unlink()
    run.url = ""
    assert run.roll_back() == 0
    assert list(run.records()) == []


def carried_out(run: Run, meanwhile: Any) -> tuple[Any, list[Any]]:
    """Roll back while another process uses the store, after the look. Returns the problems and the records."""
    plan = parsed(run.plan_file.read_text(), "plan.yaml")
    with opened(run) as store:
        outlook = rollback.look(store, plan.name)
        assert outlook.problems == ()
        meanwhile(store)
        _, problems = rollback.carry_out(store, plan.name, outlook)
        return [problem.problem for problem in problems], [*walk_all(store, Volume), *walk_all(store, Snapshot)]


def test_a_volume_that_is_attached_during_the_rollback_stays(run: Run) -> None:
    run.plan_and_apply(1)

    def attach(store: Store) -> None:
        store.replace(replace(store.get(Volume, id_of(1)), adoption=""))

    problems, records = carried_out(run, attach)
    assert problems == [f"volume '{id_of(1)}' was changed by another call; retry"]
    assert [(record.status, record.name_taken) for record in records] == [(Status.AVAILABLE, "")] * 2


def test_a_volume_that_is_being_attached_during_the_rollback_is_put_back(run: Run) -> None:
    run.plan_and_apply(1)
    problems, records = carried_out(run, lambda store: store.add(attachment(1)))
    assert problems == ["is attached to node7; detach it first"]
    assert [(record.status, record.name_taken) for record in records] == [(Status.AVAILABLE, "")] * 2
    with opened(run) as store:
        store.remove(store.get(Attachment, "a"))
    assert run.roll_back() == 0
