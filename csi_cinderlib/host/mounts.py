"""Mount, bind mount and unmount by system calls, and the mount table of this thread's mount namespace.

Symbolic links in paths are never followed, even if a link is created between the check of a path and the call.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from csi_cinderlib.errors import HostError, InvalidRequest
from csi_cinderlib.host import kernel, kernel_log, resolving
from csi_cinderlib.host.mountoptions import names_of, parse, rejected, security_labels
from csi_cinderlib.host.mounttable import Mount, table

__all__ = [
    "Mount",
    "NeedsWriting",
    "bind",
    "bind_flags",
    "bind_with",
    "bound_node",
    "by_device",
    "cover_of",
    "device_path",
    "find",
    "find_all",
    "hidden",
    "is_dead",
    "is_whole_device",
    "mount",
    "of_file_system",
    "set_propagation",
    "table",
    "unmount",
    "unmount_uppermost",
    "uppermost",
]

_MS_RDONLY = 1
_MS_REMOUNT = 32
_MS_BIND = 4096
_MS_REC = 16384
_UMOUNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

_PROPAGATION = {"unbindable": 1 << 17, "private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20}
_MS_NOATIME = 1024
_MS_RELATIME = 1 << 21
_MS_STRICTATIME = 1 << 24
_OF_ONE_MOUNT = {
    "ro": _MS_RDONLY,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "nosymfollow": 256,
    "noatime": _MS_NOATIME,
    "nodiratime": 2048,
    "relatime": _MS_RELATIME,
}
"""Flags of a single mount, as opposed to the file system. strictatime is the absence of noatime and relatime."""

SELINUX = Path("/sys/fs/selinux")
"""Exists while SELinux is enabled."""
_FLAGS_FIELD = "volume_capability.mount.mount_flags"


class NeedsWriting(HostError):
    """A file system cannot be mounted because its device is read-only."""


def mount(source: str, target: str, fs_type: str, options: Sequence[str] = ()) -> None:
    """Mount a file system.

    Args:
        options: as for `mount -o`, one or more in each item. Options that are not mount flags of the kernel go to the file
            system. Options only for `mount(8)` and fstab (`_netdev`, `x-...`) are dropped.

    Raises:
        InvalidRequest: the file system does not support one of the options; names it.
        NeedsWriting: the journal must be replayed, but the device is read-only.
        HostError: any other failure.
    """
    parsed = parse(options)
    data = ",".join(parsed.data)
    with kernel_log.listening(source, fs_type) as logged:
        try:
            with resolving.held(target) as place:
                kernel.call("mount", os.fsencode(source), place, fs_type.encode(), parsed.flags, data.encode())
        except OSError as error:
            if error.errno == errno.EINVAL:
                _refuse_unknown(fs_type, parsed.data)
            said = f" (kernel log: {lines})" if (lines := logged()) else ""
            failure = f"cannot mount {source} on {target} as {fs_type}"
            if error.errno == errno.EROFS:
                raise NeedsWriting(f"{failure}: {error.strerror}{said}") from error
            hint = f"; this kernel does not support {fs_type}" if error.errno == errno.ENODEV else ""
            raise HostError(f"{failure}: {error.strerror}{hint}{said}") from error


def _refuse_unknown(fs_type: str, data: Sequence[str]) -> None:
    """Raises InvalidRequest, naming the option, if the mount failed because of an option."""
    if unknown := rejected(fs_type, data):
        raise InvalidRequest(_FLAGS_FIELD, f"unsupported mount options for {fs_type}: {', '.join(unknown)}")
    if (labels := security_labels(data)) and not SELINUX.exists():
        reason = f"unsupported mount options for {fs_type}: {', '.join(labels)}; SELinux is not enabled on this node"
        raise InvalidRequest(_FLAGS_FIELD, reason)


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """Bind-mount `source` at `target`: a directory on a directory, or a file (such as a device node) on a file."""
    with kernel.named(f"cannot bind-mount {source} on {target}"):
        flags = _MS_BIND | (_MS_REC if recursive else 0)
        with resolving.held(source) as what, resolving.held(target) as place:
            kernel.call("mount", what, place, None, flags, None)


def bind_with(source: str, target: str, options: Sequence[str]) -> None:
    """`bind`, then add options such as "ro" or "noexec" to this mount, on top of those of the source (see `parse`).

    "ro" does not prevent writes to a device node: `devices.attach_file` creates a read-only view of a device.

    Raises:
        HostError: source or target is missing, or the kernel refuses; nothing is mounted then.
    """
    bind(source, target)
    try:
        with kernel.named(f"cannot set mount options of {target}"):
            here = find(target)
            flags = _MS_REMOUNT | _MS_BIND | bind_flags(here.options if here else (), parse(options).flags)
            with resolving.held(target) as place:
                kernel.call("mount", b"none", place, None, flags, None)
    except BaseException:
        _unmount_one(target, _UMOUNT_NOFOLLOW)
        raise


def bind_flags(shown: Sequence[str], asked: int) -> int:
    """All flags of a mount for a remount, which replaces them: the existing flags and the requested ones."""
    asked &= sum(_OF_ONE_MOUNT.values()) | _MS_STRICTATIME
    kept = sum(flag for name, flag in _OF_ONE_MOUNT.items() if name in shown)
    if asked & (_MS_NOATIME | _MS_RELATIME | _MS_STRICTATIME):
        kept &= ~(_MS_NOATIME | _MS_RELATIME)
    flags = kept | asked
    # The kernel defaults to relatime if none of the flags for access times is set.
    return flags if flags & (_MS_NOATIME | _MS_RELATIME) else flags | _MS_STRICTATIME


def of_file_system(options: Sequence[str]) -> tuple[str, ...]:
    """The options that apply to the whole file system and cannot be set for a bind mount."""
    words = parse(options)
    whole = words.flags & ~(sum(_OF_ONE_MOUNT.values()) | _MS_STRICTATIME)
    return (*names_of(whole), *words.data)


_BUSY_WAITS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2)


def unmount(path: str, *, lazy: bool = False) -> int:
    """Unmount all layers at `path`.

    Args:
        lazy: detach the mount although it is in use. Data may still be written afterwards: never use it for a volume that
            another node may get next.

    Returns:
        The number of layers; 0 if nothing was mounted or `path` does not exist.

    Raises:
        HostError: the mount is in use or cannot be unmounted.
    """
    where = _normal(path)
    layers = 0
    while _unmount_one(where, _UMOUNT_NOFOLLOW | (_UMOUNT_DETACH if lazy else 0)):
        layers += 1
    if find(where):
        raise HostError(f"cannot unmount {path}: the kernel does not release the mount")
    return layers


def unmount_uppermost(path: str, *, seen: Mount | None = None) -> tuple[Mount, ...]:
    """Unmount the uppermost layer.

    Args:
        seen: unmount only this mount, which was uppermost before. `path` must then be as in `uppermost`. umount2 unmounts
            any mount at the path, so the mount table is read again right before it.

    Returns:
        The mount table after the unmount.

    Raises:
        HostError: nothing or another mount is at the path, or the mount is in use or cannot be unmounted.
    """
    now = table()
    here = uppermost(path, now) if seen else find(path, among=now)
    if seen and not seen.is_same(here):
        raise HostError(_changed(seen, here))
    if here and (cover := cover_of(here, among=now)):
        raise HostError(hidden(here, cover))
    if not here or not _unmount_one(here.target, _UMOUNT_NOFOLLOW):
        raise HostError(f"cannot unmount {path}: the kernel does not release the mount")
    left = tuple(item for item in now if item is not here)
    return table() if uppermost(here.target, left) else left  # the kernel also removes a copy in a peer group


def _changed(seen: Mount, now: Mount | None) -> str:
    found = f"{now.fs_type} from {now.source} is now mounted there" if now else "nothing is mounted there any more"
    return f"cannot unmount {seen.target}: {found}, expected {seen.fs_type} from {seen.source}; try again"


def hidden(item: Mount, cover: Mount) -> str:
    """The message for a mount hidden by `cover`."""
    return (
        f"{item.target} is hidden: {cover.fs_type} from {cover.source} is mounted over it at {cover.target}; unmount that "
        "first"
    )


def _unmount_one(path: str, flags: int) -> bool:
    """Unmount one layer and return whether there was one. EBUSY is retried: a child process that another thread has just
    started holds a copy of every open file until its exec, even with close-on-exec.
    """
    waits = iter(_BUSY_WAITS)
    while True:
        try:
            with resolving.named_in_directory(path) as place:
                kernel.call("umount2", place, flags)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return False
            if error.errno == errno.EBUSY and (wait := next(waits, 0.0)):
                time.sleep(wait)
                continue
            reason = "it is in use" if error.errno == errno.EBUSY else error.strerror
            raise HostError(f"cannot unmount {path}: {reason}") from error
        return True


def find(path: str, *, among: Sequence[Mount] | None = None) -> Mount | None:
    """The uppermost mount on exactly this path. See `by_device` for `among`."""
    return (find_all(path, among=among) or (None,))[-1]


def uppermost(path: str, among: Sequence[Mount]) -> Mount | None:
    """`find` for a path without symbolic links."""
    return next((item for item in reversed(among) if item.target == path), None)


def find_all(path: str, *, among: Sequence[Mount] | None = None) -> tuple[Mount, ...]:
    """All layers mounted on exactly this path, the uppermost last. See `by_device` for `among`."""
    where = _normal(path)
    return tuple(item for item in (table() if among is None else among) if item.target == where)


def _normal(path: str) -> str:
    # The last part is not resolved: it may be a hanging mount, and unmount must not follow a link there.
    parent, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - does not access the last part
    return os.path.join(os.path.realpath(parent), name)  # noqa: PTH118


def by_device(device: str, *, among: Sequence[Mount] | None = None) -> tuple[Mount, ...]:
    """The mounts of a block device, and the bind mounts of its node, in the order of mounting.

    Args:
        among: the mounts to search, to avoid repeated reads of the table; by default the whole table.
    """
    with kernel.named(f"cannot list the mounts of {device}"):
        number = os.stat(device).st_rdev  # noqa: PTH116 - on the path of each call
    return tuple(item for item in (table() if among is None else among) if _is_of(item, number))


def _is_of(item: Mount, number: int) -> bool:
    if item.device == number:
        return True
    if node := bound_node(item):  # the table shows the number of the node's file system
        return node == number
    # btrfs shows an anonymous device number in the table.
    return not os.major(item.device) and _number_of(item.source) == number


def bound_node(item: Mount) -> int:
    """The number of the block device whose node is bind-mounted there, from any /dev; 0 if there is none.

    For a hidden mount the number comes from the node of the same name in this process's /dev.
    """
    if not item.may_be_node:
        return 0
    shown, named = _number_of(item.target), _number_of(f"/dev{item.root}")
    return named if shown != named and cover_of(item) else shown


def cover_of(item: Mount, *, among: Sequence[Mount] | None = None) -> Mount | None:
    """The later mount that hides a mount, at its path or above it; None if the path leads to the mount or a copy of it.

    See `by_device` for `among`.

    Raises:
        HostError: the mounts keep changing, or the path cannot be examined.
    """
    known = table() if among is None else among
    for _ in range(_LOOKS):
        reached = _reached(item.target)
        if reached in (item.id, None):
            return None
        if found := next((other for other in known if other.id == reached), None):
            return None if found.shows_what(item) else found
        known = table()  # mounted after the table was read
    raise HostError(f"cannot determine the mount at {item.target}: its mounts keep changing")


_LOOKS = 10


def _reached(path: str) -> int | None:
    """The id of the mount to which a path, or its existing part, leads. None for a dead mount: it hides nothing.

    Raises:
        HostError: a resource is short, such as file descriptors.
    """
    while True:
        try:
            return _mount_id(path)
        except (FileNotFoundError, NotADirectoryError):
            path = os.path.dirname(path)  # noqa: PTH120
        except OSError as error:
            if kernel.is_short(error):
                raise HostError(f"cannot determine the mount at {path}: {error.strerror}") from error
            return None


def _mount_id(path: str) -> int:
    # O_PATH contacts neither the file system nor the device.
    with kernel.opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
        text = kernel.read(f"/proc/thread-self/fdinfo/{fd}")
    return int(text.partition(b"mnt_id:")[2].split(None, 1)[0])


def is_whole_device(item: Mount) -> bool:
    """Whether it is a block device's node or the whole file system on one, not a directory of a disk, share or tmpfs."""
    return bool(bound_node(item) or (item.root == "/" and _number_of(item.source)))


