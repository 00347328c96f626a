"""NodePublishVolume and NodeUnpublishVolume: bind a staged volume to a target path, and remove it again."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import AlreadyExists, CorruptRecord, HostError, InvalidRequest, PreconditionFailed
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import devices, kernel, mounts, resolving
from csi_cinderlib.host.identities import sysfs
from csi_cinderlib.host.mountoptions import is_read_only
from csi_cinderlib.host.mounts import Mount
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.capability import Mount as MountAccess
from csi_cinderlib.model.requests import NodePublishVolume
from csi_cinderlib.node import encryption, file_system, health, mounted
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.paths import Paths, is_noted_by_kubelet, overlap
from csi_cinderlib.node.stage_record import Publication, StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.pages import ERRORS_PAGE


class Publishing:
    """Binds staged volumes to target paths."""

    def __init__(
        self, records: StageRecords, locks: KeyedLocks, paths: Paths | None = None, calls: Calls | None = None
    ) -> None:
        self._records = records
        self._locks = locks
        self._paths = paths or Paths()
        self._calls = calls or Calls(records)

    def publish(self, request: NodePublishVolume) -> None:
        """Create the target path (a directory, or a file for a block volume) and bind the staged volume to it.

        Raises:
            InvalidRequest: a path contains a symbolic link or is not below the kubelet's directory.
            OperationPending: another call uses this volume or target.
            PreconditionFailed: the volume is not staged, is staged differently, is published at another target although its
                access mode allows only one, or its file system has errors; or the target is not empty.
            AlreadyExists: the volume is published at that target differently, or another mount is there.
            HostError: the device or the bind mount failed.
            NoAnswer: the volume's share does not respond; nothing was started.
        """
        self._calls.carry_out(request.volume_id, lambda: self._publish(request))

    def _publish(self, request: NodePublishVolume) -> None:
        request = self._resolved(request)
        wanted = _publication(request)
        with self._locks.hold(mounted.key(request.volume_id), mounted.path_key(request.target_path)):
            record = self._staged(request)
            seen = mounted.observe(record, lost="")
            staged, targets = seen.places()
            _require_mounted(record, staged)
            if here := _at(request.target_path, targets, seen):
                mounted.require_reached(here, seen.table)
                _same(record, here, wanted)
                return
            _only_target(record, targets, wanted.capability)
            _healthy(record, staged)
            # Mounts end with a reboot, so this need not survive one.
            record = self._records.save(_without_ended(targets, seen).published(wanted), this_boot=True)
            # If an earlier call started to publish there, an empty target or a dead mount belongs to it.
            is_known = seen.record.publication(request.target_path) is not None
            self._carry_out(record, wanted, seen, is_known=is_known)

    def _resolved(self, request: NodePublishVolume) -> NodePublishVolume:
        target = self._paths.resolve(request.target_path, "target_path")
        staging = self._paths.resolve(request.staging_path, "staging_target_path")
        if overlap(target, staging):
            raise InvalidRequest("target_path", f"must not overlap the staging path {staging} (got {target})")
        return replace(request, target_path=target, staging_path=staging)

    def _staged(self, request: NodePublishVolume) -> StageRecord:
        record = self._records.find(request.volume_id)
        if record is None or record.device is None or record.state is not State.STAGED:
            raise PreconditionFailed(f"volume {request.volume_id} is not staged on this node")
        if record.staging_path != request.staging_path:
            raise PreconditionFailed(
                f"volume {request.volume_id} is staged at {record.staging_path}, not at {request.staging_path}"
            )
        _compatible(record, request.capability)
        problem = health.device_problem(record.device) or health.replaced(record.device) or encryption.problem(record)
        if problem:
            raise PreconditionFailed(f"volume {request.volume_id} must be staged again: {problem}")
        return record

    def _carry_out(
        self, record: StageRecord, wanted: Publication, seen: mounted.Observation, *, is_known: bool
    ) -> None:
        target = wanted.target_path
        with ExitStack() as undo:
            undo.callback(self._records.note, record.unpublished(target))
            if mounted.unmount_own(self._records, record, target, recorded=is_known, seen=seen):
                raise AlreadyExists("target path", target, "another mount is there")
            if _make_target(target, block=record.capability.is_block) or is_known:
                undo.callback(_remove_target, target)
            reach("node-publish.target-made")
            if record.capability.is_block:
                _bind_device(record, wanted, undo)
            elif options := _mount_options(wanted):
                mounts.bind_with(record.staging_path, target, options)
            else:
                mounts.bind(record.staging_path, target)
            reach("node-publish.bound")
            undo.pop_all()

    def unpublish(self, volume_id: str, target_path: str) -> None:
        """Unmount the volume from the target path and remove the path. Without a record, the kubelet's own file must name the volume.

        Mounts of other volumes stay. A target without a known publication of this volume is not removed.

        Raises:
            InvalidRequest: the path contains a symbolic link or is not below the kubelet's directory.
            OperationPending: another call uses this volume or target.
            PreconditionFailed: a mount at the target is not known to belong to the volume; it is named and stays.
            HostError: the volume is in use, or the target is not empty.
        """
        self._calls.release(volume_id, lambda answers: self._unpublish(volume_id, target_path, answers=answers))

    def _unpublish(self, volume_id: str, target_path: str, *, answers: bool) -> None:
        target = self._paths.resolve(target_path, "target_path")
        with self._locks.hold(mounted.key(volume_id), mounted.path_key(target)):
            record: StageRecord | None = None
            with contextlib.suppress(CorruptRecord):
                record = self._records.find(volume_id)
            is_target = bool(record and record.publication(target)) or is_noted_by_kubelet(target, volume_id)
            table = mounts.table()
            viewed = _viewed(record, mounts.uppermost(target, table), answers=answers)
            try:
                is_removed = self._unmount(record, volume_id, target, table, is_target=is_target, answers=answers)
            finally:
                reach("node-unpublish.unmounted")
                for device in viewed:
                    _detach_unused_view(device)
            if is_target or is_removed:
                _remove_target(target)
            if record and record.publication(target):
                self._records.note(record.unpublished(target))  # if a crash restores it, the next publish removes it

    def _unmount(
        self,
        record: StageRecord | None,
        volume_id: str,
        target: str,
        table: Sequence[Mount],
        *,
        is_target: bool,
        answers: bool,
    ) -> bool:
        """Unmount each layer that belongs to the volume. Returns whether there was one and no mount is left."""
        count = 0
        while here := mounts.uppermost(target, table):
            name = mounted.identity(here, None if answers else record)
            if self._records.owner_of(name, other_than=volume_id):
                return False
            if not self._is_proven(record, here, name, is_target=is_target):
                raise PreconditionFailed(
                    f"volume {volume_id}: cannot unmount {target}: {here.fs_type} from {here.source} is mounted there and is "
                    "not known to belong to the volume"
                )
            table = mounts.unmount_uppermost(target, seen=here)
            count += 1
        return count > 0

    def _is_proven(self, record: StageRecord | None, here: Mount, name: str, *, is_target: bool) -> bool:
        """Whether a mount at a target belongs to the volume.

        Args:
            name: see `mounted.identity`.
            is_target: the record or the kubelet names the path as a target of the volume. This decides for a device that is
                gone. Without a record it also decides for any whole block device that no other record names.
        """
        if record and mounted.is_own(self._records, record, here, name=name):
            return True
        if not is_target:
            return False
        return mounts.is_dead(here) or (record is None and mounts.is_whole_device(here))


def _publication(request: NodePublishVolume) -> Publication:
    asked = is_read_only(_flags(request.capability))
    return Publication(
        target_path=request.target_path,
        capability=request.capability,
        read_only=request.read_only or request.capability.access_mode.read_only or asked,
    )


def _flags(capability: Capability) -> tuple[str, ...]:
    kind = capability.access_type
    return kind.flags if isinstance(kind, MountAccess) else ()


def _mount_options(wanted: Publication) -> tuple[str, ...]:
    """The options of the target's own mount, in addition to those of the staging mount."""
    flags = _flags(wanted.capability)
    return (*flags, "ro") if wanted.read_only else flags


