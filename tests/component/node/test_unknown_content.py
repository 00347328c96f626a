"""Content that our own table does not know, but libblkid does: it is neither formatted over nor erased as the remains of a mkfs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import UnsafeToFormat
from csi_cinderlib.host import devices, disposable, filesystems, kernel, libblkid, unfinished
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node.stage_record import State
from tests.component.node.bed import BLOCK, EXT4, MIB, SIZE, Node, Volume

pytestmark = pytest.mark.root
TABLE = (65536).to_bytes(4, "big") + b"\x01ABC" + (2).to_bytes(4, "big") + (1000).to_bytes(4, "big")
"""An Atari partition of no usual type, at 0x1C2. libblkid looks for it on devices with sectors of 512 bytes only."""
CONTENT = b"data in the partition"
PLACE = 200 * MIB


@pytest.fixture
def disk(node: Node) -> Iterator[Volume]:
    """A volume with sectors of 512 bytes."""
    file = node.base / "disk"
    with file.open("wb") as made:
        made.truncate(SIZE)
    device = devices.attach_file(str(file), block_size=512)
    yield Volume(id="vol", file=Path(device), size=SIZE)
    devices.detach_file(device, expected=devices.identity(device))


def fill(volume: Volume) -> None:
    with volume.file.open("r+b") as file:
        for place, content in ((0x1C2, TABLE), (PLACE, CONTENT)):
            file.seek(place)
            file.write(content)
    devices.flush(str(volume.file))
    assert filesystems.probe(str(volume.file)) is None
    assert libblkid.known_as(str(volume.file)) == "atari"


def holds_content(volume: Volume) -> bool:
    with volume.file.open("rb") as file:
        start = os.pread(file.fileno(), 0x1C2 + len(TABLE), 0)
        return start.endswith(TABLE) and os.pread(file.fileno(), len(CONTENT), PLACE) == CONTENT


@pytest.mark.parametrize("times", [1, 2])
def test_a_refused_device_is_not_erased(node: Node, disk: Volume, times: int) -> None:
    fill(disk)
    for _ in range(times):
        with pytest.raises(UnsafeToFormat, match="contains atari, according to libblkid"):
            node.stage(disk)
        assert holds_content(disk)
    assert node.records.find("vol") is None
    node.unstage(disk)
    assert holds_content(disk)


def test_a_refused_device_is_not_marked(node: Node, disk: Volume) -> None:
    fill(disk)
    with pytest.raises(UnsafeToFormat):
        node.stage(disk)
    assert not node.records.formatted.holds(disk.id, disk.attachment)


def mark(volume: Volume) -> None:
    """What a node leaves that dies before mkfs has written anything."""
    unfinished.mark(disposable.Disposable(str(volume.file)), volume.id, volume.attachment)


@pytest.mark.parametrize("attachment", ["of-this-node@1", "of-the-other@1"])
def test_what_another_program_wrote_after_an_interrupted_mkfs_is_not_erased(
    node: Node, disk: Volume, attachment: str
) -> None:
    mark(disk)
    fill(disk)
    with pytest.raises(UnsafeToFormat, match="contains atari, according to libblkid"):
        node.stage(replace(disk, attachment=attachment, formatting=Formatting.UNKNOWN))
    node.unstage(disk)
    assert holds_content(disk)
    assert node.records.find("vol") is None


def test_a_refusal_ends_the_right_to_erase(node: Node, disk: Volume) -> None:
    """The table that led to the refusal is gone the next time, for example damaged or repaired."""
    mark(disk)
    fill(disk)
    with pytest.raises(UnsafeToFormat):
        node.stage(disk)
    with disk.file.open("r+b") as file:
        file.seek(0x1C2)
        file.write(bytes(len(TABLE)))
    devices.flush(str(disk.file))
    with pytest.raises(UnsafeToFormat):
        node.stage(replace(disk, formatting=Formatting.UNKNOWN))
    with disk.file.open("rb") as file:
        assert os.pread(file.fileno(), len(CONTENT), PLACE) == CONTENT


@pytest.mark.parametrize("encryption", ["", "luks2"])
def test_a_refusal_ends_the_right_also_if_the_mark_cannot_be_removed(node: Node, disk: Volume, encryption: str) -> None:
    """The other program holds the device, as the host's LVM does with what it knows."""
    disk = replace(disk, encryption=encryption, secrets={"passphrase": "k"})
    mark(disk)
    fill(disk)
    with kernel.opened(str(disk.file), os.O_RDONLY | os.O_EXCL), pytest.raises(UnsafeToFormat, match="contains atari"):
        node.stage(disk)
    with disk.file.open("r+b") as file:
        file.seek(0x1C2)
        file.write(bytes(len(TABLE)))
    devices.flush(str(disk.file))
    with pytest.raises(UnsafeToFormat, match="the volume must not be formatted"):
        node.stage(disk)
    with disk.file.open("rb") as file:
        assert os.pread(file.fileno(), len(CONTENT), PLACE) == CONTENT
    node.unstage(disk)


@pytest.mark.parametrize("rule", [Formatting.UNKNOWN, Formatting.FORBIDDEN])
def test_other_rules_keep_the_content_as_well(node: Node, disk: Volume, rule: Formatting) -> None:
    fill(disk)
    with pytest.raises(UnsafeToFormat):
        node.stage(replace(disk, formatting=rule))
    assert holds_content(disk)


@pytest.mark.parametrize("rule", [Formatting.NEVER_FORMATTED, Formatting.UNKNOWN])
@pytest.mark.parametrize("capability", [EXT4, BLOCK], ids=["mount", "block"])
def test_no_encryption_is_written_over_it(node: Node, disk: Volume, rule: Formatting, capability: Capability) -> None:
    fill(disk)
    encrypted = replace(disk, formatting=rule, encryption="luks2", secrets={"passphrase": "k"})
    for _ in range(2):
        with pytest.raises(UnsafeToFormat):
            node.stage(encrypted, capability)
        assert holds_content(disk)
    assert not node.records.formatted.holds(disk.id, disk.attachment)
    node.unstage(encrypted)
    assert holds_content(disk)


def test_an_interrupted_encryption_does_not_erase_what_another_program_has_written(node: Node, disk: Volume) -> None:
    encrypted = replace(disk, encryption="luks2", secrets={"passphrase": "k"})
    fill(disk)
    plain = node.volume("plain")
    node.stage(plain)
    record = node.records.find("plain")
    assert record
    assert record.device
    device = devices.identity(str(disk.file))
    node.unstage(plain)
    node.records.save(
        replace(
            record,
            volume_id="vol",
            staging_path=node.staging_path(encrypted),
            connection=encrypted.connection,
            state=State.CONNECTED,
            header="1b4e28ba-2fa1-4d3b-a3f5-8a2c3d4e5f60",
            fs_type="",
            device=replace(record.device, path=str(disk.file), wwid=device, file=""),
        )
    )
    node.unstage(encrypted)
    assert holds_content(disk)
    assert node.records.find("vol") is None
