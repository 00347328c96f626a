"""Small disks of their own, which a test fills to the last block or the last file."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csi_cinderlib.host import kernel

MIB = 1024**2
MKFS = {
    "ext4": ("mkfs.ext4", "-q", "-m", "0", "-N", "256"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
}
_BLOCK = 512
_BALLAST = ".ballast"


class Disk:
    """A file system of some MiB, mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leave not a block free, whatever size it has."""
        fd, size, step = os.open(self.path / _BALLAST, os.O_WRONLY | os.O_CREAT, 0o600), 0, 4 * MIB
        try:
            while step >= _BLOCK:
                try:
                    os.posix_fallocate(fd, size, step)
                    size += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2
        finally:
            os.close(fd)

    def fill_but(self, size: int) -> None:
        """Leave only so many bytes free."""
        spare = self.path / f"{_BALLAST}-spare"
        with spare.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        self.fill()
        spare.unlink()

    def use_all_inodes(self) -> None:
        """Leave no file to be made."""
        directory = self.path / f"{_BALLAST}-files"
        with suppress(OSError):
            directory.mkdir(exist_ok=True)
            for number in range(100_000):
                (directory / str(number)).touch()

    def clear(self) -> None:
        """Give back what `fill` and `use_all_inodes` took."""
        (self.path / _BALLAST).unlink(missing_ok=True)
        if (directory := self.path / f"{_BALLAST}-files").is_dir():
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()


def sync(path: Path | str) -> None:
    """Write out the file system that it is on. `os.sync` would also wait for those of other programs, and write out what these leave for later."""
    with kernel.opened(str(path), os.O_RDONLY) as fd:
        kernel.call("syncfs", fd)


@contextmanager
def mounted(path: Path, mebibytes: int, kind: str = "ext4") -> Iterator[Disk]:
    """A new file system at a path, in an image beside it; "tmpfs" has none."""
    path.mkdir()
    if kind == "tmpfs":
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,nr_inodes=256", "tmpfs", str(path)], check=True
        )
    else:
        image = path.with_suffix(".img")
        with image.open("wb") as file:
            file.truncate(mebibytes * MIB)
        subprocess.run([*MKFS[kind], str(image)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", str(path)], check=True)
        path.with_suffix(".img").unlink(missing_ok=True)
