"""Content that our own table does not know, but libblkid does: it is neither formatted over nor erased as the remains of a mkfs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import UnsafeToFormat
from csi_cinderlib.host import devices, filesystems, libblkid
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node.stage_record import State
from tests.component.node.bed import MIB, SIZE, Node, Volume
from tests.component.node.test_crashes import run

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


def test_the_intent_of_mkfs_is_stored_after_the_last_check(node: Node) -> None:
    """The next start of the process would take the content of the device for the remains of mkfs."""
    assert run(node.base, "stage", "ext4", "stage.format-intent") == -signal.SIGKILL
    record = node.records.find("vol")
    assert record
    assert record.state is State.FORMATTING
    node.unstage(node.volume())


@pytest.mark.parametrize("again", ["stage", "unstage"])
def test_what_another_program_wrote_after_an_interrupted_mkfs_is_not_erased(
    node: Node, disk: Volume, again: str
) -> None:
    node.stage(disk)
    record = node.records.find("vol")
    assert record
    node.unstage(disk)
    with disk.file.open("r+b") as file:
        file.write(bytes(MIB))
    devices.flush(str(disk.file))
    fill(disk)
    node.records.save(replace(record, state=State.FORMATTING))
    if again == "stage":
        with pytest.raises(UnsafeToFormat, match="contains atari, according to libblkid"):
            node.stage(disk)
    node.unstage(disk)
    assert holds_content(disk)
    assert node.records.find("vol") is None


@pytest.mark.parametrize("then", ["stage", "unstage"])
def test_a_refusal_ends_the_right_to_erase(node: Node, disk: Volume, then: str) -> None:
    """The table that led to the refusal is gone the next time, for example damaged or repaired."""
    node.stage(disk)
    record = node.records.find("vol")
    assert record
    node.unstage(disk)
    with disk.file.open("r+b") as file:
        file.write(bytes(MIB))
    devices.flush(str(disk.file))
    fill(disk)
    node.records.save(replace(record, state=State.FORMATTING))
    with pytest.raises(UnsafeToFormat):
        node.stage(disk)
    with disk.file.open("r+b") as file:
        file.seek(0x1C2)
        file.write(bytes(len(TABLE)))
    devices.flush(str(disk.file))
    if then == "stage":
        with pytest.raises(UnsafeToFormat):
            node.stage(disk)
    node.unstage(disk)
    with disk.file.open("rb") as file:
        assert os.pread(file.fileno(), len(CONTENT), PLACE) == CONTENT


@pytest.mark.parametrize("rule", [Formatting.UNKNOWN, Formatting.FORBIDDEN])
def test_other_rules_keep_the_content_as_well(node: Node, disk: Volume, rule: Formatting) -> None:
    fill(disk)
    with pytest.raises(UnsafeToFormat):
        node.stage(replace(disk, formatting=rule))
    assert holds_content(disk)
