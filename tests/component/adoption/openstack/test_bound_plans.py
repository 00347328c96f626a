"""A plan is bound to its database and its names, tells no secret, and can be undone by later versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.adoption.openstack.plan import name_in, parsed
from csi_cinderlib.cli import main
from tests.component.adoption.openstack.databases import Run, change, copied, id_of

Capture = pytest.CaptureFixture[str]


def configured(tmp_path: Path, template: str) -> list[str]:
    driver = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
    backends = {"fast": {"driver": driver, "options": {"loopfile_directories": [str(tmp_path / "volumes")]}}}
    config = tmp_path / f"{template[:3]}.json"
    values = {"backends": backends, "state_dir": str(tmp_path), "cinder_defaults": {"volume_name_template": template}}
    config.write_text(json.dumps(values))
    return ["--config", str(config)]


def test_a_plan_is_refused_with_other_templates_of_names(run: Run, tmp_path: Path, capsys: Capture) -> None:
    command, plan = ["adopt", "cinder", "--url", run.url], str(run.plan_file)
    mapping = ["--backend", "node1@lvm=fast"]
    assert main([*command, id_of(2), "--plan", plan, *mapping, *configured(tmp_path, "os-%s")]) == 0
    assert main([*command, "--apply", plan, *configured(tmp_path, "volume-%s")]) == 2
    assert (
        "--apply: the plan was made with volume_name_template 'os-%s', and the configuration has 'volume-%s'"
        in capsys.readouterr().err
    )
    assert main([*command, "--apply", plan, *configured(tmp_path, "os-%s")]) == 0


def test_a_plan_is_refused_with_another_database(run: Run, source: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run.plan(id_of(2)) == 0
    run.url = f"sqlite:///{copied(source, tmp_path / 'copy')}"
    assert run.apply() == 2
    assert "--url: the plan was made from sqlite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE driver_initiator_data SET value = 'another-secret'",
        "UPDATE volumes SET provider_auth = 'CHAP user another'",
        "UPDATE snapshots SET provider_auth = 'CHAP user another'",
    ],
)
def test_nothing_in_a_plan_depends_on_a_password(run: Run, source: Path, tmp_path: Path, statement: str) -> None:
    assert run.plan(id_of(1)) == 0
    change(source, statement)
    other = tmp_path / "other.yaml"
    assert run("--plan", str(other), id_of(1)) == 0
    assert other.read_bytes() == run.plan_file.read_bytes()
    assert run.apply() == 0


def test_the_name_of_a_plan_is_the_checksum_in_its_file(run: Run) -> None:
    assert run.plan(id_of(1)) == 0
    text = run.plan_file.read_text()
    assert parsed(text, "plan.yaml").name == name_in(text, "plan.yaml") == yaml.safe_load(text)["checksum"]


def test_a_rollback_needs_only_the_name_of_the_plan(run: Run, capsys: Capture) -> None:
    run.plan_and_apply(1, 2)
    body = yaml.safe_load(run.plan_file.read_text())
    run.plan_file.write_text(yaml.safe_dump({"format": body["format"], "v": 99, "checksum": body["checksum"]}))
    assert run.apply() == 2
    assert "has the unsupported version 99" in capsys.readouterr().err
    assert run.roll_back() == 0
    assert list(run.records()) == []
    assert run.roll_back() == 2
    assert f"the store has nothing of plan {body['checksum']}" in capsys.readouterr().err


def test_an_adoption_is_undone_without_its_plan(run: Run) -> None:
    run.plan_and_apply(1, 2)
    name = name_in(run.plan_file.read_text(), "plan.yaml")
    run.plan_file.unlink()
    assert run("--rollback", name) == 0
    assert list(run.records()) == []


def test_limits_that_only_a_hypervisor_can_enforce_are_noted(run: Run) -> None:
    assert run.plan(id_of(2)) == 0
    (volume,) = yaml.safe_load(run.plan_file.read_text())["volumes"]
    limits = "has QoS that only a hypervisor can enforce (total_iops_sec); it is without these limits here"
    assert limits in volume["notes"]


def test_a_volume_that_is_attached_by_its_own_column_is_refused(run: Run, source: Path, capsys: Capture) -> None:
    change(
        source,
        f"UPDATE volumes SET status = 'available', attach_status = 'attached' WHERE id = '{id_of(11)}'",
        "UPDATE volume_attachment SET attach_status = 'detached'",
    )
    assert run.plan(id_of(11)) == 1
    assert "has attach_status 'attached'; detach it first" in capsys.readouterr().err


def test_another_value_for_an_initiator_in_the_store_is_noted(run: Run, source: Path) -> None:
    run.plan_and_apply(1)
    change(source, "UPDATE driver_initiator_data SET value = 'another-secret'")
    run.plan_file = run.plan_file.with_name("second.yaml")
    assert run.plan(id_of(2)) == 0
    (initiator,) = yaml.safe_load(run.plan_file.read_text())["initiators"]
    assert initiator["note"] == "the store has another value for this initiator, and keeps it"


def test_a_deletion_that_a_reset_of_the_status_hides_is_noted(run: Run, source: Path) -> None:
    change(source, f"UPDATE volumes SET terminated_at = '2025-01-01 00:00:00' WHERE id = '{id_of(5)}'")
    assert run.plan(id_of(5)) == 0
    (volume,) = yaml.safe_load(run.plan_file.read_text())["volumes"]
    assert "its deletion was begun in Cinder and did not succeed; check its data" in volume["notes"]
