"""NodePublishVolume and NodeUnpublishVolume: show a staged volume at a target path, and take it away again."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import AlreadyExists, CorruptRecord, HostError, PreconditionFailed
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.host.mounts import Mount
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.capability import Mount as MountAccess
from csi_cinderlib.model.requests import NodePublishVolume
from csi_cinderlib.node import health, mounted
from csi_cinderlib.node.stage_record import Publication, StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords


class Publishing:
    """Binds staged volumes to target paths."""

    def __init__(self, records: StageRecords, locks: KeyedLocks) -> None:
        self._records = records
        self._locks = locks

    def publish(self, request: NodePublishVolume) -> None:
        """Show the staged volume at the target path, which is made: a directory, or a file for a block volume.

        Raises:
            OperationPending: another call works on this volume.
            PreconditionFailed: not staged (never is an empty directory bound), staged as something else, or published at
                another target although its access mode allows one only.
            AlreadyExists: published at that target differently, or the target is taken.
            HostError: the device, or binding it, failed.
        """
        wanted = Publication(
            target_path=request.target_path,
            capability=request.capability,
            read_only=request.read_only or request.capability.access_mode.read_only,
        )
        with self._locks.hold(mounted.key(request.volume_id)):
            record = self._staged(request)
            targets = mounted.published(record)
            if here := _at(targets, request.target_path):
                _same(record, here, wanted)
                return
            _only_target(record, targets, wanted.capability)
            record = self._records.save(_without_ended(record, targets).published(wanted))
            self._carry_out(record, wanted)

    def _staged(self, request: NodePublishVolume) -> StageRecord:
        record = self._records.find(request.volume_id)
        if record is None or record.device is None or record.state is not State.STAGED:
            raise PreconditionFailed(f"volume {request.volume_id} is not staged on this node")
        if os.path.realpath(record.staging_path) != os.path.realpath(request.staging_path):
            raise PreconditionFailed(
                f"volume {request.volume_id} is staged at {record.staging_path}, not at {request.staging_path}"
            )
        _compatible(record, request.capability)
        if problem := health.device_problem(record.device) or health.replaced(record.device):
            raise PreconditionFailed(f"volume {request.volume_id} must be staged again: {problem}")
        if not record.capability.is_block and not mounted.staged_mount(record):
            raise PreconditionFailed(
                f"volume {request.volume_id} must be staged again: nothing of it is mounted at {record.staging_path}"
            )
        return record

    def _carry_out(self, record: StageRecord, wanted: Publication) -> None:
        with ExitStack() as undo:
            undo.callback(self._records.save, record.unpublished(wanted.target_path), frees=True)
            if mounted.unmount_own(self._records, record, wanted.target_path):
                raise AlreadyExists("target path", wanted.target_path, "something else is mounted there")
            _make_target(wanted.target_path, block=record.capability.is_block)
            undo.callback(_remove_target, wanted.target_path)
            reach("node-publish.target-made")
            if record.capability.is_block:
                _bind_device(record, wanted, undo)
            else:
                (mounts.bind_read_only if wanted.read_only else mounts.bind)(record.staging_path, wanted.target_path)
            reach("node-publish.bound")
            undo.pop_all()

    def unpublish(self, volume_id: str, target_path: str) -> None:
        """Take the volume away from the target path and remove the path. Works from the mount table alone.

        What another volume of this node shows there is left alone.

        Raises:
            OperationPending: another call works on this volume.
            HostError: in use, or the path holds something that is not ours to remove.
        """
        with self._locks.hold(mounted.key(volume_id)):
            record: StageRecord | None = None
            with contextlib.suppress(CorruptRecord):
                record = self._records.find(volume_id)
            here = mounts.find(target_path)
            if not (here and self._records.owner_of(mounted.identity(here), other_than=volume_id)):
                _take_away(record, target_path)
            if record and record.publication(target_path):
                self._records.save(record.unpublished(target_path), frees=True)


def _take_away(record: StageRecord | None, target_path: str) -> None:
    viewed = _viewed(record, mounts.find_all(target_path))
    mounts.unmount(target_path)
    reach("node-unpublish.unmounted")
    for device in viewed:
        _detach_unused_view(device)
    _remove_target(target_path)


def _at(targets: Mapping[str, Mount], path: str) -> Mount | None:
    here = mounts.find(path)
    return here if here and targets.get(here.target) == here else None


def _compatible(record: StageRecord, capability: Capability) -> None:
    if record.capability.is_block != capability.is_block:
        staged, asked = (
            ("block device", "file system") if record.capability.is_block else ("file system", "block device")
        )
        raise PreconditionFailed(f"volume {record.volume_id} is staged as a {staged} and asked for as a {asked}")
    kind = capability.access_type
    if isinstance(kind, MountAccess) and kind.fs_type and record.fs_type and kind.fs_type != record.fs_type:
        raise PreconditionFailed(
            f"volume {record.volume_id} carries {record.fs_type} and is asked for as {kind.fs_type}"
        )


def _same(record: StageRecord, here: Mount, wanted: Publication) -> None:
    """Whether what is at the target is what is asked for (spec: NodePublishVolume, T1=T2)."""
    known = record.publication(wanted.target_path)
    read_only = known.read_only if known else here.read_only
    if read_only != wanted.read_only:
        raise AlreadyExists("target path", wanted.target_path, f"published {'read-only' if read_only else 'writable'}")
    if known and known.capability != wanted.capability:
        raise AlreadyExists("target path", wanted.target_path, f"published as {known.capability}")


def _only_target(record: StageRecord, targets: Mapping[str, Mount], capability: Capability) -> None:
    """Whether one more target is allowed (spec: NodePublishVolume, the table of T1 and T2)."""
    mode = capability.access_mode
    if targets and not mode.multi_node and mode is not AccessMode.SINGLE_NODE_MULTI_WRITER:
        raise PreconditionFailed(
            f"volume {record.volume_id} is published at {', '.join(targets)}, and {mode} allows one target"
        )


def _without_ended(record: StageRecord, targets: Mapping[str, Mount]) -> StageRecord:
    """Forget publications that a reboot ended."""
    for item in record.publications:
        if not _at(targets, item.target_path):
            record = record.unpublished(item.target_path)
    return record


def _make_target(path: str, *, block: bool) -> None:
    """Make the target, or take one that a crash left."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if block:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        else:
            target.mkdir(mode=0o750, exist_ok=True)
    except OSError as error:
        raise HostError(f"making the target path {path}: {error.strerror}") from error
    if not block and target.is_symlink():
        raise HostError(f"making the target path {path}: it is a link")


