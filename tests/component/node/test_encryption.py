"""Encrypted volumes: which keys, which headers, and that nothing is ever used in plain. Mappings are opened by tests in a guest."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import InvalidRequest, PreconditionFailed, UnsafeToFormat
from csi_cinderlib.host import luks, luks_header
from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import Signature
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.encryption import header_of
from csi_cinderlib.model.requests import StageVolume
from csi_cinderlib.node import passphrases
from csi_cinderlib.node.formatting import HeaderAction, decide_header
from csi_cinderlib.node.header_check import check_header, check_owner
from csi_cinderlib.node.stage_record import StageRecord, decode, encode, mapping_name, require_same_encryption
from csi_cinderlib.pages import HEADER_PAGE
from csi_cinderlib.sealing import Sealer
from tests.component.host.formats import encrypt
from tests.component.node.bed import BLOCK, EXT4, SIZE, Node
from tests.component.node.conftest import assert_nothing_left

UUID = "1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60"
HEADER = Signature(name="luks2", kind=Kind.ENCRYPTED, uuid=UUID)
DISK = Device(path="/dev/sdb", wwid="3600a")
RECORD = StageRecord(
    volume_id="v",
    staging_path="/staging",
    capability=EXT4,
    connection=Connection(volume_id="v", protocol="iscsi", data={}, encryption="luks2"),
    device=DISK,
    header=UUID,
)


def never_asked() -> bool:
    raise AssertionError("the rule does not depend on it")


def request(**what: Any) -> StageVolume:
    return StageVolume(volume_id="v", staging_path="/staging", capability=EXT4, publish_context={}, **what)


# --- whether a header may be written


@pytest.mark.parametrize("rule", list(Formatting))
def test_an_existing_header_is_always_opened_also_after_an_interruption(rule: Formatting) -> None:
    """It is written last, so another node may have used the volume since."""
    assert decide_header(HEADER, rule, is_blank=never_asked) is HeaderAction.OPEN
    assert decide_header(HEADER, rule, marked=True, is_blank=never_asked) is HeaderAction.OPEN
    assert decide_header(HEADER, rule, unfinished=True, is_blank=never_asked) is HeaderAction.OPEN


def test_a_header_with_the_uuid_of_another_volume_is_refused() -> None:
    check_owner("v", UUID, UUID)
    check_owner("v", UUID.upper(), UUID)
    check_owner("v", UUID, "")  # imported
    with pytest.raises(UnsafeToFormat, match=f"header of another volume: its UUID is {UUID}.*{HEADER_PAGE}"):
        check_owner("v", UUID, header_of("v"))


def test_a_header_is_written_on_a_new_or_blank_device_only() -> None:
    assert decide_header(None, Formatting.NEVER_FORMATTED, is_blank=never_asked) is HeaderAction.WRITE
    assert decide_header(None, Formatting.UNKNOWN, is_blank=lambda: True) is HeaderAction.WRITE
    with pytest.raises(
        UnsafeToFormat, match=f"no encryption header was found, but the device is not blank.*{HEADER_PAGE}"
    ):
        decide_header(None, Formatting.UNKNOWN, is_blank=lambda: False)


@pytest.mark.parametrize("rule", [Formatting.NEVER_FORMATTED, Formatting.UNKNOWN])
def test_a_device_that_has_lost_its_header_is_refused(rule: Formatting) -> None:
    with pytest.raises(UnsafeToFormat, match="no encryption header was found on the device, but it has had one"):
        decide_header(None, rule, marked=True, is_blank=never_asked)


@pytest.mark.parametrize("unfinished", [False, True])
def test_a_copy_without_a_header_is_refused(unfinished: bool) -> None:
    with pytest.raises(UnsafeToFormat, match="no encryption header was found on the device, and the volume must not"):
        decide_header(None, Formatting.FORBIDDEN, unfinished=unfinished, is_blank=never_asked)


@pytest.mark.parametrize("rule", [Formatting.NEVER_FORMATTED, Formatting.UNKNOWN])
def test_an_interrupted_encryption_without_a_header_is_done_again(rule: Formatting) -> None:
    assert decide_header(None, rule, marked=True, unfinished=True, is_blank=never_asked) is HeaderAction.WRITE


@pytest.mark.parametrize("name", ["ext4", "luks1", "gpt", "bitlocker"])
@pytest.mark.parametrize("rule", list(Formatting))
def test_any_other_content_is_named_and_left_alone(name: str, rule: Formatting) -> None:
    with pytest.raises(
        UnsafeToFormat, match=f"created with encryption luks2, but the device contains {name}.*{HEADER_PAGE}"
    ):
        decide_header(Signature(name=name), rule, unfinished=True, is_blank=never_asked)


# --- keys


def test_the_controllers_record_decides_whether_a_volume_is_encrypted() -> None:
    assert passphrases.keys_of(request(), "") is None
    keys = passphrases.keys_of(request(secrets={"passphrase": "k"}), "luks2")
    assert keys == passphrases.Keys(b"k")


def test_a_volume_whose_record_has_lost_its_encryption_is_not_staged_in_plain() -> None:
    with pytest.raises(PreconditionFailed, match=r"PersistentVolume has encryption 'luks2'.*not staged in plain"):
        passphrases.keys_of(request(volume_context={"encryption": "luks2"}, secrets={"passphrase": "k"}), "")


@pytest.mark.parametrize("secrets", [{}, {"passphrase": ""}, {"previousPassphrase": "k"}, {"Passphrase": "k"}])
def test_a_missing_key_is_named_with_the_remedy(secrets: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"secrets\[passphrase\]: must not be empty.*node-stage-secret-name"):
        passphrases.keys_of(request(secrets=secrets), "luks2")


def test_a_previous_key_that_is_the_current_one_is_none() -> None:
    both = {"passphrase": "k", "previousPassphrase": "k"}
    assert passphrases.keys_of(request(secrets=both), "luks2") == passphrases.Keys(b"k")
    assert passphrases.keys_of(request(secrets={**both, "previousPassphrase": "j"}), "luks2") == passphrases.Keys(
        b"k", b"j"
    )


def test_keys_are_not_shown() -> None:
    assert "canary" not in repr(passphrases.Keys(b"canary", b"canary"))


# --- headers


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    with luks_header.new(b"k", uuid=UUID) as header:
        parsed: dict[str, Any] = json.loads(luks_header.metadata(header))
    return parsed


def test_a_header_of_this_driver_is_accepted(metadata: dict[str, Any]) -> None:
    check_header("v", json.dumps(metadata))


def test_the_header_is_accepted_at_each_step_of_a_change_of_the_key() -> None:
    keys = [b"first", b"second", b"third"]
    with luks_header.new(keys[0], uuid=UUID) as header:
        for old, new in itertools.pairwise(keys):
            luks_header.add_key(header, old, new)
            check_header("v", luks_header.metadata(header))
            slot = luks_header.slot_of(header, old)
            assert slot is not None
            luks_header.remove_slot(header, slot, remaining=new)
            check_header("v", luks_header.metadata(header))


def changed(metadata: dict[str, Any], *path: str, value: object) -> str:
    whole = copy.deepcopy(metadata)
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("segments", "0", "encryption"), "cipher_null-ecb", "segments/0/encryption is 'cipher_null-ecb'"),
        (("segments", "0", "offset"), "0", "segments/0/offset is '0'"),
        (("segments", "0", "size"), "512", "segments/0/size is '512'"),
        (("segments", "0", "type"), "linear", "segments/0/type is 'linear'"),
        (("segments", "0", "integrity"), {}, "segments/0/integrity is unknown"),
        (("segments",), {}, "segments/0 is missing"),
        (("keyslots", "0", "area", "encryption"), "cipher_null-ecb", "keyslots/0/area/encryption is 'cipher_null-ecb'"),
        (("keyslots", "0", "kdf", "memory"), 1 << 20, "keyslots/0/kdf/memory is 1048576, not 65536"),
        (("keyslots", "0", "kdf", "time"), 2147483647, "keyslots/0/kdf/time is 2147483647, not 4"),
        (("keyslots", "0", "kdf", "cpus"), 4, "keyslots/0/kdf/cpus is 4, not 1"),
        (
            ("keyslots", "0", "kdf"),
            {"type": "pbkdf2", "hash": "sha256", "iterations": 1 << 32, "salt": ""},
            "keyslots/0/kdf/cpus is missing",
        ),
        (("keyslots", "0", "af", "stripes"), 4001, "keyslots/0/af/stripes is 4001"),
        (("keyslots", "0", "area", "size"), "4096", "keyslots/0/area/size is '4096', not '258048'"),
        (("keyslots", "0", "area", "offset"), "0", "keyslots/0/area/offset is '0'"),
        (("keyslots", "0", "area", "offset"), "x", "its metadata cannot be read"),
        (("keyslots", "0", "area", "offset"), str(16 * 1024**2), "keyslots/0/area/offset is '16777216'"),
        (("digests", "0", "iterations"), 1 << 31, "digests/0/iterations is 2147483648, not 1000"),
        (("digests", "0", "keyslots"), [], r"digests/0/keyslots is \[\]"),
        (("digests", "1"), {"keyslots": []}, "digests/1 is unknown"),
        (("config", "requirements"), {"mandatory": ["online-reencrypt"]}, "config/requirements is unknown"),
        (("tokens", "0"), {"type": "systemd-tpm2"}, "tokens/0 is unknown"),
        (("keyslots",), {}, "it has 0 key slots"),
        (("keyslots",), 7, "its metadata cannot be read"),
        (("more",), 7, "more is unknown"),
    ],
)
def test_a_header_that_this_driver_does_not_write_is_refused(
    metadata: dict[str, Any], path: tuple[str, ...], value: object, why: str
) -> None:
    with pytest.raises(UnsafeToFormat, match=f"volume v: its encryption header is refused: {why}.*{HEADER_PAGE}"):
        check_header("v", changed(metadata, *path, value=value))


# --- the record of a stage


@pytest.mark.root
def test_the_content_of_an_encrypted_volume_is_never_its_device() -> None:
    content = RECORD.content
    assert content
    assert (content.path, content.wwid) == ("/dev/mapper/cinderlib-v", luks.identity_of(UUID, "cinderlib-v"))
    assert replace(RECORD, header="").content is None
    plain = replace(RECORD, connection=replace(RECORD.connection, encryption=""))
    assert plain.content == DISK


def test_the_owner_of_a_device_is_known_without_the_device_mapper() -> None:
    """Also the owner of a mapping."""
    assert RECORD.identities == {DISK.wwid, luks.identity_of(UUID, "cinderlib-v")}
    assert replace(RECORD, header="").identities == {DISK.wwid}
    assert replace(RECORD, connection=replace(RECORD.connection, encryption="")).identities == {DISK.wwid}
    assert replace(RECORD, device=None, header="").identities == frozenset()


def test_a_record_keeps_the_header_and_earlier_records_have_none() -> None:
    vault = Sealer()
    assert decode(encode(RECORD, vault), vault) == RECORD
    plain = replace(RECORD, header="", connection=replace(RECORD.connection, encryption=""))
    assert b"header" not in encode(plain, vault)
    assert decode(encode(plain, vault), vault) == plain


def test_any_volume_id_gives_a_mapping_name_of_its_own_within_the_kernels_limits() -> None:
    names = [mapping_name(id) for id in ("v", "../v", "v/", "ü", "x" * 64, "x" * 65, "sha256-" + "0" * 64)]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(luks.identity_of(UUID, name)) - len("dm:") < 128
        assert "/" not in name


@pytest.mark.parametrize(("known", "told"), [("luks2", ""), ("", "luks2")])
def test_a_known_volume_is_refused_when_the_controller_tells_another_encryption(known: str, told: str) -> None:
    record = replace(RECORD, connection=replace(RECORD.connection, encryption=known))
    require_same_encryption(record, record.connection)
    with pytest.raises(PreconditionFailed, match=r"volume v: this node knows it with encryption .*older version"):
        require_same_encryption(record, replace(RECORD.connection, encryption=told))


# --- on a device, without the kernel's device mapper


@pytest.mark.root
@pytest.mark.parametrize("capability", [EXT4, BLOCK], ids=["mount", "block"])
def test_an_encrypted_volume_is_not_used_in_plain_when_its_mapping_cannot_be_opened(
    node: Node, capability: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = tmp_path / "bin" / "cryptsetup"
    failing.parent.mkdir()
    failing.write_text("#!/bin/sh\necho this kernel has no dm-crypt >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{failing.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    volume = node.volume(encryption="luks2", secrets={"passphrase": "k"})
    with pytest.raises(Exception, match="no dm-crypt"):
        node.stage(volume, capability)
    with pytest.raises(PreconditionFailed, match="is not staged on this node"):
        node.publish(volume, capability)
    assert not any(volume.file.read_bytes())
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.root
def test_a_volume_in_plain_with_a_header_is_raw_data_of_its_user_or_refused(node: Node) -> None:
    volume = node.volume()
    encrypt(str(volume.file), b"k", uuid=UUID)
    before = volume.file.read_bytes()
    with pytest.raises(
        UnsafeToFormat, match=f"contains luks2 .* not created with the parameter encryption.*{HEADER_PAGE}"
    ):
        node.stage(volume, EXT4)
    node.stage(volume, BLOCK)
    node.unstage(volume)
    assert volume.file.read_bytes() == before


@pytest.mark.root
def test_a_staged_volume_is_not_staged_in_plain_after_a_downgrade_of_the_controller(node: Node) -> None:
    volume = node.volume(encryption="luks2", secrets={"passphrase": "k"})
    plain = replace(volume, encryption="", secrets={})
    node.stage(plain, BLOCK)
    with pytest.raises(PreconditionFailed, match="knows it with encryption none, but the controller now says luks2"):
        node.stage(volume, BLOCK)
    with pytest.raises(PreconditionFailed, match="knows it with encryption none"):
        node.stage(replace(volume, attachment="another@2"), BLOCK)
    node.unstage(plain)


@pytest.mark.root
@pytest.mark.parametrize("capability", [EXT4, BLOCK], ids=["mount", "block"])
def test_a_device_whose_size_is_not_a_multiple_of_the_sector_is_refused(node: Node, capability: Any) -> None:
    volume = node.volume(encryption="luks2", secrets={"passphrase": "k"})
    volume.resize(SIZE + 512)
    with pytest.raises(
        PreconditionFailed, match=rf"its device has {SIZE + 512} bytes, but encryption needs a multiple of 4096"
    ):
        node.stage(volume, capability)
    assert not any(volume.file.read_bytes())
    assert_nothing_left(node.base)
