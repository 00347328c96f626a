from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, UnsafeToFormat
from csi_cinderlib.host import commands, devices, filesystems, luks

Loop = Callable[..., str]
KEY = b"correct horse battery staple"


def has_cryptsetup() -> bool:
    try:
        return bool(commands.find_tool("cryptsetup"))
    except HostError:
        return False


needs_cryptsetup = pytest.mark.skipif(not has_cryptsetup(), reason="cryptsetup is not installed")
needs_mapper = pytest.mark.skipif(
    "device-mapper" not in Path("/proc/misc").read_text(),
    reason="this kernel has no device-mapper: tested in the guest",
)


@pytest.mark.root
@needs_cryptsetup
@needs_mapper
def test_what_is_written_inside_is_there_after_locking_and_unlocking(loop: Loop) -> None:
    device, name = loop(64), f"test-{uuid.uuid4()}"
    luks.make(device, KEY)
    inside = luks.unlock(device, name, KEY)
    try:
        assert luks.unlock(device, name, KEY) == inside
        Path(inside).write_bytes(b"inside")
        devices.flush(inside)
        luks.resize(name, KEY)
        luks.lock(name)
        luks.lock(name)
        with pytest.raises(HostError, match="the key does not fit"):
            luks.unlock(device, name, b"wrong")
        assert Path(luks.unlock(device, name, KEY)).read_bytes()[:6] == b"inside"
    finally:
        luks.lock(name)


@pytest.mark.root
@needs_cryptsetup
@needs_mapper
def test_a_new_encrypted_volume_is_recognised(loop: Loop) -> None:
    device = loop(64)
    luks.make(device, KEY)
    found = filesystems.probe(device)
    assert luks.is_encrypted(found)


@pytest.mark.root
def test_nothing_is_encrypted_over(loop: Loop) -> None:
    device = loop(64)
    found = filesystems.make(device, "ext4")
    assert not luks.is_encrypted(found)
    with pytest.raises(UnsafeToFormat, match="carries ext4"):
        luks.make(device, KEY)


def test_locking_what_is_not_open_is_fine() -> None:
    name = f"test-{uuid.uuid4()}"
    luks.lock(name)
    assert not luks.is_open(name)
