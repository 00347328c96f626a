"""Identities of block devices, independent of their paths. A stage record recognises its device by them (promise 2)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel, loopctl

SYSFS = Path("/sys/dev/block")
"""The kernel's block devices by number."""

_DELETED = " (deleted)"
_LUN = 0
_BINARY = 1
_NAA, _EUI, _T10 = 3, 2, 1
_DESIGNATORS = (_NAA, _EUI, _T10)
"""The designator types of VPD page 0x83, in the order of preference of udev's scsi_id."""


def sysfs(device: str) -> Path:
    """The device's directory in /sys. Raises OSError."""
    number = os.stat(device).st_rdev  # noqa: PTH116 - called often; takes a third of the time of Path's
    link = os.readlink(f"{SYSFS}/{os.major(number)}:{os.minor(number)}")  # noqa: PTH115
    return Path(os.path.normpath(f"{SYSFS}/{link}"))


def identity(device: str) -> str:
    """The identity of the storage behind the device, stable over reboots and paths; "" if it has none.

    `loop:INODE:FILE` for a file on a loop device; for a disk its WWID in multipath notation (`3600...`), the same for each
    path and for the multipath map; `dm:UUID`, `rbd:...` or `serial:...` for other devices.

    Raises:
        HostError: the device does not exist.
    """
    with kernel.named(f"cannot identify {device}"):
        where = sysfs(device)
        if where.name.startswith("loop"):
            with kernel.opened(device, os.O_RDONLY) as fd:
                status = loopctl.status(fd)
            return of_loop(status)
        return _mapped(where) or _disk(where) or _rbd(where)


def shows(device: str, file: str) -> bool:
    """Whether a loop device has the file at that path, according to the kernel's record of the attachment. The file and its
    share are not contacted. False is no proof: a restarted container sees another path.

    The kernel reports each file on a dead share as "deleted".
    """
    try:
        noted = os.fsdecode(kernel.read(f"{sysfs(device)}/loop/backing_file")).removesuffix("\n")
    except OSError:
        return False
    return bool(file) and noted in (file, f"{file}{_DELETED}")


def of_loop(status: loopctl.Status | None) -> str:
    """`identity` of a loop device with this status. Raises HostError."""
    if status is None:
        return ""
    shown = loopctl.backing_path(status.number)
    if status.backing_device:
        return identity(shown)
    return f"loop:{status.inode}:{Path(shown.removesuffix(_DELETED)).name}"


def of_loop_on(device: str, file: os.stat_result) -> str:
    """`identity` of a loop device that was attached for this file.

    Raises:
        HostError: it now shows another file or none, because another process has detached it.
    """
    with kernel.named(f"cannot identify {device}"), kernel.opened(device, os.O_RDONLY) as fd:
        status = loopctl.status(fd)
    if status is None or not status.shows(file):
        raise HostError(f"{device} was detached by another process, and may show another file")
    return of_loop(status)


def _mapped(where: Path) -> str:
    uuid = _read(where / "dm" / "uuid")
    return uuid.removeprefix("mpath-") if uuid.startswith("mpath-") else uuid and f"dm:{uuid}"


def _disk(where: Path) -> str:
    try:
        page = (where / "device" / "vpd_pg83").read_bytes()
    except OSError:
        page = b""
    wwid = designator(page) or wwid_of(_read(where / "device" / "wwid") or _read(where / "wwid"))
    if wwid:
        return wwid
    serial = _read(where / "serial") or _read(where / "device" / "serial")
    return serial and f"serial:{serial}"


def _rbd(where: Path) -> str:
    cluster, pool, image = (_read(where / "device" / name) for name in ("cluster_fsid", "pool_id", "image_id"))
    return f"rbd:{cluster}:{pool}:{image}" if image else ""


def wwid_of(text: str) -> str:
    """The `naa.600...` of sysfs in multipath notation; `uuid.` and `nvme.` of NVMe are unchanged."""
    kind, _, value = text.partition(".")
    if kind == "naa":
        return f"{_NAA}{value.lower()}"
    return text.strip()


def designator(page: bytes) -> str:
    """The logical unit's name in a VPD page 0x83 (SPC-4, 7.8.6), in multipath notation; "" if there is none.

    The first designator of a type is used, but a NAA name of 16 bytes is preferred to one of 8.
    """
    best = (len(_DESIGNATORS), 0, "")
    offset = 4
    while offset + 4 <= len(page):
        codes, kind, _, length = struct.unpack_from(">4B", page, offset)
        body = page[offset + 4 : offset + 4 + length]
        offset += 4 + length
        association, kind = kind >> 4 & 3, kind & 15
        if association != _LUN or kind not in _DESIGNATORS or len(body) < length:
            continue
        text = body.hex() if codes & 15 == _BINARY else "_".join(body.decode("ascii", "replace").strip().split())
        best = min(best, (_DESIGNATORS.index(kind), -length, f"{kind}{text}"), key=lambda found: found[:2])
    return best[2]


def _read(path: Path) -> str:
    try:
        return kernel.read(str(path)).decode(errors="replace").strip("\0\n ")
    except OSError:
        return ""
