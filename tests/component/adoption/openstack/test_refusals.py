"""Volumes that cannot be adopted are refused with the reason, and then nothing is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.component.adoption.openstack.databases import ADOPTABLE, Run, change, id_of

Capture = pytest.CaptureFixture[str]

REASONS = {
    11: rf"is attached to {id_of(94)} \(attachment [-0-9a-f]+\); detach it first",
    12: r"is attaching to compute2 \(attachment [-0-9a-f]+\); detach it first",
    13: rf"is encrypted with the key {id_of(95)} of Barbican",
    14: r"its type 'secret' is encrypted",
    15: r"is replicated \(replication_status 'enabled'\)",
    16: r"its type 'mirrored' is replicated; change its type",
    17: r"is being migrated \(migration_status 'migrating'\)",
    18: r"its status is 'creating'; it must be 'available' or 'maintenance'",
    19: rf"is in the consistency group {id_of(96)}",
    20: rf"is in the group {id_of(97)}",
    21: rf"belongs to Cinder's image cache \(image {id_of(99)}\)",
    22: rf"holds the data of the image {id_of(99)} for Glance",
    24: r"is managed by the cluster cluster@lvm",
    25: rf"its snapshot {id_of(125)} has the status 'error'",
    26: r"has attach_status 'attached'; detach it first",
    27: rf"an operation of Cinder on Volume {id_of(27)} is unfinished \(creating\)",
    28: rf"is offered to another project \(transfer {id_of(100)}\)",
    29: r"its back end node2@away has failed over to 'site2'",
    30: r"is a temporary volume of Cinder",
    31: r"host: must be HOST@BACKEND#POOL \(got ''\)",
    32: rf"its snapshot {id_of(132)} belongs to the group snapshot {id_of(90)}",
}


@pytest.mark.parametrize("number", REASONS)
def test_a_volume_that_cannot_be_adopted_is_refused_with_the_reason(run: Run, number: int, capsys: Capture) -> None:
    assert run.plan(id_of(number)) == 1
    printed = capsys.readouterr().err
    assert re.search(rf"problem: volume {id_of(number)}: .*{REASONS[number]}", printed)
    assert "no plan written; remove the causes" in printed
    assert not run.plan_file.exists()
    assert not run.target.exists()


def test_every_volume_is_either_adoptable_or_refused(run: Run, capsys: Capture) -> None:
    assert run("-o", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["id"] for row in rows if row["adoptable"]} == {id_of(number) for number in ADOPTABLE}
    assert {row["id"] for row in rows if not row["adoptable"]} == {id_of(number) for number in REASONS}


def test_a_deleted_volume_is_refused_as_deleted(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(23)) == 2
    assert f"volume {id_of(23)} is deleted in Cinder" in capsys.readouterr().err


def test_an_unknown_id_is_refused(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(1), "7a") == 2
    assert "the database has no volume '7a'" in capsys.readouterr().err


def test_all_reasons_of_a_volume_are_named(run: Run, source: Path, capsys: Capture) -> None:
    change(source, f"UPDATE volumes SET status = 'deleting', replication_status = 'error' WHERE id = '{id_of(13)}'")
    assert run.plan(id_of(13)) == 1
    printed = capsys.readouterr().err
    for reason in ("its status is 'deleting'", "replication_status 'error'", "Barbican"):
        assert reason in printed


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE volumes SET size = 0", "size: must be a whole number of GiB"),
        ("UPDATE volumes SET display_name = CAST(x'ff00' AS TEXT)", "display_name: is not UTF-8 text"),
        ("UPDATE volume_metadata SET value = CAST(x'ff00' AS TEXT), volume_id", "value: is not UTF-8 text"),
        ("UPDATE volumes SET volume_type_id = 'lost'", "its type lost does not exist"),
        ("UPDATE volumes SET migration_status = 'target:x'", "is being migrated"),
        ("UPDATE volumes SET use_quota = 0", "is a temporary volume of Cinder"),
    ],
)
def test_a_damaged_or_odd_row_is_refused_and_does_not_hide_others(
    run: Run, source: Path, statement: str, reason: str, capsys: Capture
) -> None:
    one = id_of(1)
    where = f" = '{one}' WHERE volume_id = '{one}'" if statement.endswith("volume_id") else f" WHERE id = '{one}'"
    change(source, statement + where)
    assert run.plan(one, id_of(2), "--skip-problems") == 0
    assert re.search(rf"problem: volume {one}: .*{reason}", capsys.readouterr().err)
    assert run.apply() == 0
    assert set(run.volumes()) == {"typed"}


def test_volumes_with_problems_can_be_left_out(run: Run) -> None:
    assert run.plan("--skip-problems") == 0
    assert run.apply() == 0
    assert set(run.volumes()) == set(ADOPTABLE.values())


def test_a_plan_without_a_volume_is_not_written(run: Run, capsys: Capture) -> None:
    assert run.plan("--project", "nobody") == 1
    assert "no plan written: no volume was selected, or all were left out" in capsys.readouterr().err
    assert not run.plan_file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "a", "--apply", "b"], "--apply: cannot be combined with --plan"),
        (["--claims", "a"], "--claims: needs --plan or --apply"),
        (["--apply", "a", "--project", "p"], "--apply: takes the volumes and back ends from the plan"),
        (["--rollback", "a", "--backend", "h@b=c"], "--rollback: takes the volumes and back ends from the plan"),
        (["--backend", "h=c"], "--backend: must be HOST@BACKEND[#POOL]=NAME[#POOL] (got 'h=c')"),
        (["--backend", "h@b=c", "--backend", "h@b=d"], "--backend: names different back ends for h@b"),
        (["--apply", "absent.yaml"], "absent.yaml: cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: Run, arguments: list[str], message: str, capsys: Capture) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_mapping_of_a_host_without_volumes_is_refused(run: Run, capsys: Capture) -> None:
    assert run.plan(id_of(1), "--backend", "node9@lvm=fast") == 2
    assert "--backend: no selected volume is at node9@lvm" in capsys.readouterr().err
