"""What cannot be adopted is named, all of it in one run, and then nothing is written."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from csi_cinderlib.cli import main
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.records import Snapshot, Volume
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.sql import open_store as open_sql
from csi_cinderlib.persistence.sql.schema import VERSION_TABLE
from tests.component.adoption.databases import adopt, change, contents, id_of, load, sqlite_file, volumes
from tests.support.servers.server import Server

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return sqlite_file(tmp_path / "old")


def test_a_dry_run_shows_everything_and_writes_nothing(source: Path, tmp_path: Path, capsys: Capture) -> None:
    assert adopt(source, tmp_path / "new.db") == 0
    printed = capsys.readouterr()
    assert "6 volume, 1 snapshot, 2 attachment, 1 initiator-data, 1 key-value" in printed.out
    assert re.search(r"^checksum: [0-9a-f]{64}$", printed.out, re.MULTILINE)
    assert "back end array1: 6 volume" in printed.out
    assert f"attached to node1: {', '.join(sorted((id_of(source, 'clone'), id_of(source, 'typed'))))}" in printed.out
    note = "note: its status was 'error' when it was adopted; check it before use: volume"
    assert f"{note} {id_of(source, 'failed extension')}\n" in printed.out
    assert "dry run: nothing written" in printed.err
    assert not (tmp_path / "new.db").exists()
    assert "secret" not in printed.out + printed.err


def test_all_problems_are_named_by_table_id_and_column_and_nothing_is_written(
    source: Path, tmp_path: Path, capsys: Capture
) -> None:
    plain, clone, unused = (id_of(source, name) for name in ("plain", "clone", "typed and unused"))
    change(
        source,
        f"UPDATE volumes SET host = NULL WHERE id = '{plain}'",
        f"UPDATE volumes SET size = 0 WHERE id = '{unused}'",
        f"UPDATE volume_attachment SET connection_info = '{{secret' WHERE volume_id = '{clone}'",
        "INSERT INTO cinderlib_persistence_key_value VALUES ('csi-cinderlib.lock', 'x')",
        "INSERT INTO driver_initiator_data (id, initiator, namespace, key, value) VALUES (7, '', 'pure', 'chap', 'secret')",
    )
    assert adopt(source, tmp_path / "new.db", "--write") == 1
    printed = capsys.readouterr().err
    for line in (
        rf"problem: volumes {plain} host: must be HOST@BACKEND#POOL \(got ''\)",
        rf"problem: volumes {unused} size: must be a whole number of GiB of at least 1 \(got 0\)",
        rf"problem: snapshots [-0-9a-f]+ volume_id: volume '{plain}' .*has a problem itself",
        r"problem: volume_attachment [-0-9a-f]+ connection_info: is not valid JSON",
        r"problem: cinderlib_persistence_key_value 'csi-cinderlib.lock' key: must not begin with csi-cinderlib",
        r"problem: driver_initiator_data 7 initiator: must not be empty",
        r"nothing written; remove the causes, or leave these rows out with --skip-problems",
    ):
        assert re.search(line, printed), line
    assert "secret" not in printed
    assert not (tmp_path / "new.db").exists()


def test_rows_with_problems_can_be_left_out(source: Path, tmp_path: Path) -> None:
    change(source, f"UPDATE volumes SET host = NULL WHERE id = '{id_of(source, 'plain')}'")
    assert adopt(source, tmp_path / "new.db", "--write", "--skip-problems") == 0
    found, snapshots, attachments, _ = contents(tmp_path / "new.db")
    assert (len(found), len(snapshots), len(attachments)) == (5, 0, 2)


@pytest.mark.parametrize("status", ["creating", "deleting", "error_deleting", "error", "error_extending", "retyping"])
def test_no_former_status_lets_the_controller_delete_a_volume_by_itself(
    status: str, source: Path, tmp_path: Path
) -> None:
    change(source, f"UPDATE volumes SET status = '{status}'", f"UPDATE snapshots SET status = '{status}'")
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    found, snapshots, _, _ = contents(tmp_path / "new.db")
    records: list[Volume | Snapshot] = [*found, *snapshots]
    assert {str(record.status) for record in records} == {"available"}
    assert all(f"{status!r}" in record.message for record in records)


def test_the_id_in_the_name_on_the_storage_is_kept(source: Path, tmp_path: Path) -> None:
    change(source, "UPDATE volumes SET _name_id = 'former' WHERE display_name = 'plain'")
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    assert volumes(tmp_path / "new.db")["plain"].fields["_name_id"] == "former"


def test_records_of_the_target_are_never_overwritten(source: Path, tmp_path: Path, capsys: Capture) -> None:
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    before = contents(tmp_path / "new.db")
    change(source, "UPDATE volumes SET size = 9 WHERE display_name = 'plain'")
    assert adopt(source, tmp_path / "new.db", "--write", "--skip-problems") == 1
    message = (
        f"problem: volume {id_of(source, 'plain')}: the store has another record with this id; nothing is overwritten"
    )
    assert message in capsys.readouterr().err
    assert contents(tmp_path / "new.db") == before


def test_a_second_run_brings_nothing_back_that_was_deleted_since(source: Path, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "new.db"
    assert adopt(source, target, "--write") == 0
    store = open_store("sql", {"url": f"sqlite:///{target}"}, state_dir=tmp_path)
    store.remove(next(volume for volume in walk_all(store, Volume) if volume.name == "failed extension"))
    store.close()
    assert adopt(source, target, "--write") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert "failed extension" not in volumes(target)


def test_two_databases_go_into_one_store(source: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "other").mkdir()
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    other = sqlite_file(tmp_path / "other", "3.1.0-sqlite")
    change(other, "UPDATE cinderlib_persistence_key_value SET key = 'node2'", "DELETE FROM driver_initiator_data")
    assert adopt(other, tmp_path / "new.db", "--write") == 0
    assert len(contents(tmp_path / "new.db")[0]) == 12


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DROP TABLE snapshots", "is not a database of cinderlib: it lacks the tables snapshots"),
        (
            "DROP TABLE cinderlib_persistence_key_value",
            "is a database of OpenStack Cinder, not of cinderlib; use `csi-cinderlib adopt cinder`",
        ),
        (
            "INSERT INTO services (id, host, topic, report_count) VALUES (1, 'a', 'cinder-volume', 0)",
            "table services: has rows, so this is the database of an OpenStack Cinder",
        ),
    ],
)
def test_another_database_is_refused(
    statement: str, message: str, source: Path, tmp_path: Path, capsys: Capture
) -> None:
    change(source, statement)
    assert adopt(source, tmp_path / "new.db", "--write") == 2
    assert message in capsys.readouterr().err


def test_a_missing_file_is_named_and_not_created(tmp_path: Path, capsys: Capture) -> None:
    assert adopt(tmp_path / "absent.db", tmp_path / "new.db") == 2
    assert f"--url: {tmp_path}/absent.db does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_is_refused(source: Path, tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("store: {plugin: memory}\n")
    assert main(["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--config", str(config), "--write"]) == 2
    assert "keeps records only in memory; use another store" in capsys.readouterr().err


# --- a database of cinderlib as the store itself


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_file_of_cinderlib_as_the_store_is_refused_and_left_byte_for_byte(mode: str, source: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    with pytest.raises(ConfigurationError, match="csi-cinderlib adopt cinderlib"):
        open_store("sql", {"url": f"sqlite:///{source}"}, state_dir=source.parent)
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    assert list(source.parent.iterdir()) == [source]


def test_a_file_of_any_other_program_as_the_store_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    file = tmp_path / "other" / "places.db"
    change(file, "CREATE TABLE bookmarks (id INTEGER)")
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match=r"tables of another program.*\(bookmarks\)"):
        open_store("sql", {"url": f"sqlite:///{file}"}, state_dir=tmp_path)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", ["postgresql", "mysql", "mariadb"])
def test_a_server_database_of_cinderlib_as_the_store_is_refused_and_gets_no_table(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: Server = request.getfixturevalue(name)
    load(server, f"5.2.0-{'postgresql' if name == 'postgresql' else 'mysql'}")
    with pytest.raises(ConfigurationError, match="csi-cinderlib adopt cinderlib"):
        open_sql({"url": server.url}, state_dir=tmp_path, sealer=None)
    found = server.query("SELECT count(*) FROM information_schema.tables WHERE table_name = %s", VERSION_TABLE)
    assert found[0][0] == 0


# --- the configured store of the CSI driver


def test_the_configured_store_seals_secrets_and_unknown_back_ends_are_named(
    source: Path, tmp_path: Path, capsys: Capture
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"state_dir: {tmp_path / 'state'}\n"
        "sealing_keys: [{id: k1, key: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}]\n"
        "backends: {fast: {driver: csi_cinderlib.drivers.loopfile.LoopFileDriver}}\n"
    )
    arguments = ["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--config", str(config)]
    assert main(arguments) == 0
    assert "back end array1: 6 volume; not in the configuration, add it before use" in capsys.readouterr().out
    assert not (tmp_path / "state" / "metadata.db").exists()
    assert main([*arguments, "--write"]) == 0
    stored = (tmp_path / "state" / "metadata.db").read_bytes()
    assert id_of(source, "plain").encode() in stored
    assert b"CHAP user-plain" not in stored
    assert main([*arguments, "--write"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_connection_without_a_connector_column_takes_it_from_its_connection_info(
    source: Path, tmp_path: Path
) -> None:
    change(source, "UPDATE volume_attachment SET connector = NULL")
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    assert {attachment.node_id for attachment in contents(tmp_path / "new.db")[2]} == {"node1"}


def test_urls_with_passwords_can_come_from_the_environment(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CINDERLIB_ADOPT_URL", f"sqlite:///{source}")
    monkeypatch.setenv("CINDERLIB_ADOPT_INTO", f"sqlite:///{tmp_path / 'new.db'}")
    assert main(["adopt", "cinderlib", "--write"]) == 0
    assert len(volumes(tmp_path / "new.db")) == 6


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_a_wrong_password_is_named_without_the_password(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture
) -> None:
    server: Server = request.getfixturevalue(name)
    scheme = server.url.partition("://")[0]
    assert adopt(f"{scheme}://csi:topsecret@127.0.0.1:{server.port}/csi", tmp_path / "new.db") == 2
    message = capsys.readouterr().err
    assert "--url: " in message
    assert "password" in message
    assert "topsecret" not in message


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://u:secret@db/cinder?bogus=1", "--into: unknown argument 'bogus'"),
        ("nonsense", "--into: must be a database URL"),
        ("sqlite:////dev/null/new.db", "--into: cannot read /dev/null/new.db"),
    ],
)
def test_a_wrong_url_of_the_target_is_named_by_its_option(
    source: Path, capsys: Capture, url: str, problem: str
) -> None:
    assert main(["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--into", url, "--write"]) == 2
    printed = capsys.readouterr().err
    assert problem in printed
    assert "secret" not in printed
    assert "store.options" not in printed


def test_a_drained_back_end_takes_nothing_over(source: Path, tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "config.yaml"
    driver = "driver: csi_cinderlib.drivers.loopfile.LoopFileDriver"
    config.write_text(f"state_dir: {tmp_path / 'state'}\nbackends: {{array1: {{{driver}, drained: true}}}}\n")
    assert main(["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--config", str(config), "--write"]) == 1
    printed = capsys.readouterr()
    assert "not in the configuration" not in printed.out
    assert "back end 'array1' accepts no new volumes: it is drained" in printed.err
    assert not (tmp_path / "state" / "metadata.db").exists()
