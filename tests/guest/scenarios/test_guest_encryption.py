"""Encrypted volumes on a real dm-crypt: never in plain, never without their key, and none of their data lost."""

from __future__ import annotations

import mmap
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, PreconditionFailed, UnsafeToFormat, WrongKey
from csi_cinderlib.host import devices, luks
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.model.encryption import HEADER
from tests.component.host.formats import encrypt
from tests.component.node.bed import BLOCK, MIB, SIZE, Node, Volume, mount_capability
from tests.guest.inside import faults
from tests.guest.inside.encrypted import KEY, OTHER, encrypted, mappings, opens
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.shell import modprobe, run

pytestmark = pytest.mark.guest("luks")
CANARY = b"in plain on no disk"
EXT4 = mount_capability("ext4")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    modprobe("dm_crypt", "loop")
    before = Footprint.now()
    node = Node(tmp_path)
    yield node
    for record in node.records.all().records:
        for item in record.publications:
            node.publishing.unpublish(record.volume_id, item.target_path)
        node.staging.unstage(record.volume_id, record.staging_path)
    assert Footprint.now().left_since(before) == {}
    shutil.rmtree(tmp_path)


def write(folder: str, data: bytes = CANARY) -> None:
    with Path(folder, "file").open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read(folder: str) -> bytes:
    return Path(folder, "file").read_bytes()


def start(device: str) -> bytes:
    with Path(device).open("rb") as file:
        return file.read(len(CANARY))


def digest(volume: Volume) -> str:
    """Of the whole file, which need not fit into the guest's memory twice."""
    return run("sha256sum", volume.file)


def holds(volume: Volume, data: bytes) -> bool:
    with volume.file.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        return content.find(data) >= 0


def room(folder: str) -> int:
    """The size of the file system, in bytes."""
    size = os.statvfs(folder)
    return size.f_blocks * size.f_frsize


def later(volume: Volume) -> Volume:
    """The volume as the controller publishes it again, after it has been in use."""
    return replace(volume, formatting=Formatting.UNKNOWN)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_mounted_volume_is_encrypted_and_keeps_its_data(node: Node, fs_type: str) -> None:
    volume, capability = encrypted(node), mount_capability(fs_type)
    staged = node.stage(volume, capability)
    write(node.publish(volume, capability))
    assert read(staged) == CANARY
    node.unpublish(volume)
    node.unstage(volume)
    assert mappings() == []
    assert not holds(volume, CANARY)
    with volume.file.open("rb") as file:
        assert file.read(6) == b"LUKS\xba\xbe"
    assert read(node.stage(later(volume), capability)) == CANARY
    node.stage(later(volume), capability)  # repeated
    node.unstage(volume)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_raw_device_is_encrypted_and_keeps_its_data(node: Node, read_only: bool) -> None:
    volume = encrypted(node)
    node.stage(volume, BLOCK)
    target = node.publish(volume, BLOCK)
    assert devices.size(target) == SIZE - HEADER
    with Path(target).open("r+b") as device:
        assert device.read(4 * MIB) == bytes(4 * MIB)
        device.seek(8 * MIB)
        device.write(CANARY)
    node.unpublish(volume)
    node.unstage(volume)
    assert not holds(volume, CANARY)
    node.stage(later(volume), BLOCK)
    with Path(node.publish(later(volume), BLOCK, read_only=read_only)).open("rb") as device:
        device.seek(8 * MIB)
        assert device.read(len(CANARY)) == CANARY
    node.unpublish(volume)
    node.unstage(volume)


def test_a_wrong_key_changes_nothing(node: Node) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    node.unstage(volume)
    before = digest(volume)
    with pytest.raises(WrongKey, match=r"volume vol: secrets\[passphrase\] does not open its encryption header"):
        node.stage(replace(later(volume), secrets={"passphrase": OTHER, "previousPassphrase": "no better"}))
    assert mappings() == []
    assert node.records.find("vol") is None
    assert digest(volume) == before
    assert read(node.stage(later(volume))) == CANARY
    with pytest.raises(WrongKey):
        node.stage(replace(later(volume), secrets={"passphrase": OTHER}))
    assert read(node.staging_path(volume)) == CANARY
    node.unstage(volume)


