from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, InvalidRequest, UnsafeToFormat
from csi_cinderlib.host import blankness, commands, devices, filesystems, kernel, libblkid, mkfs, mounts
from csi_cinderlib.host.signatures import SPAN, TAIL
from tests.support import disks

pytestmark = pytest.mark.root
MIB = 1024 * 1024
Loop = Callable[..., str]
every_file_system = pytest.mark.parametrize("fs_type", filesystems.SUPPORTED)


@every_file_system
def test_a_new_file_system_is_recognised_and_mounts(fs_type: str, loop: Loop, target: str) -> None:
    device = loop(320)
    assert blankness.is_blank(device)
    assert filesystems.probe(device) is None
    made = mkfs.plan(device, fs_type).carry_out()
    assert made.name == fs_type
    assert uuid.UUID(made.uuid)
    assert 300 * MIB < made.size <= 320 * MIB
    assert not blankness.is_blank(device)
    assert not filesystems.needs_growth(device)
    mounts.mount(device, target, fs_type, filesystems.mount_options(fs_type, device))
    (Path(target) / "file").write_text("data")
    assert filesystems.probe(device)


@every_file_system
def test_nothing_is_formatted_that_carries_something(fs_type: str, loop: Loop) -> None:
    device = loop(320)
    before = mkfs.plan(device, "ext4").carry_out()
    with pytest.raises(UnsafeToFormat, match="contains ext4"):
        mkfs.plan(device, fs_type).carry_out()
    assert filesystems.probe(device) == before


@every_file_system
def test_a_device_that_cannot_be_read_is_an_error_and_is_never_formatted(
    fs_type: str, loop: Loop, tmp_path: Path
) -> None:
    device = loop(320)
    os.truncate(tmp_path / "disk.img", 160 * MIB)  # what lies beyond is an I/O error now
    for look in (filesystems.probe, blankness.is_blank):
        with pytest.raises(HostError, match=f"cannot read {device}: "):
            look(device)
    with pytest.raises(HostError, match="Input/output error"):
        mkfs.plan(device, fs_type).carry_out()
    assert not (tmp_path / "disk.img").read_bytes().strip(b"\0")


def test_a_device_without_a_medium_is_an_error(loop: Loop) -> None:
    device = loop(8)
    devices.detach_file(device, expected=devices.identity(device))
    with pytest.raises(HostError, match=f"cannot read {device}"):
        filesystems.probe(device)


def test_a_regular_file_and_a_missing_device_are_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4096))
    with pytest.raises(HostError, match="not a block device"):
        filesystems.probe(str(tmp_path / "file"))
    with pytest.raises(HostError, match="No such file"):
        filesystems.probe(str(tmp_path / "missing"))


def test_one_byte_at_the_very_end_is_not_zeros(loop: Loop) -> None:
    device = loop(8)
    with Path(device).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
    devices.flush(device)
    assert not blankness.is_blank(device)
    assert filesystems.probe(device) is None


def test_what_another_opener_wrote_is_seen_before_it_is_flushed(loop: Loop) -> None:
    device = loop(8)
    with Path(device).open("r+b", buffering=0) as file:
        file.write(b"XFSB" + bytes(4092))
        found = filesystems.probe(device)
    assert found
    assert found.name == "xfs"


def test_mkfs_options_arrive(loop: Loop) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4", ("-L", "named", "-m5", "-O", "^has_journal")).carry_out()
    found = filesystems.probe(device)
    assert found
    assert found.label == "named"


@pytest.mark.parametrize(
    ("fs_type", "options"),
    [
        ("ext4", ("-F",)),
        ("ext4", ("-qF",)),
        ("ext4", ("-d", "/etc")),
        ("ext4", ("-J", "size=4,device=/dev/sda")),
        ("ext4", ("/dev/sda",)),
        ("ext4", ("-L",)),
        ("xfs", ("-f",)),
        ("xfs", ("-d", "/root")),
        ("xfs", ("-p", "/etc/passwd")),
        ("xfs", ("-l", "logdev=/dev/sda")),
        ("btrfs", ("-U", "0f1c1b5e-4d5b-4c0e-9a51-0d3c4fbb5d0e")),
        ("btrfs", ("--uuid=0f1c1b5e-4d5b-4c0e-9a51-0d3c4fbb5d0e",)),
        ("btrfs", ("--force",)),
        ("btrfs", ("--forc",)),
        ("btrfs", ("--rootdir", "/etc")),
        ("ext4", ("-b", "1024", "--", "/dev/sda")),
    ],
)
def test_options_that_force_or_name_files_are_refused(fs_type: str, options: tuple[str, ...], loop: Loop) -> None:
    device = loop(8)
    with pytest.raises(InvalidRequest, match=r"parameters\.mkfsOptions"):
        mkfs.plan(device, fs_type, options).carry_out()
    assert blankness.is_blank(device)


