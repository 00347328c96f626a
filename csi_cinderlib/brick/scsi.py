"""SCSI disks below a volume: its paths, their rescan, and their current identity (promises 2 and 13)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import commands, identities, kernel
from csi_cinderlib.model.size import Bytes

_SECTOR = 512
_SG_IO = 0x2285
_FROM_DEVICE = -3
_RESIZE_SECONDS = 30.0
_CLAIM_SECONDS = 2.0
_CLAIM_INTERVAL = 0.02
_CLAIM_LOOKS = 8
"""The minimum number of checks. If checks are slow, multipathd also takes longer to list a disk."""
_MULTIPATHD = "\0/org/kernel/linux/storage/multipathd"
_BUSY_SECONDS = 3.0
"""The time for udev and multipathd to release a map."""


@dataclass(frozen=True, slots=True)
class Disk:
    """One path to a volume, such as `sdb`."""

    name: str
    where: Path

    @property
    def size(self) -> Bytes:
        return Bytes(int((self.where / "size").read_text()) * _SECTOR)

    @property
    def state(self) -> str:
        """The kernel's state: "running", "offline", "transport-offline", "blocked", ..."""
        try:
            return (self.where / "device" / "state").read_text().strip()
        except OSError:
            return "gone"


def disks(device: str) -> tuple[Disk, ...]:
    """The SCSI disks of a device: itself, or the paths of a multipath map; empty for other devices."""
    with kernel.named(f"cannot read the paths of {device}"):
        where = identities.sysfs(device)
        below = sorted((where / "slaves").iterdir()) if (where / "dm").is_dir() else [where]
        resolved = [item.resolve() for item in below]
    return tuple(Disk(item.name, item) for item in resolved if (item / "device" / "scsi_disk").is_dir())


def wwid(device: str) -> str:
    """The name of a SCSI disk, or of a map's disks, as the kernel read it from VPD page 0x83; "" if it has none.

    Raises:
        HostError: the device does not exist.
    """
    for disk in disks(device):
        with contextlib.suppress(OSError):  # the page or the path is missing
            if name := identities.designator((disk.where / "device" / "vpd_pg83").read_bytes()):
                return name
    return ""


def map_name(device: str) -> str:
    """The name of a device-mapper device; "" for other devices."""
    with kernel.named(f"cannot read the map name of {device}"):
        try:
            return (identities.sysfs(device) / "dm" / "name").read_text().strip()
        except FileNotFoundError:
            return ""


def map_over(device: str) -> str:
    """The multipath map that uses this disk, or "": multipathd may claim any new disk (promise 21)."""
    with kernel.named(f"cannot read the holders of {device}"):
        for holder in sorted((identities.sysfs(device) / "holders").iterdir()):
            if (holder / "dm" / "uuid").read_text().startswith("mpath-"):
                return f"/dev/{holder.name}"
    return ""


def settled_map(device: str) -> str:
    """`map_over`, after multipathd has seen a new disk and decided whether to use it.

    multipathd does so shortly after the kernel shows the disk. Using the disk before that fails ("in use") or, worse, succeeds below
    the map. For a disk excluded by multipathd's configuration, this waits for the maximum time that multipathd needs to see a disk.
    """
    found = map_over(device)
    if found or map_name(device) or not disks(device) or not _multipathd_runs():
        return found
    deadline = time.monotonic() + _CLAIM_SECONDS
    looks = 0
    while not found and (looks < _CLAIM_LOOKS or time.monotonic() < deadline):
        looks += 1
        is_seen = _is_seen_by_multipathd(device)
        found = map_over(device)
        if is_seen:
            break
        time.sleep(_CLAIM_INTERVAL)
    return found


def _is_seen_by_multipathd(device: str) -> bool:
    """Whether multipathd lists the disk among its paths. It creates a map in the same step, so no map will follow later."""
    with contextlib.suppress(HostError):  # multipathd is not installed, or is busy
        said = commands.run(["multipathd", "show", "paths", "raw", "format", "%d"], timeout=_CLAIM_SECONDS).stdout
        return Path(device).name in said.split()
    return False


