"""A volume never has two owners: neither Cinder beside this program, nor two records, nor two back ends with one name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from csi_cinderlib.adoption.openstack import applying, known, planning, source
from csi_cinderlib.adoption.openstack.places import Places
from csi_cinderlib.adoption.openstack.plan import parsed
from csi_cinderlib.adoption.openstack.records import Names
from csi_cinderlib.errors import PreconditionFailed, Problem
from csi_cinderlib.model.records import Imported, KeyValue, Record, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence.iteration import walk_all
from tests.component.adoption.openstack.databases import Run, change, id_of
from tests.component.adoption.openstack.test_rollback import add, opened

Capture = pytest.CaptureFixture[str]
REPORTED = "UPDATE services SET updated_at = datetime('now') WHERE host = 'node1@lvm'"


# --- two back ends


def test_two_hosts_of_cinder_with_one_back_end_name_need_a_mapping(run: Run, source: Path, capsys: Capture) -> None:
    change(source, f"UPDATE volumes SET host = 'node2@lvm#pool1' WHERE id = '{id_of(2)}'")
    assert run.plan(id_of(1)) == 1
    printed = capsys.readouterr().err
    assert "host: node1@lvm and node2@lvm would both be the back end 'lvm'" in printed
    assert "--backend node1@lvm=NAME" in printed
    assert run.plan(id_of(1), id_of(2), "--backend", "node1@lvm=one", "--backend", "node2@lvm=two") == 0
    assert run.apply() == 0
    assert {volume.backend for volume in run.volumes().values()} == {"one", "two"}


def test_a_service_without_volumes_counts_as_a_host(run: Run, source: Path, capsys: Capture) -> None:
    change(source, "UPDATE services SET host = 'node2@lvm' WHERE host = 'node2@away'")
    assert run.plan(id_of(1)) == 1
    assert "node1@lvm and node2@lvm would both be the back end 'lvm'" in capsys.readouterr().err


def test_a_name_that_is_given_to_another_host_is_not_the_default(run: Run, source: Path, capsys: Capture) -> None:
    change(source, f"UPDATE volumes SET host = 'node2@fast#pool1' WHERE id = '{id_of(2)}'")
    assert run.plan(id_of(1), id_of(2), "--backend", "node2@fast=lvm") == 1
    assert "node1@lvm and node2@fast would both be the back end 'lvm'" in capsys.readouterr().err


# --- Cinder beside this program


def test_a_volume_of_a_running_service_is_refused_unless_confirmed(run: Run, source: Path, capsys: Capture) -> None:
    change(source, REPORTED)
    assert run.plan(id_of(2)) == 1
    printed = capsys.readouterr().err
    assert "cinder-volume of node1@lvm is running, so Cinder can still change or delete the volume" in printed
    assert "--while-running" in printed
    assert run.plan(id_of(2), "--while-running") == 0
    assert run.apply() == 1
    assert "can no longer be adopted: cinder-volume of node1@lvm is running" in capsys.readouterr().err
    assert run.apply("--while-running") == 0


def test_maintenance_protects_a_volume_but_not_its_snapshots(run: Run, source: Path, capsys: Capture) -> None:
    change(source, REPORTED, f"UPDATE volumes SET status = 'maintenance' WHERE id = '{id_of(1)}'")
    assert run.plan(id_of(5)) == 0  # in maintenance, without snapshots
    assert run.plan(id_of(1)) == 1
    assert "so Cinder can still change or delete its snapshots" in capsys.readouterr().err


def test_a_disabled_service_is_still_running(run: Run, source: Path) -> None:
    change(source, REPORTED, "UPDATE services SET disabled = 1")
    assert run.plan(id_of(2)) == 1


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        (f"UPDATE snapshots SET status = 'deleting' WHERE id = '{id_of(101)}'", f"volume {id_of(1)}"),
        ("UPDATE volumes SET provider_auth = 'CHAP user new'", "the database"),
    ],
    ids=["snapshot", "password"],
)
def test_a_change_of_cinder_while_the_records_are_written_removes_them_again(
    run: Run, source: Path, statement: str, key: str
) -> None:
    assert run.plan(id_of(1), id_of(2)) == 0
    plan, places = parsed(run.plan_file.read_text(), "plan.yaml"), Places({}, None)

    def compared() -> tuple[tuple[Record, ...], tuple[Problem, ...]]:
        return planning.compare(plan, reader(run), places, Names())

    records, problems = compared()
    assert problems == ()

    def changed() -> tuple[tuple[Record, ...], tuple[Problem, ...]]:
        change(source, statement)
        return compared()

    run.target.touch()
    with opened(run) as store:
        found = applying.carry_out(store, plan, records, changed, plan.database, Progress(""))
        assert [problem.key for problem in found] == [key]
        assert list(walk_all(store, KeyValue)) == []
    assert list(run.records()) == []


def reader(run: Run) -> source.Source:
    return source.read(run.url)


# --- two records


@pytest.mark.parametrize("number", [2, 101], ids=["volume", "snapshot"])
def test_a_volume_whose_object_was_imported_is_refused(run: Run, number: int, capsys: Capture) -> None:
    kind = "volume" if number == 2 else "snapshot"
    imported = Imported(
        name=f"{kind}-{id_of(number)}", reference={"source-name": f"{kind}-{id_of(number)}"}, static=True
    )
    record = Volume(id="pvc-1", backend="lvm", size=GiB(1), status=Status.AVAILABLE, imported=imported)
    assert run.plan(id_of(1), id_of(2)) == 0
    add(run, record)
    assert run.apply() == 1
    assert "its object on the array has another record: it is volume 'pvc-1' (available)" in capsys.readouterr().err
    run.plan_file = run.plan_file.with_name("second.yaml")
    assert run.plan(id_of(1), id_of(2)) == 1
    assert "has a record already: it is volume 'pvc-1' (available)" in capsys.readouterr().err


def test_an_import_while_the_records_are_written_removes_them_again(run: Run) -> None:
    assert run.plan(id_of(2)) == 0
    plan = parsed(run.plan_file.read_text(), "plan.yaml")
    records, _ = planning.compare(plan, reader(run), Places({}, None), Names())
    record = Volume(
        id="pvc-1", backend="lvm", size=GiB(1), status=Status.IMPORTING,
        imported=Imported(name="x", reference={"source-name": f"volume-{id_of(2)}"}),
    )  # fmt: skip
    run.target.touch()
    with opened(run) as store:
        assert applying.obstacles(known.read(store), plan, records) == ()
        store.add(record)
        (problem,) = applying.carry_out(store, plan, records, lambda: (records, ()), plan.database, Progress(""))
        assert "it is volume 'pvc-1' (importing)" in problem.problem
        assert [volume.id for volume in walk_all(store, Volume)] == ["pvc-1"]


def test_an_id_that_many_objects_share_refuses_none(run: Run, source: Path) -> None:
    change(source, "UPDATE volumes SET provider_id = 'default'", "UPDATE snapshots SET provider_id = 'default'")
    run.plan_and_apply()


def test_volumes_with_one_provider_id_are_noted(run: Run, source: Path) -> None:
    """It is the number of the LUN for some drivers, and the name of the project for others."""
    change(source, "UPDATE volumes SET provider_id = '12'")
    assert run.plan(id_of(2), id_of(3)) == 0
    first, second = yaml.safe_load(run.plan_file.read_text())["volumes"]
    assert not any("provider_id" in note for note in first["notes"])
    assert any(f"volume {id_of(2)} has the same provider_id" in note for note in second["notes"])
    assert run.apply() == 0
    run.plan_file = run.plan_file.with_name("second.yaml")
    assert run.plan(id_of(1)) == 0
    (volume,) = yaml.safe_load(run.plan_file.read_text())["volumes"]
    assert any("has the same provider_id" in note for note in volume["notes"])


def test_an_imported_object_with_the_location_of_a_volume_is_its_owner(run: Run, source: Path, capsys: Capture) -> None:
    change(source, f"UPDATE volumes SET provider_location = '12', provider_id = NULL WHERE id = '{id_of(2)}'")
    imported = Imported(name="12", reference={"source-id": "12"})
    add(run, Volume(id="pvc-1", backend="lvm", size=GiB(1), status=Status.AVAILABLE, imported=imported))
    assert run.plan(id_of(2)) == 1
    assert "has a record already: it is volume 'pvc-1' (available)" in capsys.readouterr().err


def test_a_former_name_of_cinder_stays_with_the_imported_object(run: Run, capsys: Capture) -> None:
    name = f"volume-{id_of(2)}"
    imported = Imported(name=name, reference={"source-name": name})
    add(run, Volume(id="pvc-1", backend="lvm", size=GiB(1), status=Status.AVAILABLE, imported=imported))
    assert run.plan(id_of(2)) == 1
    assert "has a record already: it is volume 'pvc-1' (available)" in capsys.readouterr().err


def test_two_volumes_of_cinder_with_one_object_are_both_refused(run: Run, source: Path, capsys: Capture) -> None:
    change(source, f"UPDATE volumes SET _name_id = '{id_of(3)}' WHERE id = '{id_of(2)}'")
    assert run.plan(id_of(2)) == 1
    assert f"has the same name on the array as volume {id_of(3)} (_name_id)" in capsys.readouterr().err
    assert run.plan(id_of(3)) == 1


def test_a_volume_with_an_unreadable_record_in_the_store_is_refused(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1)
    change(run.target, "UPDATE volumes SET body = '{'")
    run.plan_file = run.plan_file.with_name("second.yaml")
    assert run.plan(id_of(2)) == 1
    assert "whose record cannot be read" in capsys.readouterr().err


def test_an_interrupted_adoption_that_met_another_record_can_be_undone(run: Run) -> None:
    assert run.plan(id_of(2), id_of(3)) == 0
    plan = parsed(run.plan_file.read_text(), "plan.yaml")
    records, _ = planning.compare(plan, reader(run), Places({}, None), Names())
    run.target.touch()
    with opened(run) as store:
        store.add(Volume(id=id_of(3), backend="lvm", size=GiB(1), status=Status.AVAILABLE))
        with pytest.raises(PreconditionFailed):
            applying.carry_out(store, plan, records, lambda: (records, ()), plan.database, Progress(""))
    assert run.roll_back() == 0
    assert [record.id for record in run.records()] == [id_of(3)]
