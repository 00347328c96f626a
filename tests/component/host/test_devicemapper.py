"""The answers of the kernel's device mapper. Its mappings are tested in a guest: this machine's kernel may have none."""

from __future__ import annotations

import os
import struct

import pytest

from csi_cinderlib.host import devicemapper

ENTRIES = [b"a", b"a longer name", b"temporary-cryptsetup-4711"]


def listed(names: list[bytes]) -> bytes:
    """An answer of DM_LIST_DEVICES: each entry says how far the next one is."""
    answer = b""
    for place, name in enumerate(names, 1):
        length = (12 + len(name) + 1 + 7) // 8 * 8
        step = length if place < len(names) else 0
        answer += (struct.pack("=QI", os.makedev(253, place), step) + name + b"\0").ljust(length, b"\0")
    return answer + bytes(64)


@pytest.mark.parametrize("count", range(4))
def test_the_names_of_all_mappings_are_read(count: int) -> None:
    assert list(devicemapper._listed(listed(ENTRIES[:count]))) == [name.decode() for name in ENTRIES[:count]]


def test_the_devices_below_a_mapping_are_named_also_one_that_is_gone() -> None:
    gone = os.makedev(4095, 1048575)
    assert devicemapper._below(struct.pack("=IIQ", 1, 0, gone)) == ("4095:1048575",)
    assert devicemapper._below(struct.pack("=II", 0, 0)) == ()


@pytest.mark.root
def test_a_mapping_that_does_not_exist_is_not_found_and_its_removal_succeeds() -> None:
    assert devicemapper.find("cinderlib-none") is None
    assert "cinderlib-none" not in devicemapper.names()
    devicemapper.remove("cinderlib-none")
