"""Attach, detach and extend volumes on this host: devices through os-brick, files through loop devices."""

from __future__ import annotations

import contextlib
import copy
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from csi_cinderlib.brick import loading, plain_names, scsi, tools
from csi_cinderlib.brick.allowed_paths import NOWHERE, Absent, AllowedPaths, Place, file_below
from csi_cinderlib.brick.device import Device, ForeignDevice, flush, is_another
from csi_cinderlib.brick.execute import execute, execute_flushing_briefly
from csi_cinderlib.brick.failures import in_words
from csi_cinderlib.brick.local_path import Connector, LocalPath, block_size_in, path_in
from csi_cinderlib.brick.shares import PROTOCOLS as SHARES
from csi_cinderlib.brick.shares import Shares
from csi_cinderlib.errors import DriverError, HostError, InvalidRequest, OutOfRange
from csi_cinderlib.host import devices, identities, kernel, loopctl
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.size import Bytes

_APPEAR_SECONDS = 10.0
_GROW_SECONDS = 10.0
PATHS = ("local", "gpfs")
"""Protocols whose volumes already exist at a path."""
SCAN_ATTEMPTS = 3
"""os-brick's default."""
_RBD_DEVICES = Path("/sys/bus/rbd/devices")


class Initiator:
    """Attaches volumes to a host. Thread-safe for different volumes.

    Args:
        state_dir: for locks and mounted shares.
        multipath: attach through all paths and use the multipath map.
        root_helper: a command prefix to run commands as root; not needed by root.
        scan_attempts: how often os-brick looks for a device before it gives up.
        allowed: the paths of this host that a connection may name.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        multipath: bool = False,
        root_helper: str = "",
        scan_attempts: int = SCAN_ATTEMPTS,
        allowed: AllowedPaths = NOWHERE,
    ) -> None:
        self._lock_dir = state_dir / "brick-locks"
        self._multipath = multipath
        self._root_helper = root_helper
        self._scan_attempts = scan_attempts
        self._allowed = allowed
        self._shares = Shares(state_dir / "shares", attached_files=_attached_files)

    def connect(self, connection: Connection) -> Device:
        """Attach the volume. If it is attached already, return its device.

        Raises:
            HostError: the device does not appear, a tool is missing (named with its package), or a different volume uses its address.
            Unsupported: the protocol is not supported on this host.
            InvalidRequest: the connection lacks data that its protocol needs, or names a path that is not allowed.
        """
        tools.require(connection.protocol, multipath=self._multipath)
        data = _own_copy(connection)
        plain_names.check(connection.protocol, data)
        if connection.protocol in SHARES:
            self._shares.file(data)
            self._shares.prepare()
            with self._shares.held(data):
                return self._connect(connection, data)
        return self._connect(connection, data)

    def _connect(self, connection: Connection, data: dict[str, Any]) -> Device:
        with contextlib.ExitStack() as undo:
            with in_words("connect", connection):
                connector = self._connector(connection.protocol, data)
                info = self._connect_fresh(connector, connection.protocol, data)
            _forget_keyring(info)
            undo.callback(_quietly, connector.disconnect_volume, data, info, force=True, ignore_errors=True)
            place = self._find(info, connection, data)
            over = scsi.settled_map(place.path) if connection.protocol in tools.SCSI else ""
            path = over or place.path
            file = place.path if stat.S_ISREG(place.state.st_mode) else ""
            if file:
                size = block_size_in(data)
                path = devices.attach_file(
                    place.path, read_only=connection.read_only, block_size=size, file=place.state
                )
            wwid = identities.of_loop_on(path, place.state) if file else devices.identity(path)
            undo.pop_all()
        return Device(
            path=path,
            wwid=wwid,
            multipath=bool(over or info.get("multipath_id")),
            file=file,
            info=_plain(info),
        )

    def _find(self, info: dict[str, Any], connection: Connection, data: dict[str, Any]) -> Place:
        """The connected device or file. Only file protocols may return a file; from others it would be a file of this host."""
        if connection.protocol in SHARES:
            return file_below(str(self._shares.base), os.fsdecode(info["path"]))
        if connection.protocol in PATHS:
            return self._file_or_device(connection)
        path = _appeared(info, connection, data)
        with kernel.named(f"cannot examine {path}"):
            state = os.stat(path)  # noqa: PTH116
        if not stat.S_ISBLK(state.st_mode):
            raise HostError(f"volume {connection.volume_id}: {path} is not a block device")
        return Place(path, state)

    def _connect_fresh(self, connector: Connector, protocol: str, data: dict[str, Any]) -> dict[str, Any]:
        """Connect. If the kernel still has disks of an earlier volume at that address, remove them and connect again."""
        info = connector.connect_volume(copy.deepcopy(data))
        if protocol in tools.SCSI and (paths := scsi.stale(info["path"])):
            connector.disconnect_volume(copy.deepcopy(data), info, force=True, ignore_errors=True)
            info = connector.connect_volume(copy.deepcopy(data))
            if still := scsi.stale(info["path"]):
                raise HostError(
                    f"paths still lead to a different volume after a reconnect: {', '.join(still)} (before: {', '.join(paths)})"
                )
        return info

    def disconnect(
        self,
        connection: Connection,
        device: Device | None = None,
        *,
        force: bool = False,
        ignore_errors: bool | None = None,
    ) -> None:
        """Flush and detach the volume: loop device, multipath map, paths, session. Layers that no longer exist are skipped.

        Args:
            device: the result of `connect`; without it only the connection is used.
            force: continue after a failed flush, and do not flush loop devices; only for a device that is already dead.
            ignore_errors: with `force`, whether os-brick's errors are dropped at the end (by default) or raised.

        Raises:
            HostError: the device is in use, or a flush failed, so the data is not on the storage.
            InvalidRequest: the connection differs from that of the device, and `connect` refuses it.
        """
        data = _own_copy(connection)
        how = {"force": force, "ignore_errors": force if ignore_errors is None else ignore_errors}
        if connection.protocol in SHARES:
            with self._shares.held(data):
                self._disconnect(connection, data, device, how)
                self._shares.leave(data)
        else:
            self._disconnect(connection, data, device, how)

    def _disconnect(
        self, connection: Connection, data: dict[str, Any], device: Device | None, how: dict[str, bool]
    ) -> None:
        if device and not device.file and not how["force"]:
            flush(device)  # not all of os-brick's connectors do
        self._detach_loop(connection, device, force=how["force"])
        if connection.protocol in (*SHARES, *PATHS):
            return  # only the loop device was attached here
        try:
            plain_names.check(connection.protocol, data)
        except InvalidRequest:
            if device is None:
                return  # `connect` refused it, and os-brick would remove or stop other devices by these names
            raise
        info = dict(device.info) if device else {}
        if not os.path.exists(str(info.get("conf", ""))):  # noqa: PTH110
            info.pop("conf", None)  # written by a container that has ended: rbd would fail without this file
        if device and is_another(device):
            info.pop("path", None)  # after a reboot this path may be a different disk
        if "path" in info:
            data["device_path"] = info["path"]  # NVMe-oF needs it to find its device
        with in_words("disconnect", connection):
            connector = self._connector(connection.protocol, data, execute=execute_flushing_briefly)
            connector.disconnect_volume(data, info, **how)
        if device and device.multipath and not is_another(device):
            scsi.remove_map(device.path)

    def _detach_loop(self, connection: Connection, device: Device | None, *, force: bool) -> None:
        if (
            device
            and device.file
            and device.wwid
            and devices.detach_file(device.path, expected=device.wwid, file=device.file, flush=not force)
        ):
            return  # a file is attached once: `attach_file` reuses its loop device
        file = device.file if device else self._path_of(connection)
        if not file:
            return
        try:
            place = file_below("/", file) if device else self._file_or_device(connection)
            if stat.S_ISREG(place.state.st_mode):
                devices.detach_from(place.path, file=place.state)
        except InvalidRequest:
            return  # it was never attached; a link, for example, would lead to a file of another volume
        except Absent:
            if device is None:
                _detach_unreached(file)

    def _file_or_device(self, connection: Connection) -> Place:
        """The file or device named by the connection. Raises as `AllowedPaths.locate`."""
        if connection.protocol in SHARES:
            return file_below(str(self._shares.base), self._path_of(connection))
        return self._allowed.locate(self._path_of(connection))

    def file_of(self, connection: Connection) -> str:
        """The path of the volume's file, even if it is unreachable; "" for a volume that is a device.

        Raises:
            InvalidRequest: the connection lacks data that its protocol needs.
        """
        path = self._path_of(connection)
        return "" if path.startswith("/dev/") else path

    def _path_of(self, connection: Connection) -> str:
        if connection.protocol in SHARES:
            return str(self._shares.file(connection.data))
        return path_in(dict(connection.data)) if connection.protocol in PATHS else ""

    def extend(self, connection: Connection, device: Device, *, expected: int = 0) -> Bytes:
        """Refresh the size of the volume's device: all paths, the map, the loop device.

        Args:
            expected: the minimum size afterwards (`connection.size` if that is larger).

        Raises:
            OutOfRange: the volume is smaller than that, so no retry can succeed. The kubelet gives up the expansion until the user
                requests another size (Kubernetes 1.35, node_expander.go), so this is raised only if the size is certain.
            HostError: the device is still smaller after some seconds, but a retry may succeed; names a path that is down.
        """
        wanted = Bytes(max(expected, connection.size))
        deadline = time.monotonic() + (0 if connection.protocol == "local" else _GROW_SECONDS)
        while (size := self._rescan(connection, device, wanted)) < wanted:
            if time.monotonic() > deadline:
                raise _too_small(connection, device, size, wanted)
            time.sleep(0.2)
        return size

    def _rescan(self, connection: Connection, device: Device, wanted: Bytes) -> Bytes:
        if device.file:
            return _take_over_size(device)
        if isinstance(device, ForeignDevice) and stat.S_ISREG(os.stat(device.path).st_mode):  # noqa: PTH116
            return Bytes(os.stat(device.path).st_size)  # noqa: PTH116
        if scsi.disks(device.path):
            scsi.rescan(device.path, wanted)
        elif connection.protocol not in PATHS:
            data = {**_own_copy(connection), "device_path": device.info.get("path", device.path)}
            with in_words("extend", connection):
                self._connector(connection.protocol, data).extend_volume(data)
        return devices.size(device.path)

    def give_up(self, device: Device) -> None:
        """Fail the I/O that waits for a dead device, before it is unmounted and disconnected."""
        if device.multipath:
            scsi.stop_queueing(device.path)

    def _connector(
        self, protocol: str, data: dict[str, Any], *, execute: Callable[..., tuple[str, str]] = execute
    ) -> Connector:
        if protocol in PATHS:
            return LocalPath()
        options = self._shares.options(protocol, data) if protocol in SHARES else {}
        return self._new_connector(protocol, {"execute": execute, **options})

    def os_brick_connector(self, protocol: str, conn_info: dict[str, Any]) -> Any:
        """os-brick's connector object for a program that calls it directly.

        Args:
            conn_info: the driver's connection info with the directory below which os-brick mounts shares (`mount_point_base`).

        Raises:
            Unsupported, HostError: as `connect`.
        """
        protocol = protocol.lower()
        options = {"mount_type": protocol} if protocol in SHARES else {}
        return self._new_connector(protocol, {"execute": execute, "conn": conn_info, **options})

    def _new_connector(self, protocol: str, options: dict[str, Any]) -> Connector:
        kind = loading.connector_class(protocol, lock_dir=self._lock_dir)
        if protocol == "rbd":
            options["do_local_attach"] = True
        if protocol == "iser":
            options["transport"] = "iser"
        connector: Connector = kind(
            root_helper=self._root_helper,
            use_multipath=self._multipath,
            device_scan_attempts=self._scan_attempts,
            **options,
        )
        if protocol in ("iscsi", "iser"):
            loading.poll_for_disks(connector)
        return connector


def _appeared(info: dict[str, Any], connection: Connection, data: dict[str, Any]) -> str:
    """Wait for the path that os-brick returned."""
    path = info.get("path")
    path = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
    if not path:
        raise HostError(f"volume {connection.volume_id}: os-brick returned no device path ({connection.protocol})")
    deadline = time.monotonic() + _APPEAR_SECONDS
    while not os.path.exists(path):  # noqa: PTH110
        if connection.protocol == "rbd" and (node := rbd_device(str(data.get("name")))):
            return node
        if time.monotonic() > deadline:
            raise HostError(f"volume {connection.volume_id}: {path} did not appear within {_APPEAR_SECONDS:g} s")
        time.sleep(0.1)
    return os.path.realpath(path)


def rbd_device(name: str, mapped_images: Path = _RBD_DEVICES) -> str:
    """The device node of the image `POOL/IMAGE`, or "" if it is not mapped.

    Read from /sys, since os-brick uses udev's links, which may be missing in a container.
    """
    pool, _, image = name.partition("/")
    for entry in sorted(mapped_images.glob("*")):
        try:
            mapped = (entry / "pool").read_text().strip(), (entry / "name").read_text().strip()
            snapshot = (entry / "current_snap").read_text().strip()
        except OSError:
            continue  # unmapped in the meantime
        if mapped == (pool, image) and snapshot in ("", "-"):
            return f"/dev/rbd{entry.name}"
    return ""


def _forget_keyring(info: dict[str, Any]) -> None:
    """Remove the configuration file with Ceph's key. os-brick keeps it until the detach, but only mapping needs it."""
    if conf := info.pop("conf", ""):
        Path(conf).unlink(missing_ok=True)


