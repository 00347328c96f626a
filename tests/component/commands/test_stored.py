"""The commands that read and write the metadata store."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib import cli
from csi_cinderlib.app import state_dir
from csi_cinderlib.app.stores import everything
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Modification, Provider, Snapshot, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.sealing import Sealer

KEY = SealingKey(id="k1", key="pyF05b7aY1J3Hn5XpaT1CD2ADRM1sV0dQ8bq1q2SnYo=")
VOLUME = Volume(
    id="v1",
    name="pvc-1",
    backend="local",
    pool="p",
    size=GiB(3),
    status=Status.AVAILABLE,
    provider=Provider(auth="CHAP u geheim"),
    labels={"pvc/namespace": "shop", "pvc/name": "data"},
    created_at="2026-02-03T04:05:06.700000Z",
)
HALF = Volume(
    id="v2",
    name="pvc-2",
    backend="local",
    size=GiB(1),
    status=Status.CREATING,
    owner="c1",
    message="no space left",
    labels={"pvc/namespace": "shop", "pvc/name": "more"},
    created_at="2026-01-01T00:00:00.000000Z",
)
SNAPSHOT = Snapshot(id="s1", name="snap", backend="local", volume_id="v1", size=GiB(3), status=Status.AVAILABLE)
ATTACHMENT = Attachment(
    id="a1",
    volume_id="v1",
    backend="local",
    node_id="cl1.xyz",
    access_mode=AccessMode.SINGLE_NODE_WRITER,
    status=Status.AVAILABLE,
    connector={"host": "node-1"},
    created_at="2026-02-03T05:00:00.000000Z",
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a few records."""
    store = open_store("sql", state_dir=tmp_path / "state")
    for record in (VOLUME, HALF):
        store.add(record)
    store.add(SNAPSHOT)
    store.add(ATTACHMENT)
    store.close()
    return tmp_path / "state"


def run(command: str, state: Path, *words: str) -> int:
    return cli.main([*command.split(), "--state-dir", str(state), *words])


