"""Mounting, binding, unmounting by system calls, and the mount table of this thread's mount namespace.

No path is followed through a symbolic link, not even one that is put there between a look at the path and the call.
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
"""Flags that each mount of a file system has for itself. strictatime is the absence of noatime and relatime."""

SELINUX = Path("/sys/fs/selinux")
"""There while SELinux is enabled."""
_FLAGS_FIELD = "volume_capability.mount.mount_flags"


class NeedsWriting(HostError):
    """A file system cannot be mounted, because its device takes no writes."""


def mount(source: str, target: str, fs_type: str, options: Sequence[str] = ()) -> None:
    """Mount a file system.

    Args:
        options: as after `mount -o`, one or several in each item. What the kernel's mount flags do not cover goes to the
            file system; what only `mount(8)` and fstab know (`_netdev`, `x-...`) is left out.

    Raises:
        InvalidRequest: the file system does not know one of the options; names it.
        NeedsWriting: mounted read-only, it would have to write all the same: to replay its journal, on a read-only device.
        HostError: anything else.
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
            doing = f"mounting {source} on {target} as {fs_type}"
            if error.errno == errno.EROFS:
                raise NeedsWriting(f"{doing}: {error.strerror}{said}") from error
            hint = "; no such file system in this kernel" if error.errno == errno.ENODEV else ""
            raise HostError(f"{doing}: {error.strerror}{hint}{said}") from error


def _refuse_unknown(fs_type: str, data: Sequence[str]) -> None:
    """Raises InvalidRequest when mounting failed because of an option, and names it."""
    if unknown := rejected(fs_type, data):
        raise InvalidRequest(_FLAGS_FIELD, f"{fs_type} does not know {', '.join(unknown)}")
    if (labels := security_labels(data)) and not SELINUX.exists():
        reason = f"SELinux is not enabled on this node, so {fs_type} accepts no {', '.join(labels)}"
        raise InvalidRequest(_FLAGS_FIELD, reason)


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """Make `source` visible at `target`: a directory on a directory, or a file (a device node, say) on a file."""
    with kernel.named(f"binding {source} on {target}"):
        flags = _MS_BIND | (_MS_REC if recursive else 0)
        with resolving.held(source) as what, resolving.held(target) as place:
            kernel.call("mount", what, place, None, flags, None)


def bind_with(source: str, target: str, options: Sequence[str]) -> None:
    """`bind`, then give this one mount these options, "ro" or "noexec" say, on top of the source's own (see `parse`).

    "ro" does not keep writes from a device node: `devices.attach_file` makes a read-only view of a device.

    Raises:
        HostError: no such source or target, or the kernel refuses; nothing is bound then.
    """
    bind(source, target)
    try:
        with kernel.named(f"setting mount options of {target}"):
            here = find(target)
            flags = _MS_REMOUNT | _MS_BIND | bind_flags(here.options if here else (), parse(options).flags)
            with resolving.held(target) as place:
                kernel.call("mount", b"none", place, None, flags, None)
    except BaseException:
        _unmount_one(target, _UMOUNT_NOFOLLOW)
        raise


def bind_flags(shown: Sequence[str], asked: int) -> int:
    """All flags of one mount, which a remount sets anew: those that it shows, and those that are asked for of it."""
    asked &= sum(_OF_ONE_MOUNT.values()) | _MS_STRICTATIME
    kept = sum(flag for name, flag in _OF_ONE_MOUNT.items() if name in shown)
    if asked & (_MS_NOATIME | _MS_RELATIME | _MS_STRICTATIME):
        kept &= ~(_MS_NOATIME | _MS_RELATIME)
    flags = kept | asked
    # Without one of these the kernel takes relatime as soon as any flag about access times is given.
    return flags if flags & (_MS_NOATIME | _MS_RELATIME) else flags | _MS_STRICTATIME


def of_file_system(options: Sequence[str]) -> tuple[str, ...]:
    """Those of the options that a bind cannot have of its own, since they concern the whole file system."""
    words = parse(options)
    whole = words.flags & ~(sum(_OF_ONE_MOUNT.values()) | _MS_STRICTATIME)
    return (*names_of(whole), *words.data)


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
        raise HostError(f"unmounting {path}: the kernel does not release this mount")
    return layers


def unmount_uppermost(path: str, *, seen: Mount | None = None) -> tuple[Mount, ...]:
    """Unmount one layer, the uppermost.

    Args:
        seen: what an earlier look found uppermost there, and nothing else. Then `path` must be as in `uppermost`. umount2 takes
            whatever the path leads to, so the mount table is read once more right before it.

    Returns:
        The mount table without it, and without what went with it.

    Raises:
        HostError: nothing is mounted there, or no longer what was seen; it is in use, or it cannot be unmounted.
    """
    now = table()
    here = uppermost(path, now) if seen else find(path, among=now)
    if seen and not seen.is_same(here):
        raise HostError(_changed(seen, here))
    if here and (cover := cover_of(here, among=now)):
        raise HostError(hidden(here, cover))
    if not here or not _unmount_one(here.target, _UMOUNT_NOFOLLOW):
        raise HostError(f"unmounting {path}: the kernel does not release this mount")
    left = tuple(item for item in now if item is not here)
    return table() if uppermost(here.target, left) else left  # the kernel ends a copy in a peer group, too


