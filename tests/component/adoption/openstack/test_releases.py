"""Databases of all releases from Train to 2026.1 are read; others are refused by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from csi_cinderlib.adoption.openstack import source as reader
from csi_cinderlib.adoption.openstack.releases import ALEMBIC, LEGACY
from csi_cinderlib.cli import main
from csi_cinderlib.errors import ConfigurationError
from tests.component.adoption.databases import sqlite_file
from tests.component.adoption.openstack.databases import ADOPTABLE, RECORDED, STOPPED, Run, change, id_of, make, restore

Capture = pytest.CaptureFixture[str]
RECORDINGS = {path.name.removesuffix("-sqlite.sql") for path in RECORDED.glob("*-sqlite.sql")}


@pytest.mark.parametrize("revision", ALEMBIC)
def test_a_database_at_each_revision_of_alembic_is_adopted(revision: str, tmp_path: Path, capsys: Capture) -> None:
    source = tmp_path / "cinder.db"
    make(f"sqlite:///{source}", revision)
    change(source, STOPPED)
    _adopt_all(Run(source, tmp_path), ALEMBIC[revision], capsys)


@pytest.mark.parametrize("recording", sorted(RECORDINGS))
def test_a_database_of_each_older_release_is_adopted(recording: str, tmp_path: Path, capsys: Capture) -> None:
    run = Run(restore(tmp_path / "cinder.db", f"{recording}-sqlite"), tmp_path)
    _adopt_all(run, recording.capitalize(), capsys)


def _adopt_all(run: Run, release: str, capsys: Capture) -> None:
    assert run.plan(*map(id_of, ADOPTABLE)) == 0
    assert f"OpenStack {release}" in capsys.readouterr().err
    assert run.apply() == 0
    assert set(run.volumes()) == set(ADOPTABLE.values())


def test_each_older_release_has_a_recording() -> None:
    assert {name.partition(" ")[0].lower() for name in LEGACY.values()} == RECORDINGS


def test_the_head_of_the_installed_cinder_is_known(template: Path) -> None:
    with closing(sqlite3.connect(template)) as connection:
        ((head,),) = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert head in ALEMBIC


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE alembic_version SET version_num = 'ffff'",
            "schema 'ffff' is of an unknown release of Cinder; supported: Train",
        ),
        (
            "UPDATE alembic_version SET version_num = 'b8660621f1b9'",
            r"schema 'b8660621f1b9' is within the migration to 2024.1 \(Caracal\); finish it with `cinder-manage db sync`",
        ),
        ("DELETE FROM alembic_version", "has no version of Cinder's schema"),
        ("DROP TABLE alembic_version", "has no version of Cinder's schema"),
        ("INSERT INTO alembic_version VALUES ('ffff')", "has several versions of Cinder's schema"),
        ("ALTER TABLE volumes DROP COLUMN migration_status", "table volumes lacks the columns migration_status"),
        ("DROP TABLE workers", "is not a database of OpenStack Cinder: it lacks the tables workers"),
    ],
)
def test_a_database_of_an_unknown_release_is_refused(run: Run, source: Path, statement: str, message: str) -> None:
    change(source, statement)
    with pytest.raises(ConfigurationError, match=message):
        reader.read(run.url)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (123, r"schema 123 is of a release before Train \(2019.10\)"),
        (133, r"schema 133 is within the migration to Ussuri \(2020.05\)"),
        (142, r"schema 142 is within the migration to Xena \(2021.10\)"),
        (999, "schema 999 is of an unknown release of Cinder"),
    ],
)
def test_a_database_between_older_releases_is_refused(tmp_path: Path, number: int, message: str) -> None:
    file = restore(tmp_path / "cinder.db", "train-sqlite")
    change(file, f"UPDATE migrate_version SET version = {number}")
    with pytest.raises(ConfigurationError, match=message):
        reader.read(f"sqlite:///{file}")


def test_alembics_revision_counts_where_both_versions_exist(run: Run, source: Path) -> None:
    change(
        source,
        "CREATE TABLE migrate_version (repository_id VARCHAR(250), repository_path TEXT, version INTEGER)",
        "INSERT INTO migrate_version VALUES ('cinder', '', 145)",
    )
    assert reader.read(run.url).release.schema == "9c74c1c6971f"


@pytest.mark.parametrize("make_other", [sqlite_file, lambda directory: directory / "absent.db"])
def test_another_database_is_refused(make_other: Callable[[Path], Path], tmp_path: Path, capsys: Capture) -> None:
    assert main(["adopt", "cinder", "--url", f"sqlite:///{make_other(tmp_path)}"]) == 2
    printed = capsys.readouterr().err
    assert "use `csi-cinderlib adopt cinderlib`" in printed or "does not exist" in printed


def test_adopt_cinderlib_names_the_command_for_a_database_of_cinder(run: Run, capsys: Capture) -> None:
    assert main(["adopt", "cinderlib", "--url", run.url]) == 2
    assert (
        "is a database of OpenStack Cinder, not of cinderlib; use `csi-cinderlib adopt cinder`"
        in capsys.readouterr().err
    )
