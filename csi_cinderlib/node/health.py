"""Health checks of a staged volume: its device, its mount, a read."""

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
"""The transport has lost the disk and waits for it (iSCSI: replacement_timeout)."""
_BROKEN = frozenset({"emergency_ro", "shutdown"})


def device_problem(device: Device) -> str:
    """Why this is not the connected device or does not work; "" if it is and works."""
    return _problem(device, _WORKING)


def replaced(device: Device) -> str:
    """Why the disk identifies as a different one than the kernel has found: the array has reassigned its address; "" if it does not.

    Sends a command to the disk. Use it only if a short wait for a hanging disk does no harm.
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
    """Why the device cannot be written any more; "" while a path works or the kernel still tries to restore one."""
    return _problem(device, _WORKING | _RECOVERING)


def is_without_paths(device: Device) -> bool:
    """Whether a multipath map has no working path and the kernel does not try to restore one. Sends no I/O, which may be queued."""
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
            return f"{device.path} identifies as {now or 'unknown'}, expected {device.wwid or 'unknown'}"
        if not (shown.size if shown else devices.size(device.path)):
            return f"the device {device.path} has a size of 0"
        if device.file and not (shown and shown.is_at(device.file)):
            return f"{device.file} was removed or replaced by another file"
        return "" if shown and not device.multipath else _paths_problem(device, usable)
    except HostError as error:
        return str(error)


def _paths_problem(device: Device, usable: frozenset[str]) -> str:
    states = {disk.name: disk.state for disk in scsi.disks(device.path)}
    if device.multipath and not states:
        return f"{device.path} has no paths left"
    if states and not usable & set(states.values()):
        return f"{device.path} has no working path: {', '.join(f'{name} {state}' for name, state in states.items())}"
    return ""


def devices_exists(path: str) -> bool:
    """Whether there is a block device; False also if that cannot be determined."""
    with contextlib.suppress(HostError):
        return devices.is_block_device(path)
    return False


def mount_problem(mount: Mount, *, read_only: bool) -> str:
    """Why a mount no longer works; "" if it works.

    Args:
        read_only: the volume was mounted read-only intentionally.
    """
    if broken := _BROKEN & set(mount.super_options):
        return f"the file system has stopped after an error (state: {', '.join(sorted(broken))})"
    if "ro" in mount.super_options and not read_only:
        return "the file system became read-only after an error"
    try:
        os.statvfs(mount.target)
        next(os.scandir(mount.target), None)
    except OSError as error:
        return f"cannot read the file system: {error.strerror}"
    return ""


def errors_noted(device: str) -> str:
    """The errors that ext4 has recorded in its superblock; "" if there are none, or for another file system."""
    count = filesystems.count_errors(device)
    return f"the file system has recorded {count} errors and must be checked by e2fsck" if count else ""


def read_problem(device: str) -> str:
    """Why the first block cannot be read; "" if it can. May never return."""
    try:
        with kernel.opened(device, os.O_RDONLY | os.O_DIRECT) as fd, mmap.mmap(-1, devices.BLOCK_SIZE) as buffer:
            os.preadv(fd, [buffer], 0)
    except OSError as error:
        return f"cannot read {device}: {error.strerror}"
    return ""
