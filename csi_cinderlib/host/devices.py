"""Block devices: files on loop devices, sizes, flushing."""

from __future__ import annotations

import contextlib
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
from csi_cinderlib.host.patience import of_process
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
"""Logical block size of our loop devices. Data written with it is also usable with 512, but not vice versa. Direct I/O needs at
least the block size of the underlying disk. With 4096, a volume can move between disks of both kinds."""

SECTOR = 512
DETACH_SECONDS = 10.0
CLAIM_SECONDS = 2.0
"""Time for other copies of an unmounted file system to go: a starting container briefly holds a copy of all mounts."""
_ATTEMPTS = 100
_GONE = (errno.ENXIO, errno.ENOENT)  # the device was detached or removed after it was found
_BLKROSET = 0x125D
_BLKFLSBUF = 0x1261
_BLKSSZGET = 0x1268
_BLKGETSIZE64 = 0x80081272


def is_block_device(path: str) -> bool:
    """False also if the path does not exist."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116 - on the path of each call
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HostError(f"cannot read the type of {path}: {error.strerror}") from error


def size(device: str) -> Bytes:
    """The size of a block device. Raises HostError, for example if it is not a block device."""
    with kernel.named(f"cannot read the size of {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        return open_size(fd, device)


def open_size(fd: int, device: str) -> Bytes:
    """`size` of an open device. Raises OSError or HostError."""
    if not stat.S_ISBLK(os.fstat(fd).st_mode):
        raise HostError(f"{device} is not a block device")
    buffer = bytearray(8)
    kernel.ioctl(fd, _BLKGETSIZE64, buffer)
    return Bytes(int.from_bytes(buffer, "little"))


def logical_block_size(device: str) -> int:
    """The logical block size of the device, in bytes."""
    buffer = bytearray(4)
    with kernel.named(f"cannot read the block size of {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        kernel.ioctl(fd, _BLKSSZGET, buffer)
    return int.from_bytes(buffer, "little")


def flush(device: str) -> None:
    """Write the kernel's dirty blocks to the device, flush the device's cache, and drop the cached blocks.

    Raises:
        HostError: a write failed; the data is not safe.
    """
    with kernel.named(f"cannot flush {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        os.fsync(fd)
        kernel.ioctl(fd, _BLKFLSBUF)


@contextmanager
def written_out(device: str) -> Iterator[None]:
    """Sync the device at the end of the block, for writes by any program.

    Raises:
        HostError: a write failed, possibly after the program had exited successfully.
    """
    # The kernel reports write errors to a descriptor that was open before.
    with kernel.named(f"cannot write to {device}"), kernel.opened(device, os.O_RDWR) as fd:
        yield
        os.fsync(fd)


def is_read_only(device: str) -> bool:
    """Whether the kernel refuses to write to the device."""
    with kernel.named(f"cannot read the state of {device}"):
        return kernel.read(f"{sysfs(device)}/ro").strip() == b"1"


def set_read_only(device: str, read_only: bool) -> None:
    """Make the kernel refuse or allow writes by later openers of the device."""
    state = "read-only" if read_only else "writable"
    with kernel.named(f"cannot make {device} {state}"), kernel.opened(device, os.O_RDONLY) as fd:
        _set_read_only(fd, read_only)


def _set_read_only(fd: int, read_only: bool) -> None:
    kernel.ioctl(fd, _BLKROSET, bytearray(int(read_only).to_bytes(4, "little")))


def holders(device: str) -> tuple[str, ...]:
    """Devices built on this one (dm, md), by kernel name."""
    with kernel.named(f"cannot list the holders of {device}"):
        return tuple(sorted(entry.name for entry in (sysfs(device) / "holders").iterdir()))


def find_attached(path: str, *, read_only: bool | None = None, file: os.stat_result | None = None) -> str | None:
    """The loop device of the whole file (or block device) at `path`, under any name of the file.

    Args:
        read_only: find only a read-only, or only a writable device; None finds either.
        file: the expected file at the path.

    Raises:
        HostError: the path does not exist, or is no longer `file`.
    """
    with kernel.named(f"cannot find the loop device of {path}"):
        found = os.stat(path)  # noqa: PTH116 - follows links, as the kernel did
        _require_same(path, found, file)
        path = os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114
        name = os.path.basename(path)  # noqa: PTH119
        for number, shown in loopctl.attached().items():
            if _surely_another(shown, name, found):
                continue
            status = _status(number) if shown == path else _status_of_another(number)
            if status and status.shows(found) and read_only in (None, status.read_only):
                return loopctl.node(number)
    return None


def _require_same(path: str, found: os.stat_result, file: os.stat_result | None) -> None:
    """Raises HostError if the file was replaced, in a directory that other users may write."""
    if file and (found.st_dev, found.st_ino) != (file.st_dev, file.st_ino):
        raise HostError(f"{path} was replaced by another file")


def _surely_another(shown: str, name: str, file: os.stat_result) -> bool:
    # sysfs shows a rename at once, so another last name means another file, unless the file has or had several names.
    if os.path.basename(shown) == name:  # noqa: PTH119
        return False
    if file.st_rdev:  # a node is in /dev, of this container or an earlier one
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
    """`_status` of a device with probably another file. None also if the share of its file is dead: the wanted file answers."""
    try:
        return of_process().look(loopctl.node(number), "status", lambda: _status(number))
    except NoAnswer:
        return None
    except OSError as error:
        if kernel.is_short(error):
            raise
        return None


def attach_file(
    path: str,
    *,
    read_only: bool = False,
    direct_io: bool = True,
    block_size: int = BLOCK_SIZE,
    file: os.stat_result | None = None,
) -> str:
    """The loop device of a file: an existing one, else a new one. Processes that attach a file at the same time get the same device.

    `path` may also be a block device. Attached read-only, the loop device is a read-only view of it.

    Args:
        read_only: an existing writable device of a file is returned nevertheless.
        direct_io: bypass the page cache of the file if its file system supports that.
        block_size: logical block size; 512 if the file's size is not a multiple of it. Content, which a user may write, never decides.
        file: the expected file at the path, which contains no symbolic link. Another file is refused.

    Raises:
        HostError: the file is missing, empty, attached read-only although a writable device is needed, or no longer `file`; or
            there is no loop device.
    """
    flags = os.O_RDONLY if read_only else os.O_RDWR
    if file:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # opening a pipe in its place would block
    with kernel.named(f"cannot attach {path}"), kernel.opened(path, flags) as fd:
        state = os.fstat(fd)
        _require_same(path, state, file)
        os.set_blocking(fd, True)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(loopctl.attaching(path, state))
            except (HostError, OSError):
                if found := _already_attached(path, state, read_only=read_only):
                    return found  # which needs no lock
                raise
            if found := _already_attached(path, state, read_only=read_only):
                return found
            if state.st_size % block_size or stat.S_ISBLK(state.st_mode):
                block_size = logical_block_size(path) if stat.S_ISBLK(state.st_mode) else SECTOR
            number = _configure_free(fd, path, read_only=read_only, direct_io=direct_io, block_size=block_size)
            return _first_of_racers(path, state, number, read_only=read_only)


def _already_attached(path: str, state: os.stat_result, *, read_only: bool, mine: str = "") -> str | None:
    """Args: mine: the device that this call has attached."""
    if stat.S_ISREG(state.st_mode):
        if state.st_size < SECTOR:
            raise HostError(f"cannot attach {path}: its size of {state.st_size} bytes is too small for a block device")
        found = find_attached(path, file=state)
    elif stat.S_ISBLK(state.st_mode):
        found = find_attached(path, read_only=read_only, file=state)
    else:
        raise HostError(f"cannot attach {path}: it is not a regular file or a block device")
    if found is None or found == mine:
        return found
    return found if _keep(found, path, read_only=read_only) else None


def _keep(device: str, path: str, *, read_only: bool) -> bool:
    """Ensure that the loop device of `path` stays attached. Returns False if it was detached after it was found.

    Raises:
        HostError: the device is read-only, but must be writable.
    """
    try:
        with kernel.opened(device, os.O_RDONLY) as fd:
            status = loopctl.status(fd)
            if status is None:
                return False
            if status.read_only and not read_only:
                raise HostError(f"cannot attach {path}: it is already attached read-only as {device}")
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
                if loopctl.status(fd) is not None:
                    continue  # taken meanwhile; a call of `configure` would claim it, so that its mount fails (EBUSY)
                loopctl.configure(fd, file, path, read_only=read_only, direct_io=direct_io, block_size=block_size)
                _set_read_only(fd, False)  # possibly set for an earlier file; does not undo `read_only`
                if direct_io:
                    loopctl.set_direct_io(fd)
                return number
        except OSError as error:
            # EBUSY: another process took it between the two calls. ENXIO, ENOENT: it was removed.
            if error.errno not in (errno.EBUSY, *_GONE):
                raise
        time.sleep(random.random() * min(attempt, 10) / 1000)  # noqa: S311 - jitter, not cryptography
    raise HostError(f"cannot attach {path}: no loop device could be obtained in {_ATTEMPTS} attempts")


def _first_of_racers(path: str, state: os.stat_result, number: int, *, read_only: bool) -> str:
    """The device with the lower number, if a process with a /dev of its own, and so without the lock, attached the file as well."""
    mine = loopctl.node(number)
    first = ""
    try:
        first = _already_attached(path, state, read_only=read_only, mine=mine) or mine
    finally:
        if first != mine:  # also if the file has become inaccessible
            _detach(mine, lambda status: status.shows(state))
    return first


def detach_file(device: str, *, expected: str, file: str = "", flush: bool = True) -> bool:
    """Flush and detach a loop device, unless it is free or now has another file. Returns whether it was detached.

    Args:
        expected: the `identity` of the device when it was attached. The kernel reuses freed devices, so the name alone may
            belong to another volume.
        file: the path of its file, used for the comparison if the share is dead and the file cannot be accessed.
        flush: False for a dead share. Blocks that are not written yet are lost.

    Raises:
        HostError: the device is mounted, claimed by another device, or open, or the flush failed; it stays attached.
    """
    is_right = _is_still(device, expected) or identities.shows(device, file)
    return is_right and _detach(device, lambda status: _has_identity(status, expected), file=file, flush=flush)


def detach_from(path: str, *, read_only: bool | None = None, file: os.stat_result | None = None) -> None:
    """Detach the loop device of the whole file (or block device) at `path`, if there is one.

    Args:
        read_only, file: as in `find_attached`.

    Raises:
        HostError: as `detach_file`; or the file is missing or no longer `file`.
    """
    with kernel.named(f"cannot detach the loop device of {path}"):
        found = file or os.stat(path)  # noqa: PTH116 - follows links, as the kernel did
    if device := find_attached(path, read_only=read_only, file=found):
        _detach(device, lambda status: status.shows(found) and read_only in (None, status.read_only))


def _detach(device: str, is_right: Callable[[loopctl.Status], bool], *, file: str = "", flush: bool = True) -> bool:
    """Detach the loop device if `is_right` holds after the exclusive open: it may have been reused. See `detach_file`."""
    try:
        with kernel.opened(device, os.O_RDONLY | os.O_EXCL, patience=CLAIM_SECONDS) as fd:
            number = _number_if_right(fd, is_right, device, file)
            if number is None:
                return False
            if flush and not is_read_only(device):
                with kernel.named(f"cannot flush {device}"):
                    os.fsync(fd)  # a writer's close flushes only if it is the last; the detach drops what remains
            shown = loopctl.backing_path(number)
            loopctl.clear(fd)
            _set_read_only(fd, False)  # the flag outlives the file and would affect the next file
    except OSError as error:
        if error.errno in _GONE:
            return False
        in_use = "it is in use: mounted, here or in another mount namespace, or part of another device"
        reason = in_use if error.errno == errno.EBUSY else error.strerror
        raise HostError(f"cannot detach {device}: {reason}") from error
    deadline = time.monotonic() + DETACH_SECONDS  # if there is another opener, the kernel detaches later
    pause = 0.0005
    while loopctl.backing_path(number) == shown:
        if time.monotonic() > deadline:
            raise HostError(f"cannot detach {device}: another process has it open, and must close it first")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return True


def _number_if_right(fd: int, is_right: Callable[[loopctl.Status], bool], device: str, file: str) -> int | None:
    """The number of an open loop device if `is_right` holds. Raises OSError if its share is dead and `file` does not match."""
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
    """Update a loop device to the current size of its file and return it."""
    with kernel.named(f"cannot refresh the size of {device}"), kernel.opened(device, os.O_RDWR) as fd:
        loopctl.refresh(fd)
        return open_size(fd, device)
