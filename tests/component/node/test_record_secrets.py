"""No password lies in the state directory: not in stage records, nor in their changes, at any moment of a volume's life."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.host import kernel, mounts
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.node.amendments import Amendments
from csi_cinderlib.node.record_secrets import divide
from csi_cinderlib.node.stage_record import StageRecord, State, encode
from csi_cinderlib.node.stage_records import StageRecords
from tests.component.node.bed import Node, Volume
from tests.component.node.test_stage_records import RECORD, WITHOUT_PASSWORD
from tests.support.spelled import holders, is_shown

CANARY = "canary/+ 5f1d2a"


@dataclass
class Secretive(Volume):
    """Its connection holds passwords that attaching a file does not need."""

    @property
    def connection(self) -> Connection:
        plain = super().connection
        return replace(
            plain, data={**plain.data, "auth_password": CANARY, "nested": {"list": [{"chap_secret": CANARY}]}}
        )


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """All that goes to files by way of `kernel.write`, as records, their changes and marks do."""
    contents: list[bytes] = []
    write = kernel.write

    def watched(fd: int, content: bytes) -> None:
        contents.append(content)
        write(fd, content)

    monkeypatch.setattr(kernel, "write", watched)
    yield contents


@pytest.mark.root
def test_no_password_is_written_in_a_volumes_life(node: Node, written: list[bytes], tmp_path: Path) -> None:
    plain = node.volume()
    volume = Secretive(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
    node.stage(volume)
    node.publish(volume)
    node = Node(tmp_path)
    node.unpublish(volume)
    node.unstage(volume)
    assert len(written) > 4
    assert b'"sealed":"k:record:' in b"".join(written), (
        "mkfs may be interrupted, and its remains be removed after a reboot"
    )
    assert [content for content in written if is_shown(CANARY, content)] == []
    assert holders(CANARY, tmp_path / "state") == []


PLAIN = {
    "target_portal": "10.0.0.1:3260",
    "auth_username": "user",
    "target_luns": [1, 2],
    "encrypted": False,
    "x": None,
}
SECRET = {
    "auth_password": CANARY,
    "secret_uuid": "7d1c",
    "config": {"user": "a", "vmware_host_password": CANARY},
    "paths": [{"url": "https://a:b@c"}],
    "export": "https://user:password@host/share",
    "options": "-o vers=3,password=x",
}


def test_values_are_secret_by_name_and_by_form() -> None:
    assert divide({**PLAIN, **SECRET}) == (PLAIN, SECRET)
    assert divide({"auth_password": "", "keyring": None}) == ({"auth_password": "", "keyring": None}, {})


def connected(protocol: str, state: State, **data: object) -> StageRecord:
    connection = replace(RECORD.connection, protocol=protocol, data={**PLAIN, **data})
    return replace(RECORD, connection=connection, state=state)


@pytest.mark.parametrize(
    ("protocol", "state", "is_kept"),
    [
        ("iscsi", State.INTENT, False),
        ("iscsi", State.CONNECTED, False),
        ("iscsi", State.FORMATTED, False),
        ("iscsi", State.STAGED, False),
        ("rbd", State.STAGED, False),
        ("nvmeof", State.STAGED, False),
        ("scaleio", State.STAGED, True),
        ("vmdk", State.INTENT, True),
        ("unheard-of", State.STAGED, True),
    ],
)
def test_a_secret_is_kept_only_where_it_is_needed_again(
    tmp_path: Path, protocol: str, state: State, is_kept: bool
) -> None:
    StageRecords(tmp_path).save(connected(protocol, state, auth_password=CANARY))
    record = StageRecords(tmp_path).find("vol")
    assert record
    assert dict(record.connection.data) == {**PLAIN, **({"auth_password": CANARY} if is_kept else {})}
    assert holders(CANARY, tmp_path) == []


def test_a_value_that_only_looks_secret_is_kept(tmp_path: Path) -> None:
    export = {"export": f"https://user:{quote(CANARY, safe='')}@host/share"}
    StageRecords(tmp_path).save(connected("nfs", State.STAGED, **export))
    record = StageRecords(tmp_path).find("vol")
    assert record
    assert dict(record.connection.data) == {**PLAIN, **export}
    assert holders(CANARY, tmp_path) == []


def test_what_a_device_says_of_itself_is_sealed_too(tmp_path: Path) -> None:
    device = Device(path="/dev/sdb", wwid="3600a", info={"type": "block", "session_token": CANARY})
    StageRecords(tmp_path).save(replace(RECORD, device=device))
    record = StageRecords(tmp_path).find("vol")
    assert (record and record.device) == device
    assert holders(CANARY, tmp_path) == []


def in_plain(record: StageRecord) -> bytes:
    """As earlier versions wrote it."""
    content: dict[str, Any] = json.loads(encode(record, Untouched()))
    content.pop("sealed", None)
    content["connection"]["data"] = dict(record.connection.data)
    return json.dumps(content, separators=(",", ":")).encode()


class Untouched:
    def seal(self, secret: bytes) -> str:
        return secret.decode()

    def open(self, text: str) -> bytes:
        return text.encode()


OLD = replace(
    RECORD,
    state=State.STAGED,
    boot_id="an earlier one",
    connection=replace(RECORD.connection, protocol="iscsi", data={**RECORD.connection.data, "auth_password": CANARY}),
)
NEW = replace(
    WITHOUT_PASSWORD,
    state=State.STAGED,
    boot_id="an earlier one",
    connection=replace(WITHOUT_PASSWORD.connection, protocol="iscsi"),
)


def keep_in_plain(state_dir: Path, *, changed: StageRecord | None = None) -> Path:
    file = state_dir / "stage" / "vol.json"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_bytes(in_plain(OLD))
    if changed:
        assert Amendments(state_dir / "stage-changes").add("vol.json", in_plain(changed), instead_of=in_plain(OLD))
    return file


@pytest.mark.parametrize("published", [False, True])
def test_a_record_of_an_earlier_version_is_stored_again_without_secrets(tmp_path: Path, published: bool) -> None:
    changed = replace(OLD, publications=()) if published else None
    keep_in_plain(tmp_path, changed=changed)
    assert len(holders(CANARY, tmp_path)) == 1 + published
    records = StageRecords(tmp_path)
    expected = replace(NEW, publications=()) if published else NEW
    assert records.find("vol") == expected
    assert StageRecords(tmp_path).find("vol") == expected
    assert holders(CANARY, tmp_path) == []


def test_a_record_without_secrets_is_not_stored_again(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(RECORD)
    before = (records.directory / "vol.json").stat()
    StageRecords(tmp_path)
    assert (records.directory / "vol.json").stat().st_mtime_ns == before.st_mtime_ns


def test_a_kill_between_both_files_is_made_good_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_plain(tmp_path, changed=replace(OLD, publications=()))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Amendments, "forget", _interrupted)
        StageRecords(tmp_path)
    assert StageRecords(tmp_path).find("vol") == replace(NEW, publications=())
    assert holders(CANARY, tmp_path) == []


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.root
def test_an_old_record_is_of_use_where_it_cannot_be_stored_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mounts.mount("none", str(tmp_path), "tmpfs", ("size=1m",))
    try:
        StageRecords(tmp_path)
        for file in (tmp_path / "stage-reserve").iterdir():
            file.unlink()
        keep_in_plain(tmp_path)
        with contextlib.suppress(OSError), (tmp_path / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
        assert StageRecords(tmp_path).find("vol") == OLD
        (warning,) = caplog.records
        assert vars(warning)["event"] == "plain-text secrets kept in stage record"
        assert "No space left" in vars(warning)["values"]["reason"]
        (tmp_path / "filler").unlink()
        assert StageRecords(tmp_path).find("vol") == NEW
        assert holders(CANARY, tmp_path) == []
    finally:
        mounts.unmount(str(tmp_path))
    assert CANARY not in str([vars(record) for record in caplog.records])


def test_a_record_whose_key_is_lost_is_corrupt_and_the_others_work(tmp_path: Path) -> None:
    records = StageRecords(tmp_path)
    records.save(replace(RECORD, connection=replace(RECORD.connection, protocol="scaleio")))
    other = records.save(replace(WITHOUT_PASSWORD, volume_id="other"))
    (tmp_path / "record-key").unlink()
    again = StageRecords(tmp_path)
    assert again.all().records == (other,)
    with pytest.raises(CorruptRecord, match="key is different"):
        again.find("vol")


def test_an_attachment_without_a_name_is_known_without_its_password(tmp_path: Path) -> None:
    StageRecords(tmp_path).save(replace(RECORD, state=State.STAGED))
    record = StageRecords(tmp_path).find("vol")
    assert record
    assert record.is_of(RECORD.connection)
    assert not record.is_of(replace(RECORD.connection, data={**RECORD.connection.data, "target_lun": 7}))
