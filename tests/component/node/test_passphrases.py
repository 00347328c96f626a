"""The key slots of a header on a device. Opening a mapping needs the kernel's device mapper; these steps do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import UnsafeToFormat, WrongKey
from csi_cinderlib.host import commands, devices
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.node.passphrases import Keys, checked_header, verified_key
from csi_cinderlib.node.stage_record import StageRecord
from csi_cinderlib.pages import KEYS_PAGE
from tests.component.host.formats import add_key, encrypt, slot_of
from tests.component.node.bed import EXT4

pytestmark = pytest.mark.root
UUID = "1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60"
A, B, C = b"the first", b"the second", b"the third"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    with path.open("wb") as made:
        made.truncate(20 * 1024**2)
    encrypt(str(path), A, uuid=UUID)
    return path


@pytest.fixture
def record(file: Path) -> Iterator[StageRecord]:
    path = devices.attach_file(str(file))
    wwid = devices.identity(path)
    yield StageRecord(
        volume_id="v",
        staging_path="/staging",
        capability=EXT4,
        connection=Connection(volume_id="v", protocol="local", data={}, encryption="luks2"),
        device=Device(path=path, wwid=wwid),
        header=UUID,
    )
    devices.detach_file(path, expected=wwid)


def verified(record: StageRecord, keys: Keys) -> bytes:
    with checked_header(record) as header:
        return verified_key(record, keys, header)


def slots(record: StageRecord) -> dict[bytes, int]:
    """The keys that open the header, with their slots."""
    assert record.device
    found = {key: slot_of(record.device.path, key) for key in (A, B, C)}
    return {key: slot for key, slot in found.items() if slot is not None}


def test_the_key_of_the_header_is_returned_and_nothing_is_changed(record: StageRecord, file: Path) -> None:
    before = file.read_bytes()
    assert verified(record, Keys(A)) == A
    assert file.read_bytes() == before


@pytest.mark.parametrize("keys", [Keys(B), Keys(B, C)])
def test_a_wrong_key_changes_nothing(record: StageRecord, file: Path, keys: Keys) -> None:
    before = file.read_bytes()
    with pytest.raises(WrongKey, match=rf"volume v: secrets\[passphrase\] does not open .*{KEYS_PAGE}"):
        verified(record, keys)
    assert file.read_bytes() == before


def test_the_previous_key_is_replaced_by_the_current_one(record: StageRecord) -> None:
    assert verified(record, Keys(B, A)) == B
    assert slots(record) == {B: 1}
    assert verified(record, Keys(B, A)) == B, "repeated"
    assert slots(record) == {B: 1}
    assert verified(record, Keys(C, B)) == C
    assert slots(record) == {C: 0}


def test_an_interrupted_change_is_finished(record: StageRecord) -> None:
    assert record.device
    add_key(record.device.path, A, B)
    add_key(record.device.path, A, A)  # the same key in two slots
    assert set(slots(record)) == {A, B}
    assert verified(record, Keys(B, A)) == B
    assert slots(record) == {B: 1}


def test_a_volume_that_is_attached_read_only_keeps_its_key(record: StageRecord, file: Path) -> None:
    before = file.read_bytes()
    reader = replace(record, connection=replace(record.connection, read_only=True))
    assert verified(reader, Keys(B, A)) == A
    assert record.device
    devices.set_read_only(record.device.path, True)
    assert verified(record, Keys(B, A)) == A
    assert file.read_bytes() == before
    devices.set_read_only(record.device.path, False)
    add_key(record.device.path, A, B)
    assert verified(reader, Keys(B, A)) == B
    assert set(slots(record)) == {A, B}


def test_the_header_is_checked_before_a_key_is_tried(record: StageRecord) -> None:
    assert record.device
    foreign = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")
    commands.run(
        ("cryptsetup", "luksAddKey", "--batch-mode", *foreign, "--key-file=-", record.device.path, "/etc/hostname"),
        timeout=60,
        input=A,
    )
    with pytest.raises(UnsafeToFormat, match="keyslots/1/kdf"):
        verified(record, Keys(A))
