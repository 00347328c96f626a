"""A node that is upgraded on a full disk must start, to take volumes down: there is room for its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.app import registering, state_dir
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import mounts

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    mounts.mount("none", str(tmp_path), "tmpfs", ("size=2M",))
    try:
        yield tmp_path
    finally:
        mounts.unmount(str(tmp_path))


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)


def test_the_room_that_an_earlier_version_kept_back_is_used(disk: Path) -> None:
    with state_dir.hold(disk):
        fill(disk)
        key = registering.own_key(disk, "n1")
        assert registering.own_key(disk, "n1") == key


def test_without_any_room_the_disk_is_named(disk: Path) -> None:
    fill(disk)
    with pytest.raises(HostError, match=r"cannot store .*node-keys.json: No space left"):
        registering.own_key(disk, "n1")