@pytest.mark.parametrize("capability", [EXT4, BLOCK], ids=["mount", "block"])
def test_a_volume_that_lost_its_header_is_never_given_a_new_one(node: Node, capability: object) -> None:
    volume = encrypted(node)
    node.stage(volume, capability)  # type: ignore[arg-type]  # a parameter
    node.unstage(volume)
    with volume.file.open("r+b") as file:
        file.write(bytes(5 * MIB))
    before = digest(volume)
    for again in (volume, later(volume), replace(later(volume), attachment="another@2")):
        with pytest.raises(UnsafeToFormat, match="no encryption header was found"):
            node.stage(again, capability)  # type: ignore[arg-type]  # a parameter
    assert digest(volume) == before


@pytest.mark.parametrize("rule", list(Formatting))
def test_an_encrypted_volume_with_a_file_system_in_plain_is_refused(node: Node, rule: Formatting) -> None:
    volume = encrypted(node, formatting=rule)
    run("mkfs.ext4", "-q", str(volume.file))
    before = digest(volume)
    for capability in (EXT4, BLOCK):
        with pytest.raises(UnsafeToFormat, match=r"created with encryption luks2, but the device contains ext4"):
            node.stage(volume, capability)
    assert digest(volume) == before


def test_the_key_is_changed_by_a_stage_with_both_keys(node: Node) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    node.stage(encrypted(node, key=OTHER, previous=KEY))  # while it is mounted
    assert (opens(volume, KEY), opens(volume, OTHER)) == (False, True)
    node.unstage(volume)
    third = encrypted(node, key="third", previous=OTHER, formatting=Formatting.UNKNOWN)
    assert read(node.stage(third)) == CANARY
    node.stage(third)  # the Secret still has both
    assert (opens(volume, OTHER), opens(volume, "third")) == (False, True)
    node.unstage(volume)


def test_a_copy_needs_the_key_of_its_source_and_can_get_its_own(node: Node) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    node.unstage(volume)
    copy = encrypted(node, "copy", formatting=Formatting.FORBIDDEN)
    run("cp", "--sparse=always", volume.file, copy.file)
    write(node.stage(later(volume)), b"of the source")
    own = replace(copy, secrets={"passphrase": OTHER})
    with pytest.raises(WrongKey, match="A copy has the key of its source, which may be given as previousPassphrase"):
        node.stage(own)
    assert read(node.stage(replace(own, secrets={"passphrase": OTHER, "previousPassphrase": KEY}))) == CANARY
    assert len(mappings()) == 2, "both have the UUID of one header"
    assert read(node.staging_path(volume)) == b"of the source"
    node.unstage(copy)
    node.unstage(volume)
    assert (opens(copy, KEY), opens(copy, OTHER), opens(volume, KEY)) == (False, True, True)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_mounted_volume_grows_without_its_key(node: Node, fs_type: str) -> None:
    volume, capability = encrypted(node), mount_capability(fs_type)
    staged = node.stage(volume, capability)
    write(staged)
    before = room(staged)
    volume.resize(SIZE + 64 * MIB)
    assert node.expand(volume, staged, SIZE + 64 * MIB) == SIZE + 64 * MIB
    assert devices.size(luks.path_of("cinderlib-vol")) == SIZE + 64 * MIB - HEADER
    assert room(staged) > before + 48 * MIB
    node.unstage(volume)
    volume.resize(SIZE + 128 * MIB)
    assert room(node.stage(later(volume), capability)) > before + 96 * MIB
    assert read(staged) == CANARY
    node.unstage(volume)


def test_a_raw_device_grows_while_it_is_published(node: Node) -> None:
    volume = encrypted(node)
    node.stage(volume, BLOCK)
    target = node.publish(volume, BLOCK)
    volume.resize(SIZE + 64 * MIB)
    node.expand(volume, target, SIZE + 64 * MIB)
    assert devices.size(target) == SIZE + 64 * MIB - HEADER
    node.unpublish(volume)
    node.unstage(volume)


