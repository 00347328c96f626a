"""The mark on a device on which the creation of a file system, or of an encryption, has not ended.

It is written before the first block of the creation, and removed after the last one, before anything uses the device. While it is there,
nothing has used the device, for every node: a note of one node could not be seen by the others, nor be taken back by them.

It names its volume, as the storage may show the device of another volume, and the attachment whose node has begun last. Without a fence, an
earlier node may still be at work: it must not finish what is no longer its own.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, kernel
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.host.reading import open_direct, read

LENGTH = 4096
FROM_END = 4 * 1024 * 1024
"""The tools clear up to 2 MiB at the end when they start, and put nothing else there. Where they overwrite the mark nevertheless, the content of
the device is unknown again.
"""
_MAGIC = b"csi-cinderlib: creation not finished\n"


def is_marked(device: str, volume_id: str, *, by: str | None = None) -> bool:
    """Whether the device has the mark of this volume.

    Args:
        by: the attachment under which the caller has begun. None accepts the mark of any.

    Raises:
        HostError: it cannot be read, or another node has begun since, so that the caller's attachment has ended.
    """
    found = _attachment_in(device, volume_id)
    if found is not None and by is not None and found != by.encode():
        raise HostError(
            f"volume {volume_id}: another node has begun to create its content meanwhile (attachment "
            f"{found.decode(errors='replace')}); {device} is not used here"
        )
    return found is not None


def mark(proof: Disposable, volume_id: str, attachment: str, *, is_held: bool = False) -> None:
    """Mark a device. The mark survives a loss of power. It replaces that of an earlier attachment.

    Args:
        is_held: the caller's own mapping is on the device, so that no other program can hold it.

    Raises:
        HostError: the device is in use (O_EXCL) or cannot be written.
    """
    device = proof.device
    with _opened(device, 0 if is_held else os.O_EXCL) as (fd, at):
        if at is not None:
            _write(fd, _content(_head(at, volume_id), attachment.encode()), at)


def remove(device: str, volume_id: str, *, by: str | None = None) -> None:
    """Remove the mark of this volume, if it is there, before the device is used. The removal survives a loss of power.

    Nothing else is overwritten: mkfs may have used the place, or another node that has the volume since.

    Args:
        by: see `is_marked`.

    Raises:
        HostError: the device is in use (O_EXCL), cannot be read or cannot be written, or another node has begun since.
    """
    with _opened(device, os.O_EXCL) as (fd, at):
        if at is not None and is_marked(device, volume_id, by=by):
            _write(fd, bytes(LENGTH), at)


@contextlib.contextmanager
def _opened(device: str, flags: int) -> Iterator[tuple[int, int | None]]:
    """The open device, and the offset of the mark."""
    with kernel.named(f"cannot mark {device}"), kernel.opened(device, os.O_RDWR | flags) as fd:
        yield fd, place(devices.open_size(fd, device))


def _write(fd: int, content: bytes, at: int) -> None:
    """Raises OSError."""
    os.pwrite(fd, content, at)
    os.fsync(fd)


def place(size: int) -> int | None:
    """The offset of the mark; None for a device that is too small to have one."""
    return (size - FROM_END) // LENGTH * LENGTH if size >= 2 * FROM_END else None


def _attachment_in(device: str, volume_id: str) -> bytes | None:
    """The attachment in the mark of this volume; None without such a mark. Raises HostError."""
    with kernel.named(f"cannot read {device}"), open_direct(device) as fd:
        at = place(devices.open_size(fd, device))
        if at is None:
            return None
        found, head = read(fd, device, at, LENGTH), _head(at, volume_id)
    attachment = found[len(head) :].partition(b"\n")[0]
    return attachment if found == _content(head, attachment) else None


def _head(place: int, volume_id: str) -> bytes:
    """It names the place: the mark of a device that has grown since is not one any more, as its end may be in use."""
    return _MAGIC + b"%d\n%s\n" % (place, volume_id.encode())


def _content(head: bytes, attachment: bytes) -> bytes:
    text = head + attachment + b"\n"
    return (text + b"%08x\n" % zlib.crc32(text)).ljust(LENGTH, b"\0")[:LENGTH]
