"""Whether a staged volume works: its device, its mount, a read."""

from __future__ import annotations

import contextlib
import mmap
import os

from csi_cinderlib.brick import scsi
from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, filesystems, kernel, shown_files
from csi_cinderlib.host.mounts import Mount

_WORKING = frozenset({"running"})
_RECOVERING = frozenset({"blocked", "quiesce", "created", "created-blocked"})
"""The transport lost the disk a moment ago and waits for it (iSCSI: replacement_timeout)."""
_BROKEN = frozenset({"emergency_ro", "shutdown"})


def device_problem(device: Device) -> str:
    """Why this is not the device that was connected, or not a working one; "" when it is."""
    return _problem(device, _WORKING)


def replaced(device: Device) -> str:
    """Why the disk itself answers as another one than the kernel found there: the array gave its address away; "" when not.

    Asks the disk, so only where a short wait for one that hangs does no harm.
    """
    if device.file:
        return ""
    try:
        if other := scsi.stale(device.path):
            return f"{device.path} now identifies as a different volume: {', '.join(other)}"
    except HostError as error:
        return str(error)
    return ""


def lost(device: Device) -> str:
    """Why nothing can be written to it any more; "" while a path works, or the kernel still tries to bring one back."""
    return _problem(device, _WORKING | _RECOVERING)


def is_without_paths(device: Device) -> bool:
    """Whether a map has no path that works, and the kernel tries to bring none back. Asks nothing of the device, which may queue that."""
    try:
        is_here = device.multipath and devices.identity(device.path) == device.wwid
        return is_here and bool(_paths_problem(device, _WORKING | _RECOVERING))
    except HostError:
        return False


def _problem(device: Device, usable: frozenset[str]) -> str:
    if not devices_exists(device.path):
        return f"the device {device.path} is gone"
    try:
        shown = shown_files.shown_file(device.path)
        now = shown.identity if shown else devices.identity(device.path)
        if now != device.wwid:
            return f"{device.path} is {now or 'unknown'} and no longer {device.wwid or 'unknown'}"
        if not (shown.size if shown else devices.size(device.path)):
            return f"the device {device.path} shows a size of 0"
        if device.file and not (shown and shown.is_at(device.file)):
            return f"{device.file} is gone, or was replaced by another file"
        return "" if shown and not device.multipath else _paths_problem(device, usable)
    except HostError as error:
        return str(error)


def _paths_problem(device: Device, usable: frozenset[str]) -> str:
    states = {disk.name: disk.state for disk in scsi.disks(device.path)}
    if device.multipath and not states:
        return f"no path of {device.path} is left"
    if states and not usable & set(states.values()):
        return f"no path of {device.path} works: {', '.join(f'{name} {state}' for name, state in states.items())}"
    return ""


def devices_exists(path: str) -> bool:
    """Whether there is a block device; also False when the question itself fails."""
    with contextlib.suppress(HostError):
        return devices.is_block_device(path)
    return False


def mount_problem(mount: Mount, *, read_only: bool) -> str:
    """Why a mount does not work as it was made; "" when it does.

    Args:
        read_only: it was mounted read-only on purpose.
    """
    if broken := _BROKEN & set(mount.super_options):
        return f"the file system is in the state {', '.join(sorted(broken))}: it stopped after an error"
    if "ro" in mount.super_options and not read_only:
        return "an error made the file system read-only"
    try:
        os.statvfs(mount.target)
        next(os.scandir(mount.target), None)
    except OSError as error:
        return f"the file system does not answer: {error.strerror}"
    return ""


def errors_noted(device: str) -> str:
    """What ext4 has noted in its superblock; "" when there is nothing, or it is another file system."""
    count = filesystems.count_errors(device)
    return f"the file system has recorded {count} errors and must be checked by e2fsck" if count else ""


def read_problem(device: str) -> str:
    """Why the first block cannot be read; "" when it can. May never return."""
    try:
        with kernel.opened(device, os.O_RDONLY | os.O_DIRECT) as fd, mmap.mmap(-1, devices.BLOCK_SIZE) as buffer:
            os.preadv(fd, [buffer], 0)
    except OSError as error:
        return f"reading {device}: {error.strerror}"
    return ""