def _changed(seen: Mount, now: Mount | None) -> str:
    found = f"{now.fs_type} from {now.source} is mounted there now" if now else "nothing is mounted there any more"
    return f"unmounting {seen.target}: {found}, and not {seen.fs_type} from {seen.source} as a moment ago; try again"


def hidden(item: Mount, cover: Mount) -> str:
    """Says that `cover` hides a mount, and what to do."""
    return (
        f"{item.target} is out of reach: {cover.fs_type} from {cover.source} was mounted over it at {cover.target} and must be "
        "unmounted first"
    )


def _unmount_one(path: str, flags: int) -> bool:
    """Busy may mean a moment only: a child process that another thread just started holds a copy of every file that was open
    here, close-on-exec or not, until its exec.
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
            raise HostError(f"unmounting {path}: {reason}") from error
        return True


def find(path: str, *, among: Sequence[Mount] | None = None) -> Mount | None:
    """The uppermost mount on exactly this path. See `by_device` for `among`."""
    return (find_all(path, among=among) or (None,))[-1]


def uppermost(path: str, among: Sequence[Mount]) -> Mount | None:
    """`find` for a path that is known to lead through no link."""
    return next((item for item in reversed(among) if item.target == path), None)


def find_all(path: str, *, among: Sequence[Mount] | None = None) -> tuple[Mount, ...]:
    """All layers mounted on exactly this path, the uppermost last. See `by_device` for `among`."""
    where = _normal(path)
    return tuple(item for item in (table() if among is None else among) if item.target == where)


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
        number = os.stat(device).st_rdev  # noqa: PTH116 - asked in each call
    return tuple(item for item in (table() if among is None else among) if _is_of(item, number))


def _is_of(item: Mount, number: int) -> bool:
    if item.device == number:
        return True
    if node := bound_node(item):  # the table has the number of the file system that the node lies in
        return node == number
    return (
        not os.major(item.device) and _number_of(item.source) == number
    )  # btrfs shows a number of its own in the table


def bound_node(item: Mount) -> int:
    """The number of the block device whose node is bound there, on whatever kind of /dev the node lies; 0 when none is.

    One that lies under another mount is told by the name of its node in this process's /dev.
    """
    if not item.may_be_node:
        return 0
    shown, named = _number_of(item.target), _number_of(f"/dev{item.root}")
    return named if shown != named and cover_of(item) else shown


def cover_of(item: Mount, *, among: Sequence[Mount] | None = None) -> Mount | None:
    """The later mount, at the same path or above it, to which the path of a mount leads instead; None while it leads to that mount,
    or to a copy of it.

    See `by_device` for `among`.

    Raises:
        HostError: nobody can tell just now.
    """
    known = table() if among is None else among
    for _ in range(_LOOKS):
        reached = _reached(item.target)
        if reached in (item.id, None):
            return None
        if found := next((other for other in known if other.id == reached), None):
            return None if found.shows_what(item) else found
        known = table()  # it came after the look
    raise HostError(f"{item.target}: its mounts change all the time")


_LOOKS = 10


def _reached(path: str) -> int | None:
    """The id of the mount that a path, or what is there of it, leads to. None for one that no longer answers: that hides nothing.

    Raises:
        HostError: there are no more file descriptors, say.
    """
    while True:
        try:
            return _mount_id(path)
        except (FileNotFoundError, NotADirectoryError):
            path = os.path.dirname(path)  # noqa: PTH120
        except OSError as error:
            if kernel.is_short(error):
                raise HostError(f"looking for what is mounted at {path}: {error.strerror}") from error
            return None


def _mount_id(path: str) -> int:
    # O_PATH asks neither the file system nor the device for anything.
    with kernel.opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
        text = kernel.read(f"/proc/thread-self/fdinfo/{fd}")
    return int(text.partition(b"mnt_id:")[2].split(None, 1)[0])


def is_whole_device(item: Mount) -> bool:
    """Whether it shows a block device's node, or all of the file system on one: not a directory of a disk, a share or a tmpfs."""
    return bool(bound_node(item) or (item.root == "/" and _number_of(item.source)))


def device_path(item: Mount) -> str:
    """The block device that is mounted or bound there, by a path that may be gone; "" for what has none, a tmpfs say."""
    if bound_node(item):
        return item.target
    return item.source if item.source.startswith("/") else ""


def _number_of(path: str) -> int:
    """The number of the block device at an absolute path; 0 when there is none."""
    if not path.startswith("/"):
        return 0
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return 0
    return state.st_rdev if stat.S_ISBLK(state.st_mode) else 0


def is_dead(item: Mount) -> bool:
    """Whether the block device behind a mount is gone, or shows a size of 0. What has no block device is never dead.

    Raises:
        HostError: there are no more file descriptors, say.
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
            raise HostError(f"looking for the device of {item.target}: {error.strerror}") from error
        return True


def set_propagation(path: str, kind: str, *, recursive: bool = False) -> None:
    """Make a mount "shared", "slave", "private" or "unbindable" (mount_namespaces(7))."""
    with kernel.named(f"making {path} {kind}"):
        flags = _PROPAGATION[kind] | (_MS_REC if recursive else 0)
        kernel.call("mount", b"none", os.fsencode(path), None, flags, None)
