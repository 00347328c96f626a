from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, identities, loopctl
from tests.support.repeating import until

NAA = bytes.fromhex("600140512345678901234567890abcde")


def page(*designators: tuple[int, int, int, bytes]) -> bytes:
    """A VPD page 0x83 of (code set, association, type, name)."""
    body = b"".join(
        struct.pack(">4B", codes, association << 4 | kind, 0, len(name)) + name
        for codes, association, kind, name in designators
    )
    return struct.pack(">2BH", 0, 0x83, len(body)) + body


def test_the_naa_name_goes_before_all_others() -> None:
    assert (
        identities.designator(page((2, 0, 1, b"LIO-ORG disk"), (1, 0, 2, b"12345678"), (1, 0, 3, NAA)))
        == "3" + NAA.hex()
    )


def test_names_of_the_port_or_the_target_are_not_the_disks() -> None:
    assert identities.designator(page((1, 1, 3, NAA), (1, 2, 3, NAA))) == ""


def test_the_long_naa_name_goes_before_the_short_one() -> None:
    assert identities.designator(page((1, 0, 3, NAA[:8]), (1, 0, 3, NAA))) == "3" + NAA.hex()


def test_a_t10_name_is_text_with_its_blanks_as_underscores() -> None:
    assert identities.designator(page((2, 0, 1, b"LIO-ORG   disk  1 "))) == "1LIO-ORG_disk_1"


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_page_that_is_cut_off_is_no_crash(cut: int) -> None:
    whole = page((1, 0, 3, NAA), (1, 0, 3, NAA))
    assert identities.designator(whole[:cut]) in ("", "3" + NAA.hex())


@pytest.mark.parametrize(
    ("text", "wwid"),
    [
        ("naa.600140512345678901234567890abcde", "3600140512345678901234567890abcde"),
        ("eui.0025388b710116a9", "eui.0025388b710116a9"),
        ("nvme.8086-4654", "nvme.8086-4654"),
        ("", ""),
    ],
)
def test_sysfs_names_become_multipaths(text: str, wwid: str) -> None:
    assert identities.wwid_of(text) == wwid


def test_a_missing_device_is_an_error() -> None:
    with pytest.raises(HostError, match="cannot identify /dev/missing"):
        identities.identity("/dev/missing")


def test_what_is_no_block_device_is_an_error() -> None:
    with pytest.raises(HostError, match="cannot identify /dev/null"):
        identities.identity("/dev/null")


def test_a_code_set_other_than_binary_is_text() -> None:
    assert identities.designator(page((3, 0, 3, b"naa.6001"))) == "3naa.6001"
    assert identities.designator(page((0x51, 0, 3, NAA))) == "3" + NAA.hex(), "the upper half names a protocol"
    assert identities.designator(page((2, 0, 1, b"caf\xe9"))) == "1caf\ufffd"


def test_a_kind_that_scsi_id_does_not_use_is_passed_over() -> None:
    assert identities.designator(page((1, 0, 0, b"vendor"), (1, 0, 4, bytes(4)))) == ""
    assert identities.designator(page((1, 0, 4, bytes(4)), (1, 0, 3, NAA))) == "3" + NAA.hex()
    assert identities.designator(page((1, 0, 0x83, NAA))) == "3" + NAA.hex(), "bit 7 says that the protocol counts"


def test_of_two_names_of_one_kind_the_first_counts() -> None:
    first, second = b"\xff" * 8, b"\x01" * 8
    assert identities.designator(page((1, 0, 2, first), (1, 0, 2, second))) == "2" + first.hex()
    assert identities.designator(page((2, 0, 1, b"vendor disk"), (1, 0, 2, second))) == "2" + second.hex()


def test_a_name_that_is_cut_off_is_no_name() -> None:
    whole = page((1, 0, 3, NAA))
    assert identities.designator(whole) == "3" + NAA.hex()
    assert identities.designator(whole[:-1]) == ""
    assert identities.designator(page((1, 0, 3, b""))) == "3"


Sysfs = Callable[[str, dict[str, bytes]], str]


@pytest.fixture
def block_device(loop: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysfs:
    """A device node whose directory in /sys has this name and these files, as a disk of another kind has them."""

    def show(name: str, files: dict[str, bytes]) -> str:
        device = loop(8)
        number = Path(device).stat().st_rdev
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(content)
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / f"{os.major(number)}:{os.minor(number)}").symlink_to(name)
        monkeypatch.setattr(identities, "SYSFS", tmp_path)
        return device

    return show


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "files", "identity"),
    [
        ("dm-3", {"dm/uuid": b"mpath-3600140512345\n"}, "3600140512345"),
        ("dm-3", {"dm/uuid": b"LVM-abc\n", "serial": b"other"}, "dm:LVM-abc"),
        ("dm-3", {"dm/uuid": b"CRYPT-mpath-x\n"}, "dm:CRYPT-mpath-x"),
        ("sda", {"device/vpd_pg83": page((1, 0, 3, NAA)), "device/wwid": b"t10.other"}, "3" + NAA.hex()),
        ("sda", {"device/vpd_pg83": page((1, 1, 3, NAA)), "device/wwid": b"naa.6001ABC\n"}, "36001abc"),
        ("sda", {"device/wwid": b"naa.6001\n", "wwid": b"eui.2"}, "36001"),
        ("nvme0n1", {"wwid": b"eui.0025388b710116a9\n", "serial": b"S1"}, "eui.0025388b710116a9"),
        ("vda", {"serial": b" S1 \n\0\0"}, "serial:S1"),
        ("vda", {"serial": b"S1", "device/serial": b"S2"}, "serial:S1"),
        ("vda", {"device/serial": b"S2\n"}, "serial:S2"),
        ("vda", {"serial": b"S\xff"}, "serial:S\ufffd"),
        (
            "rbd0",
            {"device/cluster_fsid": b"f-1\n", "device/pool_id": b"7\n", "device/image_id": b"12ab\n"},
            "rbd:f-1:7:12ab",
        ),
        ("rbd0", {"device/cluster_fsid": b"f-1\n"}, ""),
        ("vdb", {}, ""),
    ],
)
def test_a_device_is_known_by_what_the_kernel_tells_of_it(
    block_device: Sysfs, name: str, files: dict[str, bytes], identity: str
) -> None:
    assert identities.identity(block_device(name, files)) == identity


@pytest.mark.root
def test_a_file_on_a_loop_device_is_known_by_its_inode_and_name(loop: Callable[..., str], tmp_path: Path) -> None:
    device = loop(8)
    inode = (tmp_path / "disk.img").stat().st_ino
    assert identities.identity(device) == f"loop:{inode}:disk.img"
    (tmp_path / "disk.img").unlink()
    assert identities.identity(device) == f"loop:{inode}:disk.img"
    devices.detach_file(device, expected=f"loop:{inode}:disk.img")
    assert identities.identity(device) == ""


@pytest.mark.root
def test_a_view_of_a_device_is_what_the_device_is(loop: Callable[..., str]) -> None:
    device = loop(8)
    view = devices.attach_file(device, read_only=True)
    assert view != device
    assert identities.identity(view) == identities.identity(device)
    devices.detach_from(device, read_only=True)


@pytest.mark.root
def test_a_free_loop_device_has_no_holders_and_no_identity() -> None:
    def is_unknown() -> bool:
        device = loopctl.node(loopctl.free_number())
        return (devices.holders(device), devices.identity(device)) == ((), "")

    until(is_unknown)  # another program may have taken it