def _bind_device(record: StageRecord, wanted: Publication, undo: ExitStack) -> None:
    device = record.device
    assert device
    path = device.path
    if wanted.read_only and not devices.is_read_only(path):
        # A read-only bind does not keep anybody from writing to a device node.
        path = devices.attach_file(path, read_only=True)
        undo.callback(_detach_unused_view, device.path)
    mounts.bind(path, wanted.target_path)


def _detach_unused_view(device: str) -> None:
    view = devices.find_attached(device, read_only=True)
    if view and not mounts.by_device(view):
        devices.detach_from(device, read_only=True)


def _viewed(record: StageRecord | None, at_target: tuple[Mount, ...]) -> tuple[str, ...]:
    """Devices whose read-only view may be of no use once the target is unmounted: by the record, or by the bound node's name."""
    found = {_shown_read_only(f"/dev{item.root}") for item in at_target if item.fs_type == "devtmpfs"}
    if record and record.device and record.capability.is_block and not mounted.is_another_device(record):
        found.add(record.device.path)
    return tuple(sorted(found - {""}))


def _shown_read_only(node: str) -> str:
    """The block device that a loop device shows whole and read-only; "" for all others."""
    with contextlib.suppress(HostError, OSError):
        backing = Path(f"/sys/block/{Path(node).name}/loop/backing_file").read_text().strip()
        if devices.is_read_only(node) and devices.is_block_device(backing):
            return backing
    return ""


def _remove_target(path: str) -> None:
    """Remove what `_make_target` made, and nothing else: an empty directory, or an empty file."""
    try:
        state = os.lstat(path)
        if stat.S_ISDIR(state.st_mode):
            os.rmdir(path)  # noqa: PTH106 - refuses a directory that holds something
        elif stat.S_ISREG(state.st_mode) and not state.st_size:
            os.unlink(path)  # noqa: PTH108
        else:
            raise HostError(f"removing the target path {path}: it is neither an empty directory nor an empty file")
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"removing the target path {path}: {error.strerror}") from error
