"""The mappings of the kernel's device mapper, by its own interface (linux/dm-ioctl.h).

sysfs and the nodes in /dev/mapper do not show every mapping: a program that was killed may leave one without a table or without a node.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel
from csi_cinderlib.host.identities import SYSFS

CONTROL = "/dev/mapper/control"
BUSY_SECONDS = 5.0
"""How long a removal waits for short users, such as a udev that looks at the device."""
_MISC = "/proc/misc"
_HEAD = struct.Struct("=6IiIIIQ128s129s7x")
_LIST, _REMOVE, _STATUS, _DEPENDENCIES = 2, 4, 7, 11
_REQUEST = 0xC000FD00 | _HEAD.size << 16
_VERSION = (4, 0, 0)
_ACTIVE, _FULL, _DEFERRED = 1 << 5, 1 << 8, 1 << 17
_ENTRY = struct.Struct("=QI")
_ROOM, _LIST_ROOM = 1024, 1024**2
_ABSENT = (errno.ENOENT, errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping in the kernel.

    Attributes:
        number: its device number.
        active: it has a table. Without one it has no node either.
        deferred: the kernel removes it when its last user closes it.
        below: kernel names of the devices under it, such as `sdb`, or the number of one that is gone, such as `8:16`.
    """

    name: str
    uuid: str
    number: int
    active: bool
    deferred: bool = False
    below: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The kernel's own node, which exists as long as the mapping is active."""
        return f"/dev/dm-{os.minor(self.number)}"


def find(name: str) -> Mapping | None:
    """The mapping of that name, active or not. Sends no I/O. Raises HostError."""
    with kernel.named(f"cannot look for the mapping {name}"), _control() as control:
        if control is None:
            return None
        try:
            flags, number, uuid, _ = _ask(control, _STATUS, name)
            below = _below(_ask(control, _DEPENDENCIES, name)[3]) if flags & _ACTIVE else ()
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise
        return Mapping(name, uuid, number, active=bool(flags & _ACTIVE), deferred=bool(flags & _DEFERRED), below=below)


def names() -> tuple[str, ...]:
    """The names of all mappings. Raises HostError."""
    with kernel.named("cannot list the mappings"), _control() as control:
        if control is None:
            return ()
        flags, _, _, data = _ask(control, _LIST, "", room=_LIST_ROOM)
        if flags & _FULL:
            raise HostError("cannot list the mappings: there are too many")
        return tuple(_listed(data))


def _listed(data: bytes) -> Iterator[str]:
    """The names in an answer: entries of a device number, the distance to the next entry (0 for the last) and a name."""
    place, step = 0, _ENTRY.unpack_from(data)[0] and 1
    while step:
        _, step = _ENTRY.unpack_from(data, place)
        start = place + _ENTRY.size
        yield data[start : data.index(b"\0", start)].decode(errors="replace")
        place += step


def remove(name: str, *, deferred: bool = False) -> None:
    """Remove a mapping with its node in /dev/mapper, if there is one.

    Args:
        deferred: if it is in use, the kernel removes it when its last user closes it.

    Raises:
        HostError: it is in use.
    """
    found = find(name)
    if found is None:
        return
    with kernel.named(f"cannot remove the mapping {name}"), _control() as control:
        assert control is not None
        deadline = time.monotonic() + BUSY_SECONDS
        while not _removed(control, name, deferred=deferred, last=time.monotonic() >= deadline):
            time.sleep(0.05)
    _remove_node(Path("/dev/mapper", name), found.number)


def _removed(control: int, name: str, *, deferred: bool, last: bool) -> bool:
    try:
        _ask(control, _REMOVE, name, _DEFERRED if deferred else 0)
    except OSError as error:
        if error.errno == errno.EBUSY and not last:
            return False
        if error.errno != errno.ENXIO:
            raise
    return True


def _remove_node(path: Path, number: int) -> None:
    """Remove the node that a program has made, unless it is of another device. udev removes its own link itself."""
    with contextlib.suppress(OSError):
        try:
            shown = path.stat().st_rdev
        except FileNotFoundError:  # a link to a device that is gone
            shown = number
        if shown == number:
            path.unlink()


@contextmanager
def _control() -> Iterator[int | None]:
    """The open device mapper; None if the kernel has none, and therefore no mappings. Raises OSError."""
    with contextlib.ExitStack() as stack:
        try:
            control: int | None = stack.enter_context(kernel.opened(CONTROL, os.O_RDWR))
        except OSError as error:
            if error.errno not in _ABSENT or b"device-mapper" in kernel.read(_MISC):
                raise
            control = None
        yield control


def _ask(control: int, command: int, name: str, flags: int = 0, *, room: int = _ROOM) -> tuple[int, int, str, bytes]:
    """Flags, device number, UUID and data of the answer. Raises OSError."""
    buffer = bytearray(_HEAD.size + room)
    _HEAD.pack_into(buffer, 0, *_VERSION, len(buffer), _HEAD.size, 0, 0, flags, 0, 0, 0, name.encode(), b"")
    kernel.ioctl(control, _REQUEST | command, buffer)
    answer = _HEAD.unpack_from(buffer)
    uuid = answer[12].partition(b"\0")[0].decode(errors="replace")
    return answer[7], answer[10], uuid, bytes(buffer[answer[4] :])


def _below(data: bytes) -> tuple[str, ...]:
    """The devices in an answer with dependencies: a number, padding, then the device numbers. Raises OSError."""
    (count,) = struct.unpack_from("=I", data)
    return tuple(sorted(_name_of(number) for number in struct.unpack_from(f"={count}Q", data, 8)))


def _name_of(number: int) -> str:
    """The kernel's name of a device; its number if it is gone, which a mapping may outlive. Raises OSError."""
    shown = f"{os.major(number)}:{os.minor(number)}"
    try:
        return os.path.basename(os.readlink(f"{SYSFS}/{shown}"))  # noqa: PTH115, PTH119
    except FileNotFoundError:
        return shown
