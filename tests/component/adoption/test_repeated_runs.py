"""Several runs into one store: what was removed from the store stays removed, whatever has changed in the source."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.adoption import writing
from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.model.records import Imported, KeyValue, Record, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from tests.component.adoption.databases import adopt, change, contents, id_of, sqlite_file, volumes
from tests.support.fakes.stores import ObservedStore

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


def test_a_volume_whose_object_was_imported_is_not_adopted(source: Path, tmp_path: Path, capsys: Capture) -> None:
    target, id = tmp_path / "new.db", id_of(source, "plain")
    store = open_store("sql", {"url": f"sqlite:///{target}"}, state_dir=tmp_path)
    imported = Imported(name=f"volume-{id}", reference={"source-name": f"volume-{id}"}, static=True)
    store.add(Volume(id="pvc-1", backend="array1", size=GiB(1), status=Status.AVAILABLE, imported=imported))
    store.close()
    assert adopt(source, target, "--write") == 1
    printed = capsys.readouterr().err
    assert f"volume {id}: its object on the back end has another record: it is volume 'pvc-1' (available)" in printed
    assert set(volumes(target)) == {""}


def test_two_volumes_of_the_source_with_one_object_are_found_without_a_store(
    source: Path, tmp_path: Path, capsys: Capture
) -> None:
    plain, typed = id_of(source, "plain"), id_of(source, "typed")
    change(source, f"UPDATE volumes SET _name_id = '{plain}' WHERE id = '{typed}'")
    assert adopt(source, tmp_path / "new.db", "--write") == 1
    assert "its object on the back end has another record: it is volume" in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()


def test_records_give_way_to_an_import_that_came_while_they_were_written() -> None:
    store, id = ObservedStore(), "99999999-9999-4999-8999-999999999999"
    found: list[Record] = [
        Volume(id=id, backend="a", size=GiB(1)),
        Snapshot(id="s", backend="a", volume_id=id, size=GiB(1)),
    ]
    planned = writing.plan(store, found)
    assert planned.problems == ()
    imported = Imported(name=f"volume-{id}", reference={"source-name": f"volume-{id}"}, static=True)
    other = Volume(id="pvc-1", backend="a", size=GiB(1), imported=imported)
    store.before["add"] = lambda _record: MemoryStore.add(store, other)
    with pytest.raises(PreconditionFailed, match="it is volume 'pvc-1'"):
        writing.carry_out(store, planned, "a source", Progress(""))
    assert [record.id for record in walk_all(store, Volume)] == ["pvc-1"]
    assert writing.plan(store, found).problems


def test_an_interrupted_run_is_compared_with_an_import_that_came_before() -> None:
    """The run was killed before it could give way."""
    store, id = MemoryStore(), "99999999-9999-4999-8999-999999999999"
    volume = Volume(id=id, backend="a", size=GiB(1))
    imported = Imported(name=f"volume-{id}", reference={"source-name": f"volume-{id}"}, static=True)
    store.add(Volume(id="pvc-1", backend="a", size=GiB(1), imported=imported))
    store.add(volume)
    (problem,) = writing.plan(store, [volume]).problems
    assert "it is volume 'pvc-1'" in problem.problem


def test_a_back_end_that_closes_while_the_records_are_written_gets_none() -> None:
    store, id = MemoryStore(), "99999999-9999-4999-8999-999999999999"
    found: list[Record] = [
        Volume(id=id, backend="a", size=GiB(1)),
        Snapshot(id="s", backend="a", volume_id=id, size=GiB(1)),
        Volume(id="other", backend="b", size=GiB(1)),
    ]
    planned = writing.plan(store, found)
    with pytest.raises(PreconditionFailed, match="back end 'a' accepts no new volumes: it is drained"):
        writing.carry_out(store, planned, "a source", Progress(""), lambda: {"a": "it is drained"})
    assert [record.id for record in walk_all(store, Volume)] == ["other"]
    assert [problem.key for problem in writing.plan(store, found, {"a": "it is drained"}).problems] == [
        f"volume {id}",
        "snapshot s",
    ]
