"""Cinder's database file is never changed, and gets no other files beside it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from csi_cinderlib.adoption import tables
from csi_cinderlib.cli import main
from tests.component.adoption.openstack.databases import ADOPTABLE, Run, id_of

Capture = pytest.CaptureFixture[str]


def state(folder: Path) -> Mapping[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_no_step_changes_the_file_or_its_directory(run: Run, source: Path, journal: str) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
    before = state(source.parent)
    assert run() == 0
    run.plan_and_apply()
    assert run.roll_back() == 0
    assert state(source.parent) == before


def test_a_file_in_a_directory_that_cannot_be_written_is_read(run: Run, source: Path) -> None:
    source.chmod(0o444)
    source.parent.chmod(0o555)
    try:
        run.plan_and_apply()
    finally:
        source.parent.chmod(0o755)
    assert len(run.volumes()) == len(ADOPTABLE)


def test_sqlite_refuses_a_write_while_the_file_is_read(run: Run) -> None:
    with tables.opened(run.url) as (connection, _), pytest.raises(OperationalError, match="readonly database"):
        connection.execute(text("UPDATE volumes SET size = 9"))


def test_cinders_own_database_is_refused_as_the_target(run: Run, source: Path, capsys: Capture) -> None:
    before = state(source.parent)
    assert run.plan(id_of(1)) == 0
    assert main(["adopt", "cinder", "--url", run.url, "--into", run.url, "--apply", str(run.plan_file)]) == 2
    assert "--into: " in capsys.readouterr().err
    assert state(source.parent) == before