def _multipathd_runs() -> bool:
    """Checks its socket, which a node in a container can also reach, since it uses the host's network namespace."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(_MULTIPATHD)
        return True
    return False


def stop_queueing(device: str) -> None:
    """Fail the I/O of a map without a working path. Depending on its configuration, it may otherwise wait forever."""
    with contextlib.suppress(HostError):
        if name := map_name(device):
            commands.run(["multipathd", "disablequeueing", "map", name], timeout=_RESIZE_SECONDS)


def take_offline(device: str) -> None:
    """Fail all I/O on every path of the device until the path is deleted and found again. Other devices are not affected.

    Raises:
        HostError: a path that works, or may recover, cannot be taken offline.
    """
    for disk in disks(device):
        if disk.state in ("running", "blocked", "quiesce"):
            with kernel.named(f"cannot take {disk.name} offline"):
                (disk.where / "device" / "state").write_text("offline\n")  # the kernel compares up to the newline


def remove_map(device: str) -> None:
    """Remove a map. A map whose paths have all disappeared cannot be found by its paths (promise 5).

    Raises:
        HostError: the map is in use.
    """
    name = map_name(device)
    deadline = time.monotonic() + _BUSY_SECONDS
    while name:
        if not commands.run(["multipath", "-f", name], timeout=_RESIZE_SECONDS, ok=(0, 1)).code or not map_name(device):
            return
        if time.monotonic() > deadline:
            raise HostError(f"cannot remove the multipath map {name}: it is in use")
        time.sleep(0.5)


def rescan(device: str, expected: Bytes) -> None:
    """Refresh the size of every path, then of the multipath map.

    Raises:
        HostError: a path is down or still shows less than expected. If a map were larger than one of its paths, writes through
            that path would fail. The caller retries when the path has recovered.
    """
    paths = disks(device)
    with kernel.named(f"cannot rescan {device}"):
        for disk in paths:
            (disk.where / "device" / "rescan").write_text("1")
        short = [f"{disk.name} ({disk.state}, {disk.size} bytes)" for disk in paths if disk.size < expected]
    if short:
        raise HostError(
            f"{device}: {len(short)} of {len(paths)} paths do not show the new size of {expected} bytes yet: {', '.join(short)}"
        )
    if paths and (name := map_name(device)):
        _resize_map(name)


def _resize_map(name: str) -> None:
    deadline = time.monotonic() + _RESIZE_SECONDS
    while True:
        # The exit code is 0 even if the output is "fail" or "timeout"; the latter while multipathd reloads its configuration.
        said = commands.run(["multipathd", "resize", "map", name], timeout=_RESIZE_SECONDS).stdout.strip()
        if "timeout" not in said or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    if "fail" in said or "timeout" in said:
        raise HostError(f"cannot resize the multipath map {name}: multipathd: {said}")


def stale(device: str) -> tuple[str, ...]:
    """Paths whose disk differs from the disk recorded by the kernel: the array reused the address for another volume.

    The kernel reads a disk's name only once, when it finds the disk; this function queries the disk. Disks that do not answer or
    have no name are not included: connecting to them fails with its own error.
    """
    return tuple(disk.name for disk in disks(device) if disk.state == "running" and _differs(disk))


def _differs(disk: Disk) -> bool:
    try:
        remembered = identities.designator((disk.where / "device" / "vpd_pg83").read_bytes())
        now = identities.designator(_inquire(f"/dev/{disk.name}", 0x83))
    except OSError:
        return False
    return bool(remembered) and bool(now) and remembered != now


class _SgIo(ctypes.Structure):
    """struct sg_io_hdr of scsi/sg.h."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


def _inquire(device: str, page: int, *, seconds: int = 5) -> bytes:
    """Read a vital product data page from the disk. Raises OSError if the disk does not respond."""
    length = 252
    command = ctypes.create_string_buffer(bytes((0x12, 1, page, 0, length, 0)), 6)
    data = ctypes.create_string_buffer(length)
    sense = ctypes.create_string_buffer(32)
    header = _SgIo(
        interface_id=ord("S"),
        dxfer_direction=_FROM_DEVICE,
        cmd_len=6,
        mx_sb_len=32,
        dxfer_len=length,
        dxferp=ctypes.addressof(data),
        cmdp=ctypes.addressof(command),
        sbp=ctypes.addressof(sense),
        timeout=seconds * 1000,
    )
    with kernel.opened(device, os.O_RDONLY | os.O_NONBLOCK) as fd:
        buffer = bytearray(header)
        kernel.ioctl(fd, _SG_IO, buffer)
    answer = _SgIo.from_buffer_copy(buffer)
    if answer.status or answer.host_status or answer.driver_status & 7:
        raise OSError(f"{device} rejected the SCSI inquiry (status {answer.status}, host {answer.host_status})")
    return data.raw[: length - answer.resid]
