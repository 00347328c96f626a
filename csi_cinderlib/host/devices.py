"""Block devices: files on loop devices, sizes, flushing."""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from csi_cinderlib.errors import HostError, NoAnswer
from csi_cinderlib.host import identities, kernel, loopctl
from csi_cinderlib.host.identities import identity, of_loop, sysfs
from csi_cinderlib.host.patience import Patience
from csi_cinderlib.model.size import Bytes

__all__ = [
    "BLOCK_SIZE",
    "attach_file",
    "detach_file",
    "detach_from",
    "find_attached",
    "flush",
    "holders",
    "identity",
    "is_block_device",
    "is_read_only",
    "logical_block_size",
    "open_size",
    "refresh_size",
    "set_read_only",
    "size",
    "written_out",
]

BLOCK_SIZE = 4096
"""Logical block size of our loop devices. What is written with it can be used with 512 too, not the other way round, and
direct I/O needs at least the block size of the disk below. So a volume may move between disks of both kinds."""

SECTOR = 512
DETACH_SECONDS = 10.0
CLAIM_SECONDS = 2.0
"""For a file system that was unmounted here to end elsewhere, too: a container that is being started has a copy of all mounts for a
moment."""
_ATTEMPTS = 100
_GONE = (errno.ENXIO, errno.ENOENT)
"""The device was detached, or removed, since it was found."""

_others = Patience()
"""Loop devices that were asked which file they show, and do not answer."""

_BLKROSET = 0x125D
_BLKFLSBUF = 0x1261
_BLKSSZGET = 0x1268
_BLKGETSIZE64 = 0x80081272