def test_volumes_are_listed_with_claim_place_node_and_age(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("get volumes", state, "--columns", "id,claim,gib,status,place,nodes,created_at,message") == 0
    assert capsys.readouterr().out.splitlines() == [
        "ID  CLAIM      GIB  STATUS     PLACE    NODES   CREATED AT            MESSAGE",
        "v2  shop/more  1    creating   local            2026-01-01T00:00:00Z  no space left",
        "v1  shop/data  3    available  local#p  node-1  2026-02-03T04:05:06Z",
    ]


def test_a_volume_that_is_kept_for_its_snapshots_is_not_listed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store("sql", state_dir=state)
    store.replace(replace(store.get(Volume, "v1"), status=Status.DELETED))
    store.close()
    assert run("get volumes", state, "-o", "json") == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["v2"]


@pytest.mark.parametrize("words", [(), ("-o", "json")])
def test_a_list_shows_control_characters_escaped(
    words: tuple[str, ...], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b]0;title\x07\x9b2J\x7f\r\n0 volumes\tall well"
    store = open_store("sql", state_dir=state)
    store.add(replace(VOLUME, id="v3", name=hostile, message=hostile))
    store.add(replace(HALF, id="v4", message=hostile))
    store.close()
    for command, rows in (("get volumes", 4), ("get orphans", 3)):
        assert run(command, state, *words) == 0
        out = capsys.readouterr().out
        assert [character for character in out if not character.isprintable() and character != "\n"] == []
        assert "\\u001b]0;title\\u0007\\u009b2J\\u007f" in out
        assert len(out.splitlines()) == rows + (2 if words else 1)


def test_an_error_shows_control_characters_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("get orphans", tmp_path / "state", "--config", "/no/such\x1b[2Jx") == 2
    error = capsys.readouterr().err
    assert "\\u001b[2Jx" in error
    assert "\x1b" not in error


def test_volumes_are_listed_for_programs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("get volumes", state, "-o", "json") == 0
    out = capsys.readouterr().out
    row = json.loads(out)[1]
    assert row.pop("age").endswith("d")
    assert row == {
        "id": "v1",
        "gib": 3,
        "status": "available",
        "backend": "local",
        "pool": "p",
        "nodes": ["node-1"],
        "attachments": [
            {
                "id": "a1",
                "node": "node-1",
                "status": "available",
                "read_only": False,
                "created_at": "2026-02-03T05:00:00.000000Z",
                "message": "",
            }
        ],
        "claim": "shop/data",
        "name": "pvc-1",
        "created_at": "2026-02-03T04:05:06.700000Z",
        "owner": "",
        "message": "",
        "source": "",
        "type": "",
        "array_name": "volume-v1",
        "array_id": "",
        "labels": {"pvc/namespace": "shop", "pvc/name": "data"},
        "parameters": {},
    }
    assert "geheim" not in out


def test_a_volume_whose_record_cannot_be_read_is_listed_all_the_same(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(state / "metadata.db") as database:
        database.execute("UPDATE volumes SET body = '{}' WHERE id = 'v1'")
    database.close()
    assert run("get volumes", state) == 1
    shown = capsys.readouterr().out
    assert "unreadable" in shown
    assert "its record cannot be read" in shown
    assert "shop/more" in shown


def test_an_empty_store_prints_no_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_store("sql", state_dir=tmp_path).close()
    assert run("get volumes", tmp_path) == 0
    assert capsys.readouterr() == ("", "no volumes\n")


def test_forget_removes_a_failed_record(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = open_store("sql", state_dir=state)
    store.replace(replace(store.get(Volume, "v2"), status=Status.ERROR))
    store.close()
    assert run("orphans forget", state, "v2") == 0
    assert capsys.readouterr().out == "forgotten: the record of volume 'v2' on back end 'local'\n"
    assert run("orphans forget", state, "v1") == 1
    assert "it must be error" in capsys.readouterr().err
    assert run("orphans forget", state, "v2") == 2


def test_forget_ends_an_unfinished_modification_and_keeps_the_volume(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store("sql", state_dir=state)
    whole = store.get(Volume, "v1")
    unfinished = Modification(wanted=VolumeType(qos_specs={"a": "2"}), detached=True)
    store.replace(replace(whole, modification=unfinished, owner="gone"))
    store.close()
    assert run("orphans forget", state, "v1", "--modification") == 0
    assert capsys.readouterr().out == (
        "forgotten: the modification of volume 'v1' on back end 'local'; it has its former properties\n"
    )
    store = open_store("sql", state_dir=state)
    left = store.get(Volume, "v1")
    store.close()
    assert replace(left, revision=whole.revision) == whole
    assert run("orphans forget", state, "v1", "--modification") == 1
    assert "no unfinished modification" in capsys.readouterr().err
    assert run("orphans forget", state, "v9", "--modification") == 2


def test_a_modification_is_not_forgotten_while_another_process_may_work_on_it(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store("sql", state_dir=state)
    begun = replace(store.get(Volume, "v1"), modification=Modification(wanted=VolumeType(qos_specs={"a": "2"})))
    left = store.replace(begun)
    with state_dir.hold(state):
        assert run("orphans forget", state, "v1", "--modification") == 2
    assert "in use" in capsys.readouterr().err
    assert store.get(Volume, "v1") == left
    store.close()


def test_restored_leaves_unfinished_work_alone(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("orphans restored", state) == 0
    told, voided, types, until = capsys.readouterr().out.splitlines()
    assert until == "no back end counts as empty until `csi-cinderlib orphans forget restored`"
    assert told == "excluded from repair: volume 'v2' on back end 'local', which was creating"
    assert re.fullmatch(r"no longer known to be empty: \d+ volumes and snapshots", voided)
    assert types == "no longer known to have the properties of their records: 1 volumes"
    assert run("orphans list", state, "-o", "json") == 0
    (half,) = [row for row in json.loads(capsys.readouterr().out) if row["kind"] == "volume"]
    assert (half["status"], half["due"]) == ("error", False)
    assert run("orphans forget", state, "restored") == 0
    assert capsys.readouterr().out == "forgotten: the restore of older metadata\n"


def test_orphans_lists_unfinished_work(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("orphans list", state, "-o", "json") == 0
    (half,) = [row for row in json.loads(capsys.readouterr().out) if row["kind"] == "volume"]
    assert half.pop("age").endswith("d")
    assert half == {
        "kind": "volume",
        "id": "v2",
        "name": "pvc-2",
        "claim": "shop/more",
        "backend": "local",
        "node": "",
        "volume_id": "",
        "status": "creating",
        "owner": "c1",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "due": True,
        "reason": "no space left",
        "fix": "undo the creation",
        "instead": "",
    }


def test_an_attachment_to_a_machine_that_is_gone_is_an_orphan_with_its_node(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store("sql", state_dir=state)
    store.add(replace(ATTACHMENT, id="a2", node_id="worker-9", connector={"host": "worker-9"}))
    store.close()
    assert run("orphans list", state) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "ID", "KIND", "STATUS", "BACKEND", "NODE", "CLAIM", "DUE", "AGE", "REASON"
    ]  # fmt: skip
    (gone,) = [line for line in lines if "a2" in line]
    assert gone.split()[:5] == ["a2", "attachment", "available", "local", "worker-9"]
    assert gone.endswith("node 'worker-9' is not registered")


def test_an_export_is_imported_into_another_store(state: Path, tmp_path: Path) -> None:
    assert run("export", state, str(tmp_path / "backup")) == 0
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    assert run("import", tmp_path / "other", str(tmp_path / "backup")) == 0
    store = open_store("sql", state_dir=tmp_path / "other")
    found = {record.id: record for _, record in everything(store) if not isinstance(record, str)}
    store.close()
    assert found.keys() == {"v1", "v2", "s1", "a1"}
    assert found["v1"].provider.auth == "CHAP u geheim"  # type: ignore[union-attr]  # a volume


@pytest.mark.parametrize("where", ["settings", "file"])
def test_an_export_is_sealed_when_there_are_keys(
    where: str, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new-key"]) == 0
    config, keys = tmp_path / "config.yaml", f"[{{id: k1, key: {capsys.readouterr().out.strip()}}}]"
    (tmp_path / "keys.yaml").write_text(keys)
    config.write_text(
        f"sealing_keys: {keys}" if where == "settings" else f"sealing_keys_file: {tmp_path / 'keys.yaml'}"
    )
    assert run("export", state, "--config", str(config), str(tmp_path / "backup")) == 0
    assert "geheim" not in (tmp_path / "backup").read_text()
    assert run("import", tmp_path / "other", "--config", str(config), str(tmp_path / "backup")) == 0
    assert run("import", tmp_path / "third", str(tmp_path / "backup")) == 1


def test_a_sealed_store_is_listed_without_its_keys_and_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store("sql", state_dir=tmp_path / "state", sealer=Sealer([KEY]))
    store.add(VOLUME)
    store.close()
    assert run("get volumes", tmp_path / "state", "-o", "name") == 0
    assert capsys.readouterr().out == "v1\n"
    assert run("export", tmp_path / "state", str(tmp_path / "backup")) == 1
    assert "the export would be incomplete" in capsys.readouterr().err
    assert not (tmp_path / "backup").exists()


def test_export_refuses_an_existing_file(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "backup").write_text("precious")
    assert run("export", state, str(tmp_path / "backup")) == 2
    assert "backup: already exists" in capsys.readouterr().err
    assert (tmp_path / "backup").read_text() == "precious"


def test_an_export_is_imported_from_a_named_pipe(state: Path, tmp_path: Path) -> None:
    """As in `csi-cinderlib import <(gpg --decrypt backup.gpg)`."""
    assert run("export", state, str(tmp_path / "backup")) == 0
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "backup").read_bytes()))
    writer.start()
    assert run("import", tmp_path / "other", str(tmp_path / "pipe")) == 0
    writer.join()
    store = open_store("sql", state_dir=tmp_path / "other")
    assert len(list(everything(store))) == 4
    store.close()


def test_import_refuses_a_store_with_other_records(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", state, str(tmp_path / "backup")) == 0
    store = open_store("sql", state_dir=tmp_path / "other")
    store.add(Volume(id="v9", backend="local", size=GiB(1)))
    store.close()
    assert run("import", tmp_path / "other", str(tmp_path / "backup")) == 1
    assert "volume 'v9' already exists" in capsys.readouterr().err


def test_an_interrupted_import_can_be_repeated(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", state, str(tmp_path / "backup")) == 0
    assert run("import", state, str(tmp_path / "backup")) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "4 records, verified (2 volume, 1 snapshot, 1 attachment)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "backup:1: is not valid JSON"),
        ('{"format": "other"}', "must have the format"),
        ('{"format": "csi-cinderlib/export", "v": 2}\n{}\n', "unsupported version 2"),
        ("[]", "must be a JSON object"),
        ('{"format": "csi-cinderlib/export", "v": 1}\n{', "backup:2: is not valid JSON"),
        ('{"format": "csi-cinderlib/export", "v": 1}\n{"kind": "vol"}\n', "is truncated"),
    ],
)
def test_import_refuses_a_file_that_is_not_an_export(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "backup").write_text(text)
    assert run("import", tmp_path / "state", str(tmp_path / "backup")) == 2
    assert message in capsys.readouterr().err


def test_migrate_reports_the_schema(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate", state) == 0
    assert capsys.readouterr().out == "schema is up to date: 0001\n"
    assert run("migrate", state.parent / "new") == 0
    assert capsys.readouterr().out.startswith("schema migrated: none -> ")
