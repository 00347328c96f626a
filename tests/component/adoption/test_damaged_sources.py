"""Damaged sources: each unusable value is named, no value is lost without a word, and no secret is shown."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cli import main
from tests.component.adoption.databases import RECORDED, adopt, change, contents, id_of, sqlite_file, volumes

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return sqlite_file(tmp_path / "old")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("volumes", "deleted"),
        ("volumes", "provider_location"),
        ("volume_metadata", "volume_id"),
        ("volume_attachment", "deleted"),
        ("quality_of_service_specs", "specs_id"),
        ("cinderlib_persistence_key_value", "value"),
        ("driver_initiator_data", "namespace"),
    ],
)
def test_a_table_without_a_column_is_refused(
    table: str, column: str, source: Path, tmp_path: Path, capsys: Capture
) -> None:
    change(source, f"ALTER TABLE {table} RENAME COLUMN {column} TO other")
    assert adopt(source, tmp_path / "new.db", "--write") == 2
    assert f"table {table} lacks the columns {column}" in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("value", ["CAST(X'736563726574FF' AS TEXT)", "X'736563726574FF'"])
def test_text_that_is_not_utf8_is_named_without_its_value(
    value: str, source: Path, tmp_path: Path, capsys: Capture
) -> None:
    id = id_of(source, "plain")
    change(source, f"UPDATE volumes SET provider_auth = {value} WHERE id = '{id}'")
    assert adopt(source, tmp_path / "new.db", "--write") == 1
    printed = capsys.readouterr()
    assert f"problem: volumes {id} provider_auth: is not UTF-8 text" in printed.err
    assert "secret" not in printed.out + printed.err
    assert adopt(source, tmp_path / "new.db", "--write", "--skip-problems") == 0
    assert len(contents(tmp_path / "new.db")[0]) == 5


def test_metadata_that_is_not_utf8_is_named(source: Path, tmp_path: Path, capsys: Capture) -> None:
    change(source, "UPDATE volume_metadata SET value = X'FF' WHERE id = (SELECT min(id) FROM volume_metadata)")
    assert adopt(source, tmp_path / "new.db", "--write") == 1
    assert re.search(r"problem: volume_metadata \d+ value: is not UTF-8 text", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("change_of", "problem"),
    [
        ("created_at = 'yesterday'", "created_at: must be a time"),
        ("deleted = 'f'", r"deleted: must be true or false \(got a str\)"),
        ("display_name = 'a' || char(0)", "volume.name: must not contain a NUL character"),
    ],
)
def test_an_unusable_value_of_a_volume_is_named_and_the_volume_can_be_left_out(
    change_of: str, problem: str, source: Path, tmp_path: Path, capsys: Capture
) -> None:
    id = id_of(source, "plain")
    change(source, f"UPDATE volumes SET {change_of} WHERE id = '{id}'")
    assert adopt(source, tmp_path / "new.db", "--write") == 1
    assert re.search(rf"problem: volumes {id}:? {problem}", capsys.readouterr().err)
    assert adopt(source, tmp_path / "new.db", "--write", "--skip-problems") == 0
    assert len(contents(tmp_path / "new.db")[0]) == 5


@pytest.mark.parametrize(
    "info", [{"conn": "x", "connector": {"host": "h"}}, {"conn": {"data": 1}, "connector": "h"}, {"conn": ["x"]}]
)
def test_a_connection_of_an_unexpected_form_does_not_hide_other_problems(
    info: Any, source: Path, tmp_path: Path, capsys: Capture
) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("UPDATE volume_attachment SET connector = NULL, connection_info = ?", (json.dumps(info),))
        connection.execute("UPDATE volumes SET size = 0 WHERE display_name = 'plain'")
        connection.commit()
    assert adopt(source, tmp_path / "new.db", "--write") == 1
    printed = capsys.readouterr().err
    assert len(re.findall(r"problem: volume_attachment [-0-9a-f]+", printed)) == 2
    assert re.search(r"problem: volumes [-0-9a-f]+ size", printed)


def test_different_rows_for_one_record_are_all_left_out(source: Path, tmp_path: Path, capsys: Capture) -> None:
    change(
        source,
        "DROP TABLE driver_initiator_data",
        "CREATE TABLE driver_initiator_data (id, initiator, namespace, key, value)",
        "INSERT INTO driver_initiator_data VALUES (1, 'i', 'n', 'k', 'one'), (2, 'i', 'n', 'k', 'two'), (3, 'i', 'n', 'k', 'one')",
    )
    assert adopt(source, tmp_path / "new.db", "--skip-problems") == 0
    printed = capsys.readouterr()
    assert "initiator-data" not in printed.out
    assert "problem: driver_initiator_data 2: the source has different ones with the id" in printed.err


def test_objects_of_two_namespaces_with_one_name_are_named(tmp_path: Path, capsys: Capture) -> None:
    items = json.loads((RECORDED / "ember-3.1.0.json").read_text())["items"]
    twin = json.loads(json.dumps(next(item for item in items if item["kind"] == "KeyValue")))
    twin["metadata"].update(namespace="other", annotations={"value": "another value"})
    (tmp_path / "all.json").write_text(json.dumps({"items": [*items, twin]}))
    argv = ["adopt", "ember", str(tmp_path / "all.json"), "--into", f"sqlite:///{tmp_path / 'new.db'}"]
    assert main(argv) == 1
    assert "problem: KeyValue node1: the source has different ones with the id 'node1'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("x", "Volume metadata.annotations.json: is missing"),
        ({"name": "v", "annotations": ["x"]}, "Volume v metadata.annotations.json: is missing"),
        ({"name": "v", "annotations": {"json": '{"ovo": {"versioned_object.data": {"group_id": "g", "host": "h@b#p"}}}'}}, "group_id"),
        ({"name": "v", "annotations": {"json": '{"ovo": {"versioned_object.data": {"volume_type": [1]}}}'}}, "unexpected form"),
    ],
)  # fmt: skip
def test_an_object_of_an_unexpected_form_is_named(metadata: Any, problem: str, tmp_path: Path, capsys: Capture) -> None:
    item = {"kind": "Volume", "apiVersion": "ember-csi.io/v1", "metadata": metadata}
    (tmp_path / "all.json").write_text(json.dumps(item))
    assert main(["adopt", "ember", str(tmp_path / "all.json"), "--into", f"sqlite:///{tmp_path / 'new.db'}"]) == 1
    assert problem in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("option", ["--url", "--into"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1:1/db?password=hunter2",
        "postgresql://u:x@127.0.0.1:1/db?sslpassword=hunter2",
        "postgresql://u:x@hunter2@127.0.0.1:1/db",
        "mysql://u@127.0.0.1:1/db?password=hunter2",
    ],
)
def test_no_part_of_a_url_that_may_be_a_password_is_shown(
    option: str, url: str, source: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = {"--url": f"sqlite:///{source}", "--into": f"sqlite:///{tmp_path / 'new.db'}", option: url}
    assert main(["adopt", "cinderlib", *(text for pair in other.items() for text in pair)]) in (1, 2)
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err


def test_values_of_several_versions_of_cinder_are_adopted_from_the_columns_that_all_have(tmp_path: Path) -> None:
    for version in ("2.1.0", "3.1.0", "4.2.0", "5.2.0"):
        directory = tmp_path / version
        directory.mkdir()
        target = directory / "new.db"
        assert adopt(sqlite_file(directory, f"{version}-sqlite"), target, "--write") == 0
        assert len(volumes(target)) == 6