def is_block_device(path: str) -> bool:
    """False also for what does not exist."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116 - asked in each call
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error


def size(device: str) -> Bytes:
    """The size that a block device shows. Raises HostError, also for anything that is not a block device."""
    with kernel.named(f"size of {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        return open_size(fd, device)


def open_size(fd: int, device: str) -> Bytes:
    """`size` of an open device. Raises OSError or HostError."""
    if not stat.S_ISBLK(os.fstat(fd).st_mode):
        raise HostError(f"{device} is not a block device")
    buffer = bytearray(8)
    kernel.ioctl(fd, _BLKGETSIZE64, buffer)
    return Bytes(int.from_bytes(buffer, "little"))


def logical_block_size(device: str) -> int:
    """The smallest unit that the device reads and writes, in bytes."""
    buffer = bytearray(4)
    with kernel.named(f"block size of {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        kernel.ioctl(fd, _BLKSSZGET, buffer)
    return int.from_bytes(buffer, "little")


def flush(device: str) -> None:
    """Write what the kernel holds for the device, through the device's own cache, and forget the cached blocks.

    Raises:
        HostError: a write failed: the data is not safe and must not be reported as such.
    """
    with kernel.named(f"flushing {device}"), kernel.opened(device, os.O_RDWR) as fd:
        os.fsync(fd)
        kernel.ioctl(fd, _BLKFLSBUF)


@contextmanager
def written_out(device: str) -> Iterator[None]:
    """See that what is written to the device meanwhile, by whomever, has reached it at the end.

    Raises:
        HostError: a write failed, perhaps long after the program that wrote had ended well.
    """
    with kernel.named(f"writing to {device}"), kernel.opened(device, os.O_RDWR) as fd:  # told of failures from here on
        yield
        os.fsync(fd)


def is_read_only(device: str) -> bool:
    """Whether the kernel refuses to write to the device."""
    with kernel.named(f"reading the state of {device}"):
        return kernel.read(f"{sysfs(device)}/ro").strip() == b"1"


def set_read_only(device: str, read_only: bool) -> None:
    """Make the kernel refuse (or allow) writes by whoever opens the device from now on."""
    with kernel.named(f"making {device} read-only"), kernel.opened(device, os.O_RDONLY) as fd:
        _set_read_only(fd, read_only)


def _set_read_only(fd: int, read_only: bool) -> None:
    kernel.ioctl(fd, _BLKROSET, bytearray(int(read_only).to_bytes(4, "little")))


def holders(device: str) -> tuple[str, ...]:
    """Devices built on this one (dm, md), by kernel name."""
    with kernel.named(f"holders of {device}"):
        return tuple(sorted(entry.name for entry in (sysfs(device) / "holders").iterdir()))


def find_attached(path: str, *, read_only: bool | None = None, file: os.stat_result | None = None) -> str | None:
    """The loop device that shows all of the file (or of the block device) at `path`, whatever name it was attached by.

    Args:
        read_only: only one that is, or is not, read-only; None takes either.
        file: what was found at the path.

    Raises:
        HostError: there is nothing at the path, or no longer `file`.
    """
    with kernel.named(f"looking for the loop device of {path}"):
        found = os.stat(path)  # noqa: PTH116 - follows links, as the kernel did
        _require_same(path, found, file)
        path = os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114
        name = os.path.basename(path)  # noqa: PTH119
        for number, shown in loopctl.attached().items():
            if _surely_another(shown, name, found):
                continue
            status = _status(number) if shown == path else _status_of_another(number)
            if status and _shows(status, found) and read_only in (None, status.read_only):
                return loopctl.node(number)
    return None


def _require_same(path: str, found: os.stat_result, file: os.stat_result | None) -> None:
    """Raises HostError: somebody else may write the directory, and has put another file, or a link to one, in its place."""
    if file and (found.st_dev, found.st_ino) != (file.st_dev, file.st_ino):
        raise HostError(f"{path} was replaced meanwhile")


def _surely_another(shown: str, name: str, file: os.stat_result) -> bool:
    # A new name shows in sysfs at once, so another last name is another file: unless it has, or had, several names.
    if os.path.basename(shown) == name:  # noqa: PTH119
        return False
    if file.st_rdev:  # a node lies in /dev, of this container or of an earlier one
        return not shown.startswith("/dev/")
    return file.st_nlink == 1 and not shown.endswith(" (deleted)")


def _status(number: int) -> loopctl.Status | None:
    try:
        with kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
            return loopctl.status(fd)
    except OSError as error:
        if error.errno in (*_GONE, errno.EBUSY):
            return None
        raise


def _status_of_another(number: int) -> loopctl.Status | None:
    """`_status` of a device whose file is probably not the one that is looked for. None also for one on a share that is dead or hangs:
    the kernel asks for the file there, and the one that is looked for has just answered.
    """
    try:
        return _others.look(loopctl.node(number), "status", lambda: _status(number))
    except NoAnswer:
        return None
    except OSError as error:
        if kernel.is_short(error):
            raise
        return None


def _shows(status: loopctl.Status, file: os.stat_result) -> bool:
    if status.offset or status.limit:
        return False
    if file.st_rdev:
        return status.backing_device == file.st_rdev
    return (status.device, status.inode) == (file.st_dev, file.st_ino)


def attach_file(
    path: str,
    *,
    read_only: bool = False,
    direct_io: bool = True,
    block_size: int = BLOCK_SIZE,
    file: os.stat_result | None = None,
) -> str:
    """The loop device of a file: the one it is attached to already, else a new one.

    `path` may be a block device too: attached read-only, it is a read-only view of that device.

    Args:
        read_only: for a file that is attached writable already, that one is returned.
        direct_io: bypass the page cache of the file where its file system can.
        block_size: logical block size; 512 is taken when the file's size is no multiple of it.
        file: what was found at the path, which leads through no link. Nothing else is attached.

    Raises:
        HostError: no such file, an empty file, attached read-only where writable was asked, no loop devices, or no longer `file`.
    """
    flags = os.O_RDONLY if read_only else os.O_RDWR
    if file:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in its place would be waited for
    with kernel.named(f"attaching {path}"), kernel.opened(path, flags) as fd:
        state = os.fstat(fd)
        _require_same(path, state, file)
        os.set_blocking(fd, True)
        if found := _already_attached(path, state, read_only=read_only):
            return found
        if state.st_size % block_size or stat.S_ISBLK(state.st_mode):
            block_size = logical_block_size(path) if stat.S_ISBLK(state.st_mode) else SECTOR
        number = _configure_free(fd, path, read_only=read_only, direct_io=direct_io, block_size=block_size)
        return _first_of_racers(path, state, number, read_only=read_only)


def _already_attached(path: str, state: os.stat_result, *, read_only: bool, mine: str = "") -> str | None:
    """Args: mine: one that was attached a moment ago."""
    if stat.S_ISREG(state.st_mode):
        if state.st_size < SECTOR:
            raise HostError(f"attaching {path}: the file holds {state.st_size} bytes, too few for a block device")
        found = find_attached(path, file=state)
    elif stat.S_ISBLK(state.st_mode):
        found = find_attached(path, read_only=read_only, file=state)
    else:
        raise HostError(f"attaching {path}: it is neither a regular file nor a block device")
    if found is None or found == mine:
        return found
    return found if _keep(found, path, read_only=read_only) else None


def _keep(device: str, path: str, *, read_only: bool) -> bool:
    """Make sure that the loop device of `path` stays attached; False when it has gone away since it was found.

    Raises:
        HostError: it is read-only and should be writable.
    """
    try:
        with kernel.opened(device, os.O_RDONLY) as fd:
            status = loopctl.status(fd)
            if status is None:
                return False
            if status.read_only and not read_only:
                raise HostError(f"attaching {path}: it is attached read-only as {device}")
            if status.autoclear:
                loopctl.keep(fd, path)
            return True
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise


def _configure_free(file: int, path: str, *, read_only: bool, direct_io: bool, block_size: int) -> int:
    for attempt in range(_ATTEMPTS):
        number = loopctl.free_number()
        try:
            with kernel.opened(loopctl.node(number), os.O_RDONLY if read_only else os.O_RDWR) as fd:
                loopctl.configure(fd, file, path, read_only=read_only, direct_io=direct_io, block_size=block_size)
                _set_read_only(fd, False)  # left from an earlier file, by whomever; does not undo `read_only`
                if direct_io:
                    loopctl.set_direct_io(fd)
                return number
        except OSError as error:
            # EBUSY: somebody took it between the two calls. ENXIO, ENOENT: somebody removed it.
            if error.errno not in (errno.EBUSY, *_GONE):
                raise
        time.sleep(random.random() * min(attempt, 10) / 1000)  # noqa: S311 - spreads the callers, hides nothing
    raise HostError(f"attaching {path}: no loop device could be obtained in {_ATTEMPTS} attempts")


def _first_of_racers(path: str, state: os.stat_result, number: int, *, read_only: bool) -> str:
    """When two processes attached the file at once, both settle for the lower number."""
    mine = loopctl.node(number)
    first = ""
    try:
        first = _already_attached(path, state, read_only=read_only, mine=mine) or mine
    finally:
        if first != mine:  # also when the file is out of reach by now
            _detach(mine, lambda status: _shows(status, state))
    return first


def detach_file(device: str, *, expected: str, file: str = "") -> bool:
    """Detach a loop device; nothing happens when it is free already, or shows another file by now. Whether it was detached.

    Args:
        expected: what `identity` said when it was attached. The kernel gives a freed device to whoever asks next, so its
            name alone may be another volume's.
        file: the path of its file, by which it is known where its share is dead, so that the file itself cannot be asked.

    Raises:
        HostError: mounted, claimed by another device, or still open somewhere: nothing is detached behind a user's back.
    """
    # Asked first, since opening another user's disk exclusively fails; and again once nobody else can change it.
    is_right = _is_still(device, expected) or identities.shows(device, file)
    return is_right and _detach(device, lambda status: _has_identity(status, expected), file=file)


def detach_from(path: str, *, read_only: bool | None = None, file: os.stat_result | None = None) -> None:
    """Detach the loop device that shows all of the file (or of the block device) at `path`, if there is one.

    Args:
        read_only, file: as in `find_attached`.

    Raises:
        HostError: as `detach_file`, and when there is no such file, or no longer `file`.
    """
    with kernel.named(f"detaching from {path}"):
        found = file or os.stat(path)  # noqa: PTH116 - follows links, as the kernel did
    if device := find_attached(path, read_only=read_only, file=found):
        _detach(device, lambda status: _shows(status, found) and read_only in (None, status.read_only))


def _detach(device: str, is_right: Callable[[loopctl.Status], bool], *, file: str = "") -> bool:
    """Detach the loop device if it is the right one once it is open: it may have become another one's. `file`: see `detach_file`."""
    try:
        with kernel.opened(device, os.O_RDONLY | os.O_EXCL, patience=CLAIM_SECONDS) as fd:
            number = _number_if_right(fd, is_right, device, file)
            if number is None:
                return False
            shown = loopctl.backing_path(number)
            loopctl.clear(fd)
            _set_read_only(fd, False)  # this mark outlives the file, and would meet the next one to get the device
    except OSError as error:
        if error.errno in _GONE:
            return False
        in_use = "it is in use: mounted, here or in another mount namespace, or part of another device"
        reason = in_use if error.errno == errno.EBUSY else error.strerror
        raise HostError(f"detaching {device}: {reason}") from error
    # The kernel answers yes and waits for the last opener when there is another one: see it gone.
    deadline = time.monotonic() + DETACH_SECONDS
    pause = 0.0005
    while loopctl.backing_path(number) == shown:
        if time.monotonic() > deadline:
            raise HostError(f"detaching {device}: a process still has it open; it is released when that closes it")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return True


def _number_if_right(fd: int, is_right: Callable[[loopctl.Status], bool], device: str, file: str) -> int | None:
    """The number of an open loop device, if it is the right one. Raises OSError: its file's share is dead, and it is not known by `file`."""
    try:
        status = loopctl.status(fd)
    except OSError as error:
        if kernel.is_short(error) or not identities.shows(device, file):
            raise
        return int(sysfs(device).name.removeprefix("loop"))
    return status.number if status and is_right(status) else None


def _is_still(device: str, expected: str) -> bool:
    try:
        return identity(device) == expected
    except HostError:
        return False


def _has_identity(status: loopctl.Status, expected: str) -> bool:
    try:
        return of_loop(status) == expected
    except HostError:
        return False


def refresh_size(device: str) -> Bytes:
    """Let a loop device take over the size that its file has by now; the new size."""
    with kernel.named(f"refreshing the size of {device}"), kernel.opened(device, os.O_RDWR) as fd:
        loopctl.refresh(fd)
        return open_size(fd, device)
