"""The sectors of a loop device are decided by the caller, never by the content of its file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csi_cinderlib.host import devices

pytestmark = pytest.mark.root
MIB = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"x" * 8 * MIB)
    return path


@contextmanager
def attached(file: Path) -> Iterator[str]:
    device = devices.attach_file(str(file), direct_io=False)
    try:
        yield device
    finally:
        devices.detach_file(device, expected=devices.identity(device))


def test_content_that_a_user_writes_does_not_change_the_sectors_of_the_next_attachment(file: Path) -> None:
    with attached(file) as device:
        assert devices.logical_block_size(device) == 4096
        subprocess.run(("sfdisk", "-q", device), input=b"label: dos\nsize=2M\n", check=True, capture_output=True)
    with attached(file) as device:
        assert devices.logical_block_size(device) == 4096
