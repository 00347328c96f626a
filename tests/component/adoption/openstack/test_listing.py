"""The volumes of a database are listed by project, type, host and state, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.component.adoption.openstack.databases import ADOPTABLE, Run, id_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def listed(run: Run, capsys: Capture) -> Callable[..., set[str]]:
    """Returns the names of the volumes that are listed."""

    def names(*arguments: str) -> set[str]:
        capsys.readouterr()
        assert run("-o", "json", *arguments) == 0
        return {str(row["name"]) for row in json.loads(capsys.readouterr().out)}

    return names


def test_the_table_shows_each_volume_with_the_reason_why_it_is_refused(run: Run, capsys: Capture) -> None:
    assert run(id_of(2), id_of(14)) == 0
    header, typed, encrypted = capsys.readouterr().out.splitlines()
    assert header.split() == "ID NAME PROJECT TYPE HOST GIB STATUS SNAPSHOTS ADOPTABLE REASON".split()
    assert typed.split() == [id_of(2), "typed", "project-2", "gold", "node1@lvm#pool1", "1", "available", "0", "yes"]
    assert "no         its type 'secret' is encrypted" in encrypted


def test_json_has_all_fields(run: Run, capsys: Capture) -> None:
    assert run(id_of(1), "-o", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "id": id_of(1), "name": "plain", "project": "project-1", "type": "plain", "host": "node1@lvm#pool1", "gib": 2,
        "status": "available", "snapshots": 1, "adoptable": True, "reason": "", "backend": "lvm", "pool": "pool1",
        "notes": ["is read-only in Cinder; make its PersistentVolume read-only"],
    }  # fmt: skip


def test_volumes_are_selected_by_project_type_host_and_state(listed: Callable[..., set[str]]) -> None:
    assert listed("--project", "project-2") == {"typed"}
    assert listed("--type", "secret", "--type", "gold") == {"of an encrypted type", "typed"}
    assert listed("--host", "node2") == {"failed over"}
    assert listed("--host", "node1@lvm#pool2") == {"copy"}
    assert listed("--state", "maintenance", "--state", "creating") == {"fenced", "creating"}
    assert listed("--host", "node1@lvm", "--state", "creating") == {"creating"}
    assert listed("--host", "node1@lv") == set()


def test_ids_and_filters_are_combined(listed: Callable[..., set[str]]) -> None:
    assert listed(id_of(1), id_of(2), "--project", "project-2") == {"typed"}


def test_nothing_is_written_by_a_list(run: Run, listed: Callable[..., set[str]]) -> None:
    assert set(ADOPTABLE.values()) < listed()
    assert not run.target.exists()
