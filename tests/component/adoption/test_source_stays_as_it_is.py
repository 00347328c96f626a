"""A source is read in one state and without a change, even beside a program that uses it or after its crash."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.component.adoption.databases import adopt, contents, sqlite_file, volumes

CRASH = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("PRAGMA cache_spill=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE volumes SET size = 77")
connection.execute("CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, randomblob(200) FROM n")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return sqlite_file(tmp_path / "old")


def state(folder: Path) -> Mapping[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_transaction_of_a_crashed_program_is_rolled_back_in_a_copy(source: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRASH, str(source)], check=False)
    assert done.returncode == -signal.SIGKILL
    before = state(source.parent)
    assert set(before) == {"cinderlib.db", "cinderlib.db-journal"}
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    assert 77 not in [int(volume.size) for volume in contents(tmp_path / "new.db")[0]]
    assert state(source.parent) == before


def test_the_files_beside_a_file_are_found_through_a_symbolic_link(source: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CRASH, str(source)], check=False)
    (tmp_path / "link.db").symlink_to(source)
    assert adopt(tmp_path / "link.db", tmp_path / "new.db", "--write") == 0
    assert 77 not in [int(volume.size) for volume in contents(tmp_path / "new.db")[0]]


def test_a_program_in_the_middle_of_a_transaction_does_not_show_half_of_it(source: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(source)) as program:
        program.execute("UPDATE volumes SET size = 77")
        before = state(source.parent)
        assert adopt(source, tmp_path / "new.db", "--write") == 0
        assert state(source.parent) == before
        program.rollback()
    assert 77 not in [int(volume.size) for volume in contents(tmp_path / "new.db")[0]]


def test_a_file_with_a_write_ahead_log_gets_no_files_beside_it(source: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    before = state(source.parent)
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    assert state(source.parent) == before


def test_a_file_of_another_user_in_a_directory_that_cannot_be_written_is_read(source: Path, tmp_path: Path) -> None:
    source.chmod(0o444)
    source.parent.chmod(0o555)
    try:
        assert adopt(source, tmp_path / "new.db", "--write") == 0
    finally:
        source.parent.chmod(0o755)
    assert len(volumes(tmp_path / "new.db")) == 6


KILLS = ["adopt.record:1", "adopt.record:4", "adopt.record:11", "adopt.verified"]


@pytest.mark.parametrize("point", KILLS)
def test_a_killed_adoption_is_completed_by_the_next_one(point: str, source: Path, tmp_path: Path) -> None:
    target, whole = tmp_path / "new.db", tmp_path / "whole.db"
    argv = ["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--into", f"sqlite:///{target}", "--write"]
    environment = {**os.environ, "CINDERLIB_FAULT_POINT": point}
    killed = subprocess.run([sys.executable, "-m", "csi_cinderlib", *argv], check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert adopt(source, target, "--write") == 0
    assert adopt(source, whole, "--write") == 0
    assert _without_revisions(target) == _without_revisions(whole)


def _without_revisions(target: Path) -> list[object]:
    from dataclasses import replace

    return [replace(record, revision="") for kind in contents(target) for record in kind]
