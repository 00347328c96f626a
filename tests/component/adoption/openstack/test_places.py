"""The pool of an adopted volume is one that its driver reports."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.adoption import tables
from csi_cinderlib.adoption.openstack.places import Place, Places, planned
from csi_cinderlib.cli import main
from csi_cinderlib.commands import adopt_target, options
from csi_cinderlib.config import load
from csi_cinderlib.errors import InvalidRequest
from tests.component.adoption.openstack.databases import Run, change, id_of

Capture = pytest.CaptureFixture[str]
POOLLESS = Places({"node1@lvm": Place("fast")}, {"fast": ""}, pools={"fast": frozenset({"fast"})})


def test_a_driver_without_pools_reports_the_name_of_its_back_end_as_the_pool() -> None:
    assert POOLLESS.find("node1@lvm#LVM") == Place("fast", "fast")
    assert POOLLESS.find("node1@lvm") == Place("fast", "fast")


def test_a_pool_that_the_driver_does_not_report_is_refused() -> None:
    places = Places({"node1@lvm": Place("fast")}, None, pools={"fast": frozenset({"a", "b"})})
    assert places.find("node1@lvm#a") == Place("fast", "a")
    with pytest.raises(
        InvalidRequest, match=r"back end 'fast' has no pool 'LVM'.*node1@lvm#LVM=fast#POOL \(pools: a, b\)"
    ):
        places.find("node1@lvm#LVM")


@pytest.mark.parametrize("reason", ["it is drained", "it is paused"])
def test_a_back_end_that_accepts_no_new_volumes_adopts_none(reason: str) -> None:
    places = Places({"node1@lvm": Place("fast")}, {"fast": reason})
    with pytest.raises(InvalidRequest, match=f"back end 'fast' accepts no new volumes: {reason}"):
        places.find("node1@lvm")


@pytest.mark.parametrize(
    ("key", "reason"),
    [("drained", "it is drained, or its object is being deleted"), ("paused", "it is paused"), ("pools", "")],
)
def test_the_configuration_says_which_back_ends_accept_volumes(tmp_path: Path, key: str, reason: str) -> None:
    fast: dict[str, object] = {"driver": "x.Driver", key: [] if key == "pools" else True}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"state_dir": str(tmp_path), "backends": {"fast": fast}}))
    given = options.Given((str(config),), load.Overrides())
    assert adopt_target.backends(options.settings(given)) == {"fast": reason}


def test_hosts_that_share_a_back_end_are_noted(run: Run, source: Path) -> None:
    change(source, f"UPDATE volumes SET host = 'node2@lvm#pool1' WHERE id = '{id_of(2)}'")
    assert run.plan(id_of(1), id_of(2), "--backend", "node1@lvm=one", "--backend", "node2@lvm=one") == 0
    note = "is that of several hosts of Cinder, which must be the same storage: node1@lvm, node2@lvm"
    assert all(note in volume["notes"][-1] for volume in yaml.safe_load(run.plan_file.read_text())["volumes"])


def test_an_apply_leaves_no_problem_out(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(1)) == 0
    assert run.apply("--skip-problems") == 2
    assert "--skip-problems: cannot be combined with --apply" in capsys.readouterr().err


def test_the_place_of_a_plan_is_not_chosen_again() -> None:
    assert planned({"node1@lvm#LVM": "fast#a#b"}, None).find("node1@lvm#LVM") == Place("fast", "a#b")


def test_an_unknown_pool_is_noted_in_the_plan(run: Run) -> None:
    assert run.plan(id_of(2)) == 0
    body = yaml.safe_load(run.plan_file.read_text())
    assert body["backends"] == {"node1@lvm#pool1": "lvm#pool1"}
    assert "its pool is that of Cinder, because the driver does not run here" in body["volumes"][0]["notes"][-1]
    assert run.apply() == 0


def test_a_url_can_be_read_from_standard_input(run: Run, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ([id_of(2), "--plan", str(run.plan_file)], ["--apply", str(run.plan_file)]):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{run.url}\n"))
        assert main(["adopt", "cinder", "--url", "-", "--into", f"sqlite:///{run.target}", *arguments]) == 0
    assert set(run.volumes()) == {"typed"}


def test_a_large_table_has_an_hour_to_be_read(run: Run) -> None:
    with tables.opened(run.url) as (_, location):
        assert location.statement_timeout == 3600


def test_a_database_of_cinder_as_the_store_names_the_command_for_it(run: Run, tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"state_dir": str(tmp_path), "store": {"plugin": "sql", "options": {"url": run.url}}}))
    assert main(["migrate", "--config", str(config)]) == 2
    assert "`csi-cinderlib adopt cinder` takes over volumes of OpenStack Cinder" in capsys.readouterr().err