def _require_mounted(record: StageRecord, staged: Mount | None) -> None:
    if not record.capability.is_block and not staged:
        raise PreconditionFailed(
            f"volume {record.volume_id} must be staged again: it is not mounted at {record.staging_path}"
        )


def _healthy(record: StageRecord, staged: Mount | None) -> None:
    """Refuse to publish a file system with errors.

    A read-only stage is exempt: reading may be the only way to rescue the data.
    """
    if staged is None or record.content is None or record.capability.is_block:
        return
    read_only = file_system.is_read_only(record)
    problem = health.mount_problem(staged, read_only=read_only)
    if not problem and not read_only:
        problem = health.errors_noted(record.content.path)
    if problem:
        raise PreconditionFailed(
            f"cannot publish volume {record.volume_id}: {problem}. Delete the pods on this node that use the volume; it is "
            f"then unstaged, and checked when it is staged again. See {ERRORS_PAGE}"
        )


def _at(path: str, targets: Mapping[str, Mount], seen: mounted.Observation) -> Mount | None:
    here = seen.at(path)
    return here if here and targets.get(here.target) == here else None


def _compatible(record: StageRecord, capability: Capability) -> None:
    if record.capability.is_block != capability.is_block:
        staged, asked = (
            ("block device", "file system") if record.capability.is_block else ("file system", "block device")
        )
        raise PreconditionFailed(f"volume {record.volume_id} is staged as a {staged} but requested as a {asked}")
    kind = capability.access_type
    if isinstance(kind, MountAccess) and kind.fs_type and record.fs_type and kind.fs_type != record.fs_type:
        raise PreconditionFailed(
            f"volume {record.volume_id} has file system {record.fs_type!r}, but {kind.fs_type!r} was requested"
        )
    known = set(mounts.of_file_system(_flags(record.capability)))
    if unknown := [option for option in mounts.of_file_system(_flags(capability)) if option not in known]:
        raise PreconditionFailed(
            f"volume {record.volume_id} is staged without mount options {', '.join(unknown)}; they apply to the whole file "
            "system, so unstage the volume and stage it again with them"
        )