def _detach_unreached(file: str) -> None:
    """Detach a loop device left behind by a process that died before recording it, even if the file's disk is no longer mounted.

    Raises:
        HostError: a loop device uses a file of the same name that cannot be identified.
    """
    for number, shown in loopctl.attached().items():
        node = loopctl.node(number)
        if shown == f"{file} (deleted)":
            devices.detach_file(node, expected=devices.identity(node))
        elif Path(shown.removesuffix(" (deleted)")).name == Path(file).name:
            raise HostError(
                f"cannot detach {file}: it cannot be reached, and {node} is attached to a file with that name ({shown})"
            )


def _own_copy(connection: Connection) -> dict[str, Any]:
    """A copy, since os-brick changes its argument. It would flush, stop or unlink a `device_path` as its own result."""
    data = copy.deepcopy(dict(connection.data))
    if connection.protocol not in PATHS:
        data.pop("device_path", None)
    return data


def _too_small(connection: Connection, device: Device, size: Bytes, wanted: Bytes) -> DriverError:
    """The size of a file or local device is final; an array may report a new size late."""
    if size >= connection.size and (device.file or connection.protocol == "local"):
        return OutOfRange(
            "capacity_range.required_bytes",
            f"volume has {size} bytes, less than the required {wanted} ({device.path})",
        )
    return HostError(f"{device.path} has {size} bytes after the expansion; expected at least {wanted}")


def _attached_files() -> tuple[str, ...]:
    return tuple(loopctl.attached().values())


def _plain(info: dict[str, Any]) -> dict[str, object]:
    """The parts of os-brick's device info that a record can store."""
    return {key: value for key, value in info.items() if isinstance(value, (str, int, float, bool, list))}


def _quietly(call: Callable[..., object], *arguments: object, **options: object) -> None:
    """Undo without hiding the original error."""
    with contextlib.suppress(Exception):
        call(*arguments, **options)


def _take_over_size(device: Device) -> Bytes:
    """Refresh a loop device's size. Its current size is not valid while its file is unreachable: the file may have grown."""
    try:
        # NFS revalidates the size at each open. O_NONBLOCK prevents waiting on a pipe in place of the file.
        with kernel.opened(device.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK):
            return devices.refresh_size(device.path)
    except OSError as error:
        raise HostError(f"cannot read the new size of {device.path}: {device.file}: {error.strerror}") from None
