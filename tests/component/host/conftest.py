"""Files of a given size and the loop devices on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_cinderlib.host import devices, loopctl, mounts

MIB = 1024 * 1024


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Makes a sparse file of so many MiB, attaches it, and detaches everything afterwards, mounts first."""
    attached: list[str] = []
    names: set[str] = set()

    def make(
        mib: int = 64,
        name: str = "disk.img",
        *,
        read_only: bool = False,
        direct_io: bool = True,
        block_size: int = devices.BLOCK_SIZE,
    ) -> str:
        path = tmp_path / name
        names.add(name)
        with path.open("ab") as file:
            file.truncate(mib * MIB)
        device = devices.attach_file(str(path), read_only=read_only, direct_io=direct_io, block_size=block_size)
        attached.append(device)
        return device

    yield make
    for device in reversed(attached):
        if loopctl.backing_path(int(device.removeprefix("/dev/loop"))).startswith(f"{tmp_path}/"):  # renamed, perhaps
            for item in reversed(mounts.by_device(device)):
                mounts.unmount(item.target)
            devices.detach_file(device, expected=devices.identity(device))
    for name in names:  # pytest keeps the directories of three runs, and these files have gigabytes in all
        (tmp_path / name).unlink(missing_ok=True)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    """A directory to mount on."""
    path = tmp_path / "target dir"
    path.mkdir()
    yield str(path)
    mounts.unmount(str(path))
