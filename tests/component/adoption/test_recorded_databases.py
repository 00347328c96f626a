"""Databases that real cinderlib of each version has written become the same records."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from csi_cinderlib.cli import main
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import InitiatorData, Provider, SourceKind, Status, VolumeType
from csi_cinderlib.persistence.sql import read
from tests.component.adoption.databases import RECORDED, adopt, contents, load, sqlite_file, volumes
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Server

FILES = sorted(path.stem for path in RECORDED.glob("*-sqlite*.sql"))
ON_SERVERS = [
    *(("postgresql", f"{version}-postgresql") for version in ("2.1.0", "5.2.0")),
    *((server, f"{version}-mysql") for server in ("mysql", "mariadb") for version in ("2.1.0", "5.2.0")),
]


def check(target: Path, *, has_qos: bool) -> None:
    """The records of `program.txt`."""
    found, snapshots, attachments, key_values = contents(target)
    by_name = {volume.name: volume for volume in found}
    assert sorted(by_name) == [
        "clone",
        "copy of snapshot",
        "failed extension",
        "plain",
        "typed",
        "typed and unused",
    ]
    plain, clone, typed = by_name["plain"], by_name["clone"], by_name["typed"]
    for volume in found:
        assert (volume.backend, volume.pool, volume.host.partition("@")[2]) == ("array1", "p1", "array1#p1")
        assert volume.status is Status.AVAILABLE
        assert (volume.began_empty, volume.blank) == (False, False), "so no node formats it"
        assert volume.provider == Provider(
            location=f"192.0.2.9:3260,1 iqn.2010-10.org.example:volume-{volume.id}",
            auth=f"CHAP user-{volume.name} secret",
            id=f"array-{volume.name}",
        )
        assert volume.metadata == {"array": "1"}
        assert volume.fields["project_id"] == volume.fields["user_id"] == "cinderlib"
        assert volume.created_at.endswith("Z")
    assert plain.fields["display_description"] == "a plain volume"
    (snapshot,) = snapshots
    assert (snapshot.name, snapshot.volume_id, snapshot.backend, int(snapshot.size)) == (
        "snapshot of plain",
        plain.id,
        "array1",
        1,
    )
    assert snapshot.provider.location == f"snap:snapshot-{snapshot.id}"
    assert clone.source is not None
    assert (clone.source.kind, clone.source.id) == (SourceKind.VOLUME, plain.id)
    copy = by_name["copy of snapshot"].source
    assert copy is not None
    assert (copy.kind, copy.id) == (SourceKind.SNAPSHOT, snapshot.id)
    qos = {"total_iops_sec": "100"} if has_qos else {}
    assert typed.type == VolumeType(extra_specs={"thin": "<is> True"}, qos_specs=qos)
    assert by_name["typed and unused"].type == VolumeType(extra_specs={"thin": "<is> False"})
    assert plain.type is None
    assert "'error'" in by_name["failed extension"].message
    assert {attachment.volume_id for attachment in attachments} == {clone.id, typed.id}
    assert {volume.name for volume in found if volume.raw} == {"clone", "typed"}
    for attachment in attachments:
        assert (attachment.node_id, attachment.access_mode) == ("node1", AccessMode.SINGLE_NODE_WRITER)
        assert attachment.connector["initiator"] == "iqn.1994-05.com.example:node1"
        assert attachment.connection_info["driver_volume_type"] == "iscsi"
        assert attachment.connection_info["data"]["auth_password"] == "secret"  # type: ignore[index]  # JSON
    assert [key_value.id for key_value in key_values] == ["node1"]
    with read({"url": f"sqlite:///{target}"}, state_dir=target.parent, sealer=None) as store:
        (data,) = store.page(InitiatorData).records
    assert (data.initiator, data.namespace, data.key, data.value) == (
        "iqn.1994-05.com.example:node1",
        "pure",
        "chap",
        "secret",
    )


@pytest.mark.parametrize("recording", FILES)
def test_a_file_of_any_version_is_adopted_and_not_changed(recording: str, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    source, target = sqlite_file(folder, recording), tmp_path / "new.db"
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    assert adopt(source, target, "--write") == 0
    check(target, has_qos=True)
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    assert list(folder.iterdir()) == [source]


@pytest.mark.parametrize(("name", "recording"), ON_SERVERS)
def test_a_database_on_a_server_is_adopted_by_a_user_who_can_only_read(
    name: str, recording: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: Server = request.getfixturevalue(name)
    load(server, recording)
    url = _reader(server)
    assert adopt(url, tmp_path / "new.db", "--write") == 0
    check(tmp_path / "new.db", has_qos=False)


def _reader(server: Server) -> str:
    """The URL of a user without any right to write."""
    if isinstance(server, PostgreSQL):
        server.query("DROP ROLE IF EXISTS reader")
        server.query("CREATE ROLE reader LOGIN PASSWORD 'reading'")
        server.query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    else:
        server.query("CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'reading'")
        server.query("GRANT SELECT ON csi.* TO reader@'%'")
    scheme = "postgresql+psycopg2" if isinstance(server, PostgreSQL) else "mysql+pymysql"
    return f"{scheme}://reader:reading@127.0.0.1:{server.port}/csi"


def test_rows_that_cinderlib_only_marked_as_deleted_stay_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adopt(sqlite_file(tmp_path, "5.2.0-sqlite-soft"), tmp_path / "new.db", "--write") == 0
    assert "deleted" not in volumes(tmp_path / "new.db")
    assert "deleted there, left out: 1 volumes, 1 snapshots, 1 volume_attachment" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_records_can_go_into_a_server(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: Server = request.getfixturevalue(name)
    server.renew_database()
    source = sqlite_file(tmp_path)
    driver = "postgresql+psycopg2" if name == "postgresql" else "mysql+pymysql"
    into = f"{driver}://{server.url.partition('://')[2]}"
    argv = ["adopt", "cinderlib", "--url", f"sqlite:///{source}", "--into", into, "--write"]
    assert main(argv) == 0
    assert main(argv) == 0
    assert server.query("SELECT count(*) FROM volumes")[0][0] == 6
    server.altered = True
