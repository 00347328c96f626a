"""A detach writes out what closed programs have written, even if another program, such as udev, still has the device open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices

pytestmark = pytest.mark.root
DATA = b"kept" * 1024


@contextmanager
def also_open(device: str) -> Iterator[None]:
    fd = os.open(device, os.O_RDONLY)
    try:
        yield
    finally:
        os.close(fd)


def write(device: str) -> None:
    """Buffered. With another opener, the kernel keeps the blocks for up to half a minute."""
    with Path(device).open("r+b") as file:
        file.write(DATA)


def test_data_is_in_the_file_before_the_other_opener_closes_the_device(
    loop: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last opener would flush, but a device that is being detached refuses its writes."""
    device = loop(8)
    monkeypatch.setattr(devices, "DETACH_SECONDS", 0.0)
    with also_open(device):
        write(device)
        with pytest.raises(HostError, match="another process has it open"):
            devices.detach_file(device, expected=devices.identity(device))
        assert (tmp_path / "disk.img").read_bytes()[: len(DATA)] == DATA


def test_a_device_of_a_deleted_file_is_still_detached(loop: Callable[..., str], tmp_path: Path) -> None:
    device = loop(8)
    write(device)
    (tmp_path / "disk.img").unlink()
    assert devices.detach_file(device, expected=devices.identity(device))


def test_nothing_is_flushed_if_the_storage_is_dead(
    loop: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = loop(8)
    monkeypatch.setattr(devices, "DETACH_SECONDS", 0.0)
    with also_open(device):
        write(device)
        with pytest.raises(HostError, match="another process has it open"):
            devices.detach_file(device, expected=devices.identity(device), flush=False)
        assert (tmp_path / "disk.img").read_bytes()[: len(DATA)] == bytes(len(DATA))