def _same(record: StageRecord, here: Mount, wanted: Publication) -> None:
    """Raises AlreadyExists if the existing publication differs from the request (spec: NodePublishVolume, T1=T2)."""
    known = record.publication(wanted.target_path)
    read_only = known.read_only if known else here.read_only
    if read_only != wanted.read_only:
        raise AlreadyExists("target path", wanted.target_path, f"published {'read-only' if read_only else 'writable'}")
    if known and known.capability != wanted.capability:
        raise AlreadyExists("target path", wanted.target_path, f"published as {known.capability}")


def _only_target(record: StageRecord, targets: Mapping[str, Mount], capability: Capability) -> None:
    """Raises PreconditionFailed if another target is not allowed (spec: NodePublishVolume, the table of T1 and T2)."""
    mode = capability.access_mode
    if targets and not mode.multi_node and mode is not AccessMode.SINGLE_NODE_MULTI_WRITER:
        raise PreconditionFailed(
            f"volume {record.volume_id} is already published at {', '.join(targets)}; access mode {mode} allows only one target"
        )


def _without_ended(targets: Mapping[str, Mount], seen: mounted.Observation) -> StageRecord:
    """The record without publications that a reboot ended."""
    record = seen.record
    for item in record.publications:
        if not _at(item.target_path, targets, seen):
            record = record.unpublished(item.target_path)
    return record


def _make_target(path: str, *, block: bool) -> bool:
    """Create the target and return whether it was missing. An existing target must be empty.

    Raises:
        PreconditionFailed: the target is not empty or has the wrong type, so it could not be removed later.
        HostError: it cannot be created.
    """
    with (
        kernel.named(f"cannot create the target path {path}"),
        resolving.directory_of(path, make=True) as (directory, name),
    ):
        try:
            if block:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o600, dir_fd=directory))
            else:
                os.mkdir(name, 0o750, dir_fd=directory)
        except FileExistsError:
            if not _is_empty(directory, name, block=block):
                kind = "an empty file" if block else "an empty directory"
                raise PreconditionFailed(
                    f"target path {path} exists and is not {kind}; move it away and publish the volume again"
                ) from None
            return False
    return True


def _is_empty(directory: int, name: str, *, block: bool) -> bool:
    state = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if block:
        return stat.S_ISREG(state.st_mode) and not state.st_size
    if not stat.S_ISDIR(state.st_mode):
        return False
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        return not os.listdir(fd)  # noqa: PTH208 - an open directory
    finally:
        os.close(fd)


def _bind_device(record: StageRecord, wanted: Publication, undo: ExitStack) -> None:
    device = record.content
    assert device
    path = os.path.realpath(device.path)
    if wanted.read_only and not devices.is_read_only(path):
        # A read-only bind mount does not prevent writes to a device node.
        path = devices.attach_file(path, read_only=True)
        undo.callback(_detach_unused_view, device.path)
    mounts.bind(path, wanted.target_path)


def _detach_unused_view(device: str) -> None:
    view = devices.find_attached(device, read_only=True)
    if view and not mounts.by_device(view):
        devices.detach_from(device, read_only=True)


def _viewed(record: StageRecord | None, here: Mount | None, *, answers: bool) -> tuple[str, ...]:
    """Devices whose read-only view may be unused after the target is unmounted: from the record or the bound node."""
    found = {_shown_read_only(here.target) if here and mounts.bound_node(here) else ""}
    if (
        record
        and record.content
        and record.capability.is_block
        and not mounted.is_another_device(record, answers=answers)
    ):
        found.add(record.content.path)
    return tuple(sorted(found - {""}))


def _shown_read_only(node: str) -> str:
    """The block device behind a read-only loop device; "" for any other device."""
    with contextlib.suppress(HostError, OSError):
        backing = os.fsdecode(kernel.read(f"{sysfs(node)}/loop/backing_file")).strip()
        if devices.is_read_only(node) and devices.is_block_device(backing):
            return backing
    return ""


def _remove_target(path: str) -> None:
    """Remove only what `_make_target` creates: an empty directory or an empty file."""
    try:
        with resolving.directory_of(path) as (directory, name):
            state = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                os.rmdir(name, dir_fd=directory)
            elif stat.S_ISREG(state.st_mode) and not state.st_size:
                os.unlink(name, dir_fd=directory)
            else:
                raise HostError(f"cannot remove the target path {path}: it is not an empty directory or empty file")
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"cannot remove the target path {path}: {error.strerror}") from error