def test_a_mapping_in_use_is_kept_with_its_record_until_it_is_free(node: Node) -> None:
    volume = encrypted(node)
    node.stage(volume, BLOCK)
    with Path(luks.path_of("cinderlib-vol")).open("r+b", buffering=0) as device:
        device.write(CANARY)
        with pytest.raises(HostError, match="cannot remove the mapping cinderlib-vol"):
            node.unstage(volume)
        assert mappings() == ["cinderlib-vol"]
        assert node.records.find("vol")
    node.unstage(volume)
    node.stage(later(volume), BLOCK)
    assert start(luks.path_of("cinderlib-vol")) == CANARY
    node.unstage(volume)


def test_a_reader_opens_it_read_only(node: Node) -> None:
    volume = encrypted(node)
    write(node.stage(volume))
    node.unstage(volume)
    before = digest(volume)
    reader = replace(
        volume,
        read_only=True,
        formatting=Formatting.FORBIDDEN,
        secrets={"passphrase": OTHER, "previousPassphrase": KEY},
    )
    assert read(node.stage(reader)) == CANARY
    assert devices.is_read_only(luks.path_of("cinderlib-vol"))
    node.unstage(reader)
    assert digest(volume) == before, "its key was not changed either"


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_a_reader_sees_every_fsynced_file_of_a_snapshot_in_use(node: Node, fs_type: str) -> None:
    volume = encrypted(node)
    reader = mount_capability(fs_type, mode=AccessMode.MULTI_NODE_READER_ONLY)
    write(node.stage(volume, mount_capability(fs_type)))
    restored = encrypted(node, "restored", formatting=Formatting.FORBIDDEN, read_only=True)
    run("cp", "--sparse=always", volume.file, restored.file)
    before = digest(restored)
    try:
        node.stage(restored, reader)
        node.unstage(restored)
    except PreconditionFailed as error:
        assert "its journal cannot be replayed: the volume is attached to other nodes" in str(error)
    assert digest(restored) == before
    alone = replace(restored, alone=True)
    assert read(node.stage(alone, reader)) == CANARY
    assert devices.is_read_only(luks.path_of("cinderlib-restored"))
    node.unstage(alone)
    node.unstage(volume)


def test_a_failing_disk_loses_no_write_silently_and_is_let_go_when_it_is_gone(node: Node, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(SIZE)
    loop = run("losetup", "--find", "--show", disk).strip()
    with faults.faulty("faulty", loop) as device:
        volume = Volume(id="vol", file=Path(device.path), encryption="luks2", secrets={"passphrase": KEY}, size=SIZE)
        node.stage(volume, BLOCK)
        mapping = luks.path_of("cinderlib-vol")
        fd = os.open(mapping, os.O_RDWR)
        os.pwrite(fd, CANARY, 0)
        device.fail_writes()
        with pytest.raises(HostError):  # in use, and not written
            node.unstage(volume)
        assert mappings() == ["cinderlib-vol"]
        device.heal()
        os.pwrite(fd, CANARY, 0)
        os.close(fd)
        node.unstage(volume)
        assert mappings() == []
        node.stage(later(volume), BLOCK)
        assert start(mapping) == CANARY
        node.unstage(volume)
    run("losetup", "--detach", loop)


@pytest.mark.parametrize("rule", list(Formatting))
def test_a_header_of_another_volume_is_not_opened(node: Node, rule: Formatting) -> None:
    """As that of a deleted volume, which the storage did not erase."""
    volume = encrypted(node, formatting=rule)
    encrypt(str(volume.file), KEY.encode(), uuid="1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60")
    before = digest(volume)
    for capability in (EXT4, BLOCK):
        with pytest.raises(UnsafeToFormat, match="has the encryption header of another volume"):
            node.stage(volume, capability)
    assert digest(volume) == before


def test_a_raw_device_is_not_given_a_file_system_later(node: Node) -> None:
    volume = encrypted(node)
    node.stage(volume, BLOCK)
    node.unstage(volume)
    with pytest.raises(UnsafeToFormat, match=r"no file system in its encryption\. It was encrypted as a raw device"):
        node.stage(later(volume))
