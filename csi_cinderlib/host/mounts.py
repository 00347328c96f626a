"""Mounting, binding, unmounting by system calls, and the mount table of this thread's mount namespace."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

from csi_cinderlib.errors import HostError, InvalidRequest
from csi_cinderlib.host import kernel, kernel_log
from csi_cinderlib.host.mountoptions import parse, rejected, without_selinux
from csi_cinderlib.host.mounttable import Mount, table

__all__ = [
    "Mount",
    "bind",
    "bind_read_only",
    "by_device",
    "find",
    "find_all",
    "is_dead",
    "mount",
    "set_propagation",
    "table",
    "unmount",
    "unmount_uppermost",
]

_MS_RDONLY = 1
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_UMOUNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

_PROPAGATION = {"unbindable": 1 << 17, "private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20}
_KEPT_BY_REMOUNT = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}

_FLAGS_FIELD = "volume_capability.mount.mount_flags"


def mount(source: str, target: str, fs_type: str, options: Sequence[str] = ()) -> None:
    """Mount a file system.

    Args:
        options: as after `mount -o`, one or several in each item. What the kernel's mount flags do not cover goes to the
            file system; what only `mount(8)` and fstab know (`_netdev`, `x-...`) is left out.

    Raises:
        InvalidRequest: the file system does not know one of the options; names it.
        HostError: anything else.
    """
    parsed = parse(options)
    data = ",".join(parsed.data)
    with kernel_log.listening(source, fs_type) as logged:
        try:
            kernel.call(
                "mount", os.fsencode(source), os.fsencode(target), fs_type.encode(), parsed.flags, data.encode()
            )
        except OSError as error:
            if error.errno == errno.EINVAL:
                _refuse_unknown(fs_type, parsed.data)
            hint = "; no such file system in this kernel" if error.errno == errno.ENODEV else ""
            said = f" (kernel log: {lines})" if (lines := logged()) else ""
            raise HostError(f"mounting {source} on {target} as {fs_type}: {error.strerror}{hint}{said}") from error


def _refuse_unknown(fs_type: str, data: Sequence[str]) -> None:
    """Raises InvalidRequest when mounting failed because of an option, and names it."""
    if unknown := rejected(fs_type, data):
        raise InvalidRequest(_FLAGS_FIELD, f"{fs_type} does not know {', '.join(unknown)}")
    if labels := without_selinux(data):
        reason = f"SELinux is not enabled on this node, so that {fs_type} takes no {', '.join(labels)}"
        raise InvalidRequest(_FLAGS_FIELD, reason)


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """Make `source` visible at `target`: a directory on a directory, or a file (a device node, say) on a file."""
    with kernel.named(f"binding {source} on {target}"):
        flags = _MS_BIND | (_MS_REC if recursive else 0)
        kernel.call("mount", os.fsencode(source), os.fsencode(target), None, flags, None)


def bind_read_only(source: str, target: str) -> None:
    """`bind`, then make this one mount read-only. It does not keep writes from a device node: `devices.attach_file`
    makes a read-only view of a device.
    """
    bind(source, target)
    try:
        with kernel.named(f"making {target} read-only"):
            here = find(target)
            kept = sum(flag for name, flag in _KEPT_BY_REMOUNT.items() if here and name in here.options)
            kernel.call("mount", b"none", os.fsencode(target), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept, None)
    except BaseException:
        _unmount_one(target, _UMOUNT_NOFOLLOW)
        raise


_BUSY_WAITS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2)


def unmount(path: str, *, lazy: bool = False) -> int:
    """Unmount everything that is mounted on `path`, layer by layer.

    Args:
        lazy: take it out of sight although it is in use. Data may still be written after the answer: never for a
            volume that another node may get next.

    Returns:
        How many layers there were; 0 when nothing was mounted, or `path` does not exist.

    Raises:
        HostError: in use, or it cannot be unmounted.
    """
    where = _normal(path)
    layers = 0
    while _unmount_one(where, _UMOUNT_NOFOLLOW | (_UMOUNT_DETACH if lazy else 0)):
        layers += 1
    if find(where):
        raise HostError(f"unmounting {path}: the kernel does not let this mount go")
    return layers


def unmount_uppermost(path: str) -> None:
    """Unmount one layer, the uppermost.

    Raises:
        HostError: nothing is mounted there, it is in use, or it cannot be unmounted.
    """
    if not _unmount_one(_normal(path), _UMOUNT_NOFOLLOW):
        raise HostError(f"unmounting {path}: the kernel does not let this mount go")


def _unmount_one(path: str, flags: int) -> bool:
    """Busy may mean a moment only: a child process that another thread just started holds a copy of every file that was open
    here, close-on-exec or not, until its exec.
    """
    waits = iter(_BUSY_WAITS)
    while True:
        try:
            kernel.call("umount2", os.fsencode(path), flags)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return False
            if error.errno == errno.EBUSY and (wait := next(waits, 0.0)):
                time.sleep(wait)
                continue
            reason = "it is in use" if error.errno == errno.EBUSY else error.strerror
            raise HostError(f"unmounting {path}: {reason}") from error
        return True


def find(path: str) -> Mount | None:
    """The uppermost mount on exactly this path."""
    return (find_all(path) or (None,))[-1]


def find_all(path: str) -> tuple[Mount, ...]:
    """All layers mounted on exactly this path, the uppermost last."""
    where = _normal(path)
    return tuple(item for item in table() if item.target == where)


def _normal(path: str) -> str:
    # The last part is not followed: it may be a mount that no longer answers, and unmounting must not follow it either.
    parent, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - without touching the last part
    return os.path.join(os.path.realpath(parent), name)  # noqa: PTH118


def by_device(device: str, *, among: Sequence[Mount] | None = None) -> tuple[Mount, ...]:
    """Where a block device is mounted, and where its node is bound, in the order of mounting.

    Args:
        among: the mounts to look at, for one who asks several questions; the whole table if not given.
    """
    with kernel.named(f"looking for mounts of {device}"):
        number = Path(device).stat().st_rdev
    return tuple(item for item in (table() if among is None else among) if _is_of(item, number))


def _is_of(item: Mount, number: int) -> bool:
    if item.device == number:
        return True
    # btrfs shows a number of its own in the table; a bound node shows that of the file system it lies in.
    if not item.node.startswith("/"):
        return False
    try:
        return Path(item.node).stat().st_rdev == number
    except OSError:
        return False


def is_dead(item: Mount) -> bool:
    """Whether the block device behind a mount is gone, or shows a size of 0. What has no block device is never dead."""
    number = item.device
    if item.is_bound_node or item.fs_type == "btrfs":
        try:
            number = Path(item.node).stat().st_rdev
        except OSError:
            return True
    if not os.major(number):
        return False
    try:
        return not int(Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/size").read_text())
    except OSError:
        return True


def set_propagation(path: str, kind: str, *, recursive: bool = False) -> None:
    """Make a mount "shared", "slave", "private" or "unbindable" (mount_namespaces(7))."""
    with kernel.named(f"making {path} {kind}"):
        flags = _PROPAGATION[kind] | (_MS_REC if recursive else 0)
        kernel.call("mount", b"none", os.fsencode(path), None, flags, None)