def test_an_unknown_file_system_is_named_with_the_known_ones(loop: Loop) -> None:
    with pytest.raises(InvalidRequest, match="unsupported file system 'ntfs'; supported: btrfs, ext4, xfs"):
        mkfs.plan(loop(8), "ntfs").carry_out()


@every_file_system
def test_what_libblkid_alone_knows_is_not_formatted(fs_type: str, loop: Loop) -> None:
    """An Atari partition of no usual type: libblkid wants three letters only."""
    device = loop(320, block_size=512)
    with Path(device).open("r+b") as file:
        file.seek(0x1C2)
        file.write((65536).to_bytes(4, "big") + b"\x01ABC" + (2).to_bytes(4, "big") + (1000).to_bytes(4, "big"))
    devices.flush(device)
    assert filesystems.probe(device) is None
    with pytest.raises(UnsafeToFormat, match=rf"{device} contains atari, according to libblkid; it was not formatted"):
        mkfs.plan(device, fs_type).carry_out()


@pytest.fixture
def without_libblkid(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Asking it is an error."""
    libblkid._library.cache_clear()
    monkeypatch.setattr(libblkid, "_LIBRARY", "libmissing.so.1")
    yield
    libblkid._library.cache_clear()


@pytest.mark.usefixtures("without_libblkid")
def test_libblkid_is_not_asked_about_zeros(loop: Loop) -> None:
    assert mkfs.plan(loop(320), "ext4").carry_out().name == "ext4"


@pytest.mark.usefixtures("without_libblkid")
@pytest.mark.parametrize(
    "place", [0, 1, SPAN // 2, SPAN - 1, 64 * MIB - TAIL, 64 * MIB - TAIL // 2, 64 * MIB - 1], ids=lambda at: f"at {at}"
)
def test_libblkid_is_asked_when_a_single_byte_at_an_end_is_not_zero(place: int, loop: Loop) -> None:
    device = loop(64)
    with Path(device).open("r+b") as file:
        file.seek(place)
        file.write(b"\x01")
    devices.flush(device)
    with pytest.raises(HostError, match=r"cannot load libmissing\.so\.1"):
        mkfs.plan(device, "ext4").carry_out()


@pytest.mark.usefixtures("without_libblkid")
@pytest.mark.parametrize("size", [SPAN + TAIL - 4096, SPAN, MIB])
def test_libblkid_is_asked_about_a_device_whose_ends_overlap(size: int, loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    os.truncate(tmp_path / "disk.img", size)
    devices.refresh_size(device)
    with pytest.raises(HostError, match=r"cannot load libmissing\.so\.1"):
        mkfs.plan(device, "ext4").carry_out()


def test_mkfs_that_fails_shows_why(loop: Loop) -> None:
    with pytest.raises(HostError, match=r"^mkfs.xfs on /dev/loop\d+ failed: [^\n]+$"):
        mkfs.plan(loop(8), "xfs").carry_out()


@pytest.mark.parametrize("fs_type", ["xfs", "btrfs"])
def test_a_mounted_file_system_grows_with_its_device(fs_type: str, loop: Loop, target: str, tmp_path: Path) -> None:
    device = loop(320)
    mkfs.plan(device, fs_type).carry_out()
    os.truncate(tmp_path / "disk.img", 640 * MIB)
    devices.refresh_size(device)
    assert filesystems.needs_growth(device)
    mounts.mount(device, target, fs_type)
    before = filesystems.file_system_size(target)
    filesystems.grow(device, target)
    filesystems.grow(device, target)
    assert filesystems.file_system_size(target) >= before + 300 * MIB
    mounts.unmount(target)
    assert not filesystems.needs_growth(device)


def test_an_unmounted_ext4_grows_and_keeps_its_files(loop: Loop, target: str, tmp_path: Path) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    (Path(target) / "file").write_text("data")
    mounts.unmount(target)
    commands.run(["debugfs", "-w", "-R", "ssv lastcheck 20200101", device], timeout=60)  # resize2fs wants a new check
    devices.flush(device)
    os.truncate(tmp_path / "disk.img", 640 * MIB)
    devices.refresh_size(device)
    assert filesystems.needs_growth(device)
    filesystems.grow_unmounted(device, str(tmp_path / "undo"))
    assert not filesystems.needs_growth(device)
    mounts.mount(device, target, "ext4")
    assert (Path(target) / "file").read_text() == "data"
    assert filesystems.file_system_size(target) > 600 * MIB


def test_a_mounted_ext4_grows_or_names_the_capability_that_lacks(loop: Loop, target: str, tmp_path: Path) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    os.truncate(tmp_path / "disk.img", 128 * MIB)
    devices.refresh_size(device)
    try:
        filesystems.grow(device, target)
    except HostError as error:
        assert "CAP_SYS_RESOURCE" in str(error)  # this host decides which of the two it is
    else:
        assert filesystems.file_system_size(target) > 100 * MIB


def test_growing_what_is_no_file_system_is_an_error(loop: Loop) -> None:
    with pytest.raises(HostError, match="no known file system"):
        filesystems.grow(loop(8), "/missing")


def test_an_ext4_with_errors_is_named_as_the_reason_why_it_does_not_grow(
    loop: Loop, target: str, tmp_path: Path
) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("test")
    os.truncate(tmp_path / "disk.img", 128 * MIB)
    devices.refresh_size(device)
    with pytest.raises(
        HostError, match="the file system has errors; it is checked and grown when the volume is staged again"
    ):
        filesystems.grow(device, target)


def test_an_xfs_and_its_clone_are_mounted_side_by_side(loop: Loop, target: str, tmp_path: Path) -> None:
    device = loop(320)
    first = mkfs.plan(device, "xfs").carry_out()
    commands.run(["cp", str(tmp_path / "disk.img"), str(tmp_path / "clone.img")], timeout=60)
    clone = loop(320, "clone.img")
    other = tmp_path / "other"
    other.mkdir()
    options = filesystems.mount_options("xfs", device)
    mounts.mount(device, target, "xfs", options)
    mounts.mount(clone, str(other), "xfs", options)
    copied = filesystems.probe(clone)
    assert copied
    assert copied.uuid == first.uuid
    mounts.unmount(str(other))


@every_file_system
def test_a_clean_file_system_is_mounted_from_a_read_only_device(fs_type: str, loop: Loop, target: str) -> None:
    device = loop(320)
    mkfs.plan(device, fs_type).carry_out()
    devices.set_read_only(device, True)
    mounts.mount(device, target, fs_type, (*filesystems.mount_options(fs_type, device), "ro"))
    found = mounts.find(target)
    assert found
    assert found.read_only


def test_an_ext4_with_noted_errors_is_mended_before_it_is_mounted(loop: Loop) -> None:
    device = loop(64)
    clean = mkfs.plan(device, "ext4").carry_out()
    assert not clean.dirty
    filesystems.check(device, clean)
    set_state(device, 0x2)
    noted = filesystems.probe(device)
    assert noted
    assert noted.dirty
    filesystems.check(device, noted)
    mended = filesystems.probe(device)
    assert mended
    assert not mended.dirty


def test_an_ext4_that_needs_a_decision_is_left_to_a_person(loop: Loop) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    set_state(device, 0x2)
    with Path(device).open("r+b") as file:  # the root directory's inode is gone: e2fsck -p gives up
        file.seek(0)
        data = bytearray(file.read(4 * MIB))
        for offset in range(4096, len(data), 4096):
            data[offset : offset + 4096] = b"\xff" * 4096
        file.seek(0)
        file.write(data)
    devices.flush(device)
    found = filesystems.probe(device)
    assert found
    with pytest.raises(HostError, match=r"docs/how-to/recover-a-volume\.md#a-file-system-with-errors"):
        filesystems.check(device, found)


def set_state(device: str, state: int) -> None:
    """Set s_state by debugfs, which keeps the superblock's checksum right."""
    commands.run(["debugfs", "-w", "-R", f"ssv state {state}", device], timeout=60)
    devices.flush(device)


@pytest.mark.parametrize(("fs_type", "units"), [("ext4", ["bytes", "inodes"]), ("btrfs", ["bytes"])])
def test_usage_counts_bytes_and_inodes(fs_type: str, units: list[str], loop: Loop, target: str) -> None:
    device = loop(320)
    mkfs.plan(device, fs_type).carry_out()
    mounts.mount(device, target, fs_type)
    (Path(target) / "file").write_bytes(os.urandom(16 * MIB))
    disks.sync(target)
    usage = filesystems.usage(target)
    assert [item.unit for item in usage] == units
    assert usage[0].used >= 16 * MIB
    assert usage[0].used + usage[0].available <= usage[0].total


def test_usage_of_a_missing_path_is_an_error() -> None:
    with pytest.raises(HostError, match="cannot measure /missing"):
        filesystems.usage("/missing")


def test_growing_a_mounted_ext4_with_errors_says_that_the_errors_are_the_reason(
    loop: Loop, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's EPERM has two causes; here the capability is not the one."""
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    set_state(device, 0x2)
    mounts.mount(device, target, "ext4")
    os.truncate(tmp_path / "disk.img", 128 * MIB)
    devices.refresh_size(device)
    monkeypatch.setattr(kernel, "has_capability", lambda _number: True)
    with pytest.raises(
        HostError, match="the file system has errors; it is checked and grown when the volume is staged again"
    ):
        filesystems.grow(device, target)
