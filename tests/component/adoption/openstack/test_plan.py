"""A plan names what would be adopted, contains no secret, and is carried out exactly, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.adoption.openstack.places import SERVICE
from csi_cinderlib.cinder.runtime import HOST
from csi_cinderlib.cli import main
from csi_cinderlib.model.records import InitiatorData, Snapshot, Source, SourceKind, Status, VolumeType
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.sql import read
from tests.component.adoption.openstack.databases import ADOPTABLE, Run, change, id_of

Capture = pytest.CaptureFixture[str]


def test_a_plan_shows_the_names_on_the_storage_and_no_secret(run: Run) -> None:
    assert run.plan(id_of(1)) == 0
    text = run.plan_file.read_text()
    (volume,) = yaml.safe_load(text)["volumes"]
    assert (volume["name"], volume["gib"], volume["type"], volume["project"]) == ("plain", 2, "plain", "project-1")
    assert (volume["host"], volume["backend"], volume["pool"]) == ("node1@lvm#pool1", "lvm", "pool1")
    assert volume["on_storage"] == f"volume-{id_of(91)}"
    assert [item["on_storage"] for item in volume["snapshots"]] == [f"snapshot-{id_of(101)}"]
    assert volume["notes"][0] == "is read-only in Cinder; make its PersistentVolume read-only"
    assert "CHAP" not in text
    assert "secret" not in text
    assert run.plan_file.stat().st_mode & 0o077 == 0
    assert not run.target.exists()


def test_the_same_database_gives_the_same_plan(run: Run, tmp_path: Path) -> None:
    assert run.plan("--skip-problems") == 0
    other = tmp_path / "other.yaml"
    assert run("--plan", str(other), "--skip-problems") == 0
    assert other.read_bytes() == run.plan_file.read_bytes()


def test_refused_volumes_are_in_the_plan_with_their_reasons(run: Run) -> None:
    assert run.plan("--skip-problems") == 0
    refused = yaml.safe_load(run.plan_file.read_text())["refused"]
    assert refused[id_of(15)] == [
        "is replicated (replication_status 'enabled'); disable its replication, or change its type"
    ]


def test_a_plan_is_never_overwritten(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(1)) == 0
    before = run.plan_file.read_bytes()
    assert run.plan(id_of(2)) == 2
    assert "already exists" in capsys.readouterr().err
    assert run.plan_file.read_bytes() == before


def test_volumes_are_adopted_with_all_that_cinder_knows(run: Run) -> None:
    run.plan_and_apply()
    volumes = run.volumes()
    assert set(volumes) == set(ADOPTABLE.values())
    plain, typed = volumes["plain"], volumes["typed"]
    assert (plain.id, plain.status, plain.blank, int(plain.size)) == (id_of(1), Status.AVAILABLE, False, 2)
    assert (plain.backend, plain.pool, plain.host) == ("lvm", "pool1", "csi-cinderlib@lvm#pool1")
    assert plain.provider.location == "192.0.2.9:3260,1 iqn.2010-10.org.openstack:volume-1 1"
    assert (plain.provider.auth, plain.provider.id) == ("CHAP user secret", "array-1")
    assert plain.fields["_name_id"] == id_of(91)
    assert plain.fields["display_description"] == "a plain volume"
    assert plain.fields["project_id"] == "project-1"
    assert (plain.metadata, plain.admin_metadata) == ({"owner": "zoë"}, {"readonly": "True"})
    assert typed.type == VolumeType(
        extra_specs={"thin_provisioning_support": "<is> True"},
        qos_specs={"total_iops_sec": "100"},
        qos_consumer="front-end",
    )
    assert typed.labels == {"cinder-type": "gold"}
    assert volumes["from image"].fields["glance_metadata"] == {"image_id": id_of(93), "os_type": "linux"}
    assert volumes["copy"].source == Source(SourceKind.VOLUME, id_of(1))
    assert (volumes["fenced"].multiattach, volumes["fenced"].message) == (True, "")
    (snapshot,) = (record for record in run.records() if isinstance(record, Snapshot))
    assert (snapshot.id, snapshot.volume_id, snapshot.metadata) == (id_of(101), id_of(1), {"day": "monday"})
    assert (snapshot.status, snapshot.provider.location) == (Status.AVAILABLE, "snap-101")


def initiator_data(run: Run) -> list[InitiatorData]:
    with read({"url": f"sqlite:///{run.target}"}, state_dir=run.target.parent, sealer=None) as store:
        return list(walk_all(store, InitiatorData))


def test_the_data_of_drivers_for_initiators_are_adopted_once(run: Run) -> None:
    run.plan_and_apply(1)
    (adopted,) = initiator_data(run)
    assert (adopted.initiator, adopted.namespace) == ("iqn.1994-05.com.example:node1", "lvm")
    assert (adopted.key, adopted.value) == ("chap", "chap-secret")
    run.plan_file = run.plan_file.with_name("second.yaml")
    run.plan_and_apply(2)
    assert initiator_data(run) == [adopted]


def test_a_removed_value_for_an_initiator_is_refused(run: Run, source: Path, capsys: Capture) -> None:
    assert run.plan(id_of(1)) == 0
    change(source, "DELETE FROM driver_initiator_data")
    assert run.apply() == 1
    assert "problem: driver_initiator_data: has changed since the plan was made" in capsys.readouterr().err


def test_a_row_without_an_initiator_is_named(run: Run, source: Path, capsys: Capture) -> None:
    change(source, "UPDATE driver_initiator_data SET initiator = ''")
    assert run.plan(id_of(1)) == 1
    assert "problem: driver_initiator_data 1: initiator: must not be empty" in capsys.readouterr().err
    assert run.plan(id_of(1), "--skip-problems") == 0
    assert yaml.safe_load(run.plan_file.read_text())["refused"]["driver_initiator_data 1"]


def test_the_host_of_adopted_volumes_is_that_of_new_ones() -> None:
    assert SERVICE == HOST


def test_a_plan_is_carried_out_once(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1, 2)
    before = list(run.records())
    capsys.readouterr()
    assert run.apply() == 0
    assert "this plan was carried out at " in capsys.readouterr().err
    assert list(run.records()) == before


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (f"UPDATE volumes SET size = 3 WHERE id = '{id_of(1)}'", "has changed in Cinder's database"),
        (f"UPDATE volumes SET deleted = 1 WHERE id = '{id_of(1)}'", "no longer exists in Cinder's database"),
        (f"UPDATE volumes SET status = 'in-use' WHERE id = '{id_of(1)}'", "can no longer be adopted: its status"),
        (f"UPDATE snapshots SET display_name = 'x' WHERE id = '{id_of(101)}'", "has changed"),
        (f"UPDATE snapshot_metadata SET value = 'x' WHERE snapshot_id = '{id_of(101)}'", "has changed"),
        ("UPDATE volume_metadata SET value = 'x'", "has changed"),
        ("UPDATE volume_type_extra_specs SET value = 'x'", f"volume {id_of(2)}: has changed"),
        ("UPDATE quality_of_service_specs SET value = '7' WHERE key = 'total_iops_sec'", f"{id_of(2)}: has changed"),
    ],
)
def test_a_plan_is_refused_if_the_database_has_changed_for_a_volume(
    run: Run, source: Path, statement: str, reason: str, capsys: Capture
) -> None:
    assert run.plan(id_of(1), id_of(2)) == 0
    change(source, statement)
    assert run.apply() == 1
    printed = capsys.readouterr().err
    assert reason in printed
    assert "make a new plan" in printed
    assert not run.target.exists()


def test_a_change_of_another_volume_or_a_heartbeat_does_not_matter(run: Run, source: Path) -> None:
    assert run.plan(id_of(1)) == 0
    change(
        source,
        f"UPDATE volumes SET size = 9 WHERE id = '{id_of(2)}'",
        "UPDATE services SET report_count = 99, updated_at = '2026-01-01 00:00:00'",
    )
    assert run.apply() == 0
    assert set(run.volumes()) == {"plain"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gib: 2", "gib: 3", "its checksum does not match"),
        ("name: plain", "name: other", "its checksum does not match"),
        ("v: 3", "v: 1", "unsupported version 1"),
        ("format: csi", "format: x", "is not a plan of"),
        ("volumes:", "volumes: [", "is not YAML"),
    ],
)
def test_an_edited_plan_is_refused(run: Run, old: str, new: str, message: str, capsys: Capture) -> None:
    assert run.plan(id_of(1)) == 0
    run.plan_file.write_text(run.plan_file.read_text().replace(old, new, 1))
    assert run.apply() == 2
    assert message in capsys.readouterr().err
    assert not run.target.exists()


def test_a_volume_in_the_store_is_not_planned_again(run: Run, tmp_path: Path, capsys: Capture) -> None:
    run.plan_and_apply(1)
    assert run("--plan", str(tmp_path / "second.yaml"), id_of(1), id_of(2)) == 1
    assert f"problem: volume {id_of(1)}: is in the store already" in capsys.readouterr().err


def test_a_record_that_another_program_has_added_is_not_overwritten(run: Run, tmp_path: Path, capsys: Capture) -> None:
    first = Run(tmp_path / "old" / "cinder.db", tmp_path)
    first.plan_file = tmp_path / "first.yaml"
    assert run.plan(id_of(1), id_of(2)) == 0
    assert first.plan(id_of(1), "--backend", "node1@lvm=other") == 0
    assert first.apply() == 0
    assert run.apply() == 1
    assert f"volume {id_of(1)}: is in the store already; make a new plan without it" in capsys.readouterr().err
    assert set(run.volumes()) == {"plain"}


def test_hosts_are_mapped_to_back_ends_and_pools(run: Run) -> None:
    mapping = ["--backend", "node1@lvm#pool1=fast#p", "--backend", "node1@lvm=slow"]
    assert run.plan(id_of(1), id_of(4), *mapping) == 0
    assert run.apply() == 0
    places = {name: (volume.backend, volume.pool, volume.host) for name, volume in run.volumes().items()}
    assert places == {
        "plain": ("fast", "p", "csi-cinderlib@fast#p"),
        "copy": ("slow", "pool2", "csi-cinderlib@slow#pool2"),
    }


def configured(tmp_path: Path, **more: object) -> list[str]:
    driver = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
    backends = {"fast": {"driver": driver, "options": {"loopfile_directories": [str(tmp_path / "volumes")]}}}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"backends": backends, "state_dir": str(tmp_path / "state"), **more}))
    return ["--config", str(config)]


def test_a_back_end_that_is_not_configured_is_named_with_the_remedy(run: Run, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["adopt", "cinder", "--url", run.url, id_of(1), "--plan", str(run.plan_file), *configured(tmp_path)]
    assert main(arguments) == 1
    printed = capsys.readouterr().err
    assert "no back end 'lvm' is configured for node1@lvm#pool1" in printed
    assert "--backend node1@lvm=NAME (configured: fast)" in printed
    assert main([*arguments, "--backend", "node1@lvm=fast"]) == 0


def test_names_on_the_storage_follow_the_configured_templates(run: Run, tmp_path: Path) -> None:
    templates = {"volume_name_template": "vol_%s", "snapshot_name_template": "snap_%s"}
    arguments = ["--backend", "node1@lvm=fast", *configured(tmp_path, cinder_defaults=templates)]
    assert main(["adopt", "cinder", "--url", run.url, id_of(1), "--plan", str(run.plan_file), *arguments]) == 0
    (volume,) = yaml.safe_load(run.plan_file.read_text())["volumes"]
    assert volume["on_storage"] == f"vol_{id_of(91)}"
    assert volume["snapshots"][0]["on_storage"] == f"snap_{id_of(101)}"