def device_path(item: Mount) -> str:
    """The path of the block device mounted or bound there, which may be gone; "" if there is none, for example for tmpfs."""
    if bound_node(item):
        return item.target
    return item.source if item.source.startswith("/") else ""


def _number_of(path: str) -> int:
    """The number of the block device at an absolute path; 0 if there is none."""
    if not path.startswith("/"):
        return 0
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0
    return state.st_rdev if stat.S_ISBLK(state.st_mode) else 0


def is_dead(item: Mount) -> bool:
    """Whether the block device behind a mount is gone or has a size of 0. False if there is no block device.

    Raises:
        HostError: a resource is short, such as file descriptors.
    """
    number = bound_node(item) or item.device
    if item.fs_type == "btrfs" and not (number := _number_of(item.source)):
        return True
    if not os.major(number):
        return False
    try:
        return not int(kernel.read(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/size"))
    except OSError as error:
        if kernel.is_short(error):
            raise HostError(f"cannot find the device of {item.target}: {error.strerror}") from error
        return True


def set_propagation(path: str, kind: str, *, recursive: bool = False) -> None:
    """Set the propagation of a mount: "shared", "slave", "private" or "unbindable" (mount_namespaces(7))."""
    with kernel.named(f"cannot make {path} {kind}"):
        flags = _PROPAGATION[kind] | (_MS_REC if recursive else 0)
        kernel.call("mount", b"none", os.fsencode(path), None, flags, None)
