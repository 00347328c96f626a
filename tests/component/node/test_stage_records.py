"""Stage records: what is written comes back, whole or not at all, and one bad file hurts one volume."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import CorruptRecord, HostError
from csi_cinderlib.host import mounts
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.node.format_marks import KEPT_SECONDS
from csi_cinderlib.node.stage_record import Publication, StageRecord, State, decode, encode
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.sealing import Sealer

MOUNT = Capability(
    Mount(fs_type="xfs", flags=("noatime", 'context="a,b"'), group="7"), AccessMode.MULTI_NODE_READER_ONLY
)
RECORD = StageRecord(
    volume_id="vol",
    staging_path="/var/lib/kubelet/plugins/x/globalmount",
    capability=MOUNT,
    connection=Connection(
        volume_id="vol",
        protocol="scaleio",  # its secrets are needed again
        data={"target_lun": 1, "auth_password": "s3cret-canary", "target_portals": ["a", "b"]},
        size=Bytes(1 << 30),
        formatting=Formatting.UNKNOWN,
        mkfs_options=("-L", "x"),
    ),
    state=State.CONNECTED,
    device=Device(path="/dev/dm-3", wwid="3600a", multipath=True, info={"multipath_id": "3600a", "type": "block"}),
    fs_type="xfs",
    publications=(Publication(target_path="/pods/1", capability=Capability(Block(), AccessMode.SINGLE_NODE_WRITER)),),
)


WITHOUT_PASSWORD = replace(
    RECORD,
    connection=replace(
        RECORD.connection, data={key: value for key, value in RECORD.connection.data.items() if key != "auth_password"}
    ),
)
VAULT = Sealer()
"""It has no key, so what it seals can be compared."""
READ_ONLY = replace(RECORD, publications=(replace(RECORD.publications[0], read_only=True),))


@pytest.mark.parametrize(
    "record", [RECORD, READ_ONLY, replace(RECORD, device=None, publications=(), state=State.CONNECTED)]
)
def test_a_record_comes_back_as_it_was(record: StageRecord) -> None:
    assert decode(encode(record, VAULT), VAULT) == record


def test_a_record_survives_the_process(tmp_path: Path) -> None:
    saved = StageRecords(tmp_path).save(RECORD)
    again = StageRecords(tmp_path)
    assert again.find("vol") == saved == replace(RECORD, boot_id=again.boot_id)
    assert again.all().records == (saved,)
    again.remove("vol")
    again.remove("vol")
    assert again.find("vol") is None
    assert list((tmp_path / "stage").iterdir()) == []


def test_a_noted_change_ends_with_the_process(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    saved = records.save(replace(RECORD, device=None))
    noted = records.note(RECORD)
    assert records.find("vol") == noted == replace(RECORD, boot_id=records.boot_id)
    assert records.owner_of("3600a", other_than="other") == "vol"
    assert StageRecords(tmp_path).find("vol") == saved
    records.save(noted)
    assert StageRecords(tmp_path).find("vol") == noted


def test_a_noted_change_does_not_hide_what_is_in_the_file(tmp_path: Path) -> None:
    records = StageRecords(tmp_path, vault=VAULT)
    records.save(RECORD)
    records.note(replace(RECORD, fs_type="ext4"))
    restored = replace(RECORD, fs_type="btrfs")
    (tmp_path / "stage" / "vol.json").write_bytes(encode(restored, VAULT))
    assert records.find("vol") == restored
    (tmp_path / "stage" / "vol.json").unlink()
    assert records.find("vol") is None


def test_a_change_of_a_record_that_was_put_back_by_hand_is_stored(tmp_path: Path) -> None:
    records = StageRecords(tmp_path, vault=VAULT)
    (tmp_path / "stage" / "vol.json").write_bytes(encode(replace(RECORD, device=None), VAULT))
    noted = records.note(RECORD)
    assert records.find("vol") == StageRecords(tmp_path, vault=VAULT).find("vol") == noted


def test_no_secret_is_shown_when_a_record_is_printed() -> None:
    assert "canary" not in repr(RECORD)


@pytest.mark.parametrize(
    "volume_id", ["../../etc/passwd", "a/b", ".hidden", "é" * 64, "x" * 128, "sha256-abc", "vol\n"]
)
def test_any_volume_id_has_a_file_of_its_own(tmp_path: Path, volume_id: str) -> None:
    records = StageRecords(tmp_path)
    record = replace(RECORD, volume_id=volume_id, connection=replace(RECORD.connection, volume_id=volume_id))
    saved = records.save(record)
    assert records.find(volume_id) == saved
    (path,) = (tmp_path / "stage").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    records.remove(volume_id)
    assert list((tmp_path / "stage").iterdir()) == []


TEXT = encode(RECORD, VAULT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        TEXT[:-20],
        TEXT.replace('"v":1', '"v":99', 1),
        TEXT.replace('"iscsi"', "7"),
        TEXT.replace("formatting", "x"),
        "\0" * 64,
    ],
)
def test_a_corrupt_record_is_named_and_the_others_work(tmp_path: Path, text: str) -> None:
    records = StageRecords(tmp_path)
    other = records.save(replace(RECORD, volume_id="other"))
    (records.directory / "vol.json").write_text(text)
    with pytest.raises(CorruptRecord, match=r"cannot read the record of stage 'vol': .*vol\.json") as caught:
        records.find("vol")
    assert "canary" not in str(caught.value)
    again = StageRecords(tmp_path)
    assert again.all().records == (other,)
    assert [error.id for error in again.all().corrupt] == ["vol"]


def broken(**changes: object) -> str:
    raw = json.loads(TEXT)
    for key, value in changes.items():
        if value is None:
            del raw[key]
        else:
            raw[key] = value
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (broken(v=99), r"vol\.json: unsupported version 99; supported: 1"),
        (broken(fs_type=None), r"vol\.json: KeyError 'fs_type'"),
        (broken(fs_type=7), r"vol\.json: TypeError 7 must be text"),
        (broken(connection={"protocol": "x", "data": []}), r"vol\.json: publish_context: .*: missing version"),
        (broken(connection={"protocol": "x", "data": {}}), r"vol\.json: publish_context: was not created by"),
    ],
)
def test_what_is_wrong_with_a_record_is_told(tmp_path: Path, text: str, problem: str) -> None:
    records = StageRecords(tmp_path, vault=VAULT)
    (records.directory / "vol.json").write_text(text)
    with pytest.raises(CorruptRecord, match=problem):
        records.find("vol")


def test_a_record_that_cannot_be_read_from_the_disk_is_an_error_of_this_host(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    (records.directory / "vol.json").mkdir()
    with pytest.raises(HostError, match=r"cannot read .*vol\.json: Is a directory"):
        records.find("vol")


def test_a_record_under_another_volumes_name_is_corrupt(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    (records.directory / "vol.json").rename(records.directory / "other.json")
    with pytest.raises(CorruptRecord, match="belongs to volume 'vol'"):
        records.find("other")


def test_a_half_written_file_of_a_crash_is_swept_and_the_old_record_counts(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    saved = records.save(RECORD)
    (records.directory / "vol.json.new").write_text("{")
    again = StageRecords(tmp_path)
    assert again.find("vol") == saved
    assert [path.name for path in again.directory.iterdir()] == ["vol.json"]


def test_what_cannot_be_stored_is_an_error_and_the_old_record_stays(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    saved = records.save(RECORD)
    (records.directory / "vol.json.new").mkdir()
    with pytest.raises(HostError, match="cannot store the stage record of volume vol"):
        records.save(replace(RECORD, state=State.STAGED))
    (records.directory / "vol.json.new").rmdir()
    assert records.find("vol") == saved


def test_a_device_is_known_by_the_volume_that_has_it(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    assert records.owner_of("3600a", other_than="new") == "vol"
    again = StageRecords(tmp_path)
    assert again.owner_of("3600a", other_than="new") == "vol"
    assert again.owner_of("3600a", other_than="vol") == ""
    again.save(replace(RECORD, volume_id="without a device", device=None))
    assert again.owner_of("", other_than="new") == ""
    again.remove("vol")
    assert again.owner_of("3600a", other_than="new") == ""


def test_old_marks_go_unless_their_volume_is_here(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    for volume_id in ("vol", "gone"):
        records.formatted.set(volume_id, "a@1")
    records.forget_old_marks(time.time())
    assert records.formatted.holds("gone", "a@1")
    records.forget_old_marks(time.time() + KEPT_SECONDS + 60)
    assert records.formatted.holds("vol", "a@1")
    assert not records.formatted.holds("gone", "a@1")


def test_from_a_whole_file_system_on_nothing_is_formatted() -> None:
    assert [state for state in State if state.beyond_formatting] == [State.FORMATTED, State.STAGED]


def test_a_record_that_cannot_be_removed_is_an_error_of_this_host(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    (records.directory / "vol.json").mkdir()
    with pytest.raises(HostError, match="cannot remove the stage record of volume vol: "):
        records.remove("vol")


def test_a_record_is_of_one_attachment() -> None:
    connection = replace(RECORD.connection, attachment="a@1")
    record = replace(RECORD, connection=connection)
    assert record.is_of(replace(connection, protocol="rbd", data={}))
    for other in ("a@2", ""):
        assert not record.is_of(replace(connection, attachment=other))
    assert not RECORD.is_of(connection)


def test_a_record_of_before_attachments_had_names_is_of_one_connection() -> None:
    connection = RECORD.connection
    assert RECORD.is_of(replace(connection, size=Bytes(1), data=dict(connection.data)))
    assert not RECORD.is_of(replace(connection, data={**connection.data, "target_lun": 2}))
    assert not RECORD.is_of(replace(connection, protocol="rbd"))


def test_publications_are_kept_by_target() -> None:
    again = replace(RECORD.publications[0], read_only=True)
    assert RECORD.published(again).publications == (again,)
    assert RECORD.unpublished("/pods/1").publications == ()
    assert RECORD.publication("/pods/1") == RECORD.publications[0]
    assert RECORD.publication("/pods/2") is None


def test_a_connection_travels_deflated_and_comes_back_whole() -> None:
    connection = Connection(volume_id="v", protocol="iscsi", data={"target_portals": ["10.0.0.1:3260"] * 300})
    assert len(connection.to_bytes()) < 400
    assert Connection.from_bytes(connection.to_bytes()) == connection


@pytest.mark.root
def test_a_full_disk_takes_what_unpublishes_and_nothing_else(tmp_path: Path) -> None:
    mounts.mount("none", str(tmp_path), "tmpfs", ("size=1m",))
    try:
        StageRecords(tmp_path).save(RECORD)
        with contextlib.suppress(OSError), (tmp_path / "filler").open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        for attempt in range(3):
            again = StageRecords(tmp_path)  # as after a restart on the full disk
            with pytest.raises(HostError, match=rf"of volume vol in {tmp_path}/stage: No space left"):
                again.save(READ_ONLY)
            changed = replace(RECORD, fs_type=f"attempt-{attempt}").unpublished("/pods/1")
            assert again.save(changed, frees=True) == again.find("vol") == StageRecords(tmp_path).find("vol")
        again.remove("vol")
        assert again.all().records == ()
    finally:
        mounts.unmount(str(tmp_path))
