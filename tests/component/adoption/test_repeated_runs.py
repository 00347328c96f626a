"""Several runs into one store: what was removed from the store stays removed, whatever has changed in the source."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.model.records import KeyValue, Snapshot, Volume
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.plugins import open_store
from tests.component.adoption.databases import adopt, change, contents, id_of, sqlite_file, volumes

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return sqlite_file(tmp_path / "old")


def remove(target: Path, kind: Any, name: str) -> None:
    store = open_store("sql", {"url": f"sqlite:///{target}"}, state_dir=target.parent)
    record: Any
    for record in walk_all(store, kind):
        if getattr(record, "name", record.id) == name:
            store.remove(record)
    store.close()


def test_a_changed_source_brings_nothing_back_that_was_removed_since(
    source: Path, tmp_path: Path, capsys: Capture
) -> None:
    target, removed = tmp_path / "new.db", id_of(source, "failed extension")
    assert adopt(source, target, "--write") == 0
    remove(target, Volume, "failed extension")
    remove(target, KeyValue, "node1")
    change(source, "INSERT INTO cinderlib_persistence_key_value VALUES ('later', 'x')")
    assert adopt(source, target, "--write") == 0
    printed = capsys.readouterr()
    assert f"left out: volume {removed}, key-value node1" in printed.out
    assert (
        "adopted: 10 records, verified (5 volume, 1 snapshot, 2 attachment, 1 initiator-data, 1 key-value)"
        in printed.err
    )
    assert "failed extension" not in volumes(target)
    assert [record.id for record in contents(target)[3]] == ["later"]


def test_a_new_snapshot_of_a_removed_volume_is_left_out(source: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "new.db"
    assert adopt(source, target, "--write") == 0
    remove(target, Snapshot, "snapshot of plain")
    remove(target, Volume, "plain")
    change(source, "UPDATE snapshots SET id = 'later'", "DELETE FROM snapshot_metadata")
    assert adopt(source, target, "--write") == 0
    assert "snapshot later" in capsys.readouterr().out
    assert contents(target)[1] == []


def test_a_record_of_an_interrupted_run_that_the_source_no_longer_has_is_named(
    source: Path, tmp_path: Path, capsys: Capture
) -> None:
    target = tmp_path / "new.db"
    argv = ["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--into", f"sqlite:///{target}", "--write"]
    environment = {**os.environ, "CINDERLIB_FAULT_POINT": "adopt.verified"}
    killed = subprocess.run([sys.executable, "-m", "csi_cinderlib", *argv], check=False, env=environment)
    assert killed.returncode == -signal.SIGKILL
    removed = id_of(source, "failed extension")
    change(source, f"DELETE FROM volumes WHERE id = '{removed}'")
    assert adopt(source, target, "--write") == 0
    note = f"note: in the store from an interrupted adoption, but no longer in the source: volume {removed}"
    assert note in capsys.readouterr().out


def test_a_large_source_is_remembered_in_parts(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.db"
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT 'k' || i, 'v' FROM n"
    )
    change(source, f"INSERT INTO cinderlib_persistence_key_value {numbers}")
    assert adopt(source, target, "--write") == 0
    remove(target, KeyValue, "k7")
    change(source, "INSERT INTO cinderlib_persistence_key_value VALUES ('later', 'x')")
    assert adopt(source, target, "--write") == 0
    ids = {record.id for record in contents(target)[3]}
    assert len(ids) == 2501
    assert {"k7", "later"} & ids == {"later"}
