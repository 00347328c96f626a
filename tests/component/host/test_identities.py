from __future__ import annotations

import struct

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import identities

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
    with pytest.raises(HostError, match="identifying /dev/missing"):
        identities.identity("/dev/missing")


def test_what_is_no_block_device_is_an_error() -> None:
    with pytest.raises(HostError, match="identifying /dev/null"):
        identities.identity("/dev/null")
