"""NodeStageVolume and NodeUnstageVolume: connect, format if that is safe, mount; and the reverse."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from dataclasses import replace

from csi_cinderlib.brick import scsi
from csi_cinderlib.brick.device import Device
from csi_cinderlib.brick.initiator import Initiator
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import AlreadyExists, DriverError, HostError, InvalidRequest, PreconditionFailed
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import devices, kernel, mounts, resolving
from csi_cinderlib.host.filesystems import Signature
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.requests import StageVolume
from csi_cinderlib.node import encryption, file_system, health, mounted, passphrases
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.contexts import Opener
from csi_cinderlib.node.passphrases import Keys
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.stage_record import StageRecord, State, begin, require_same_encryption
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


class Staging:
    """Stages volumes on this node: each volume once, for any number of publications."""

    def __init__(
        self,
        records: StageRecords,
        initiator: Initiator,
        contexts: Opener,
        locks: KeyedLocks,
        paths: Paths | None = None,
        calls: Calls | None = None,
    ) -> None:
        self._records = records
        self._initiator = initiator
        self._contexts = contexts
        self._locks = locks
        self._paths = paths or Paths()
        self._calls = calls or Calls(records)

    def stage(self, request: StageVolume) -> None:
        """Connect the volume and mount it at the staging path. A block volume is only connected.

        Raises:
            InvalidRequest: publish_context has no readable connection, or the path contains a symbolic link or is not below
                the kubelet's directory.
            OperationPending: another call uses this volume or path.
            AlreadyExists: the volume is staged with another path or capability, or the path is in use.
            PreconditionFailed: the device has unexpected content (UnsafeToFormat, another file system) or another identity, the
                volume is still published here under an earlier attachment, or the context belongs to an earlier attachment.
            HostError: the device, a tool or a mount failed.
            WrongKey: the Secret does not open the encryption.
            NoAnswer: the volume's share does not respond; nothing was started.
        """
        connection = self._open(request)
        keys = passphrases.keys_of(request, connection.encryption)
        file = self._initiator.file_of(connection)
        self._calls.carry_out(request.volume_id, lambda: self._stage(request, connection, keys), file=file)

    def _stage(self, request: StageVolume, connection: Connection, keys: Keys | None) -> None:
        request = replace(request, staging_path=self._paths.resolve(request.staging_path, "staging_target_path"))
        with self._locks.hold(mounted.key(request.volume_id), mounted.path_key(request.staging_path)):
            self._refuse_occupied(request)
            mounted.require_free(self._records, connection)
            self._records.attachments.enter(request.volume_id, connection.attachment)
            previous = self._records.find(request.volume_id)
            if previous:
                require_same_encryption(previous, connection)
            if previous and not previous.is_of(connection):
                self._leave(previous)
                previous = None
            if previous:
                seen = mounted.observe(previous)
                if self._is_settled(previous, request, seen):
                    if keys:
                        encryption.verify(previous, keys)
                    return
                self._clear_away(previous, seen)
            self._carry_out(begin(request, connection, previous), keys, fresh=previous is None)

    def _refuse_occupied(self, request: StageVolume) -> None:
        """Check the records: the mount table does not show the staging path of a block volume, which is not mounted."""
        if owner := self._records.staged_at(request.staging_path, other_than=request.volume_id):
            other = self._records.find(owner)
            if other and other.capability.is_block and not mounted.is_reassigned(other):
                raise AlreadyExists("staging path", request.staging_path, f"volume {owner} is staged there")

    def _open(self, request: StageVolume) -> Connection:
        text = request.publish_context.get("connection")
        if not text:
            raise InvalidRequest("publish_context", "must contain a connection; publish the volume to this node first")
        connection = Connection.from_bytes(self._contexts.open(text))
        if connection.volume_id != request.volume_id:
            raise InvalidRequest("publish_context", f"must be for this volume (got one for {connection.volume_id!r})")
        return connection

    def _is_settled(self, record: StageRecord, request: StageVolume, seen: mounted.Observation) -> bool:
        """Whether the volume is staged as requested and works."""
        here, _ = seen.places()
        block = record.capability.is_block
        if not record.device or not record.content or not (record.state is State.STAGED if block else here):
            return False
        problem = (
            health.device_problem(record.device)
            or health.replaced(record.device)
            or encryption.problem(record)
            or (health.mount_problem(here, read_only=file_system.is_read_only(record)) if here else "")
        )
        if problem:
            _log.warning("staged volume not working", volume=record.volume_id, reason=problem)
            return False
        if (record.staging_path, record.capability) != (request.staging_path, request.capability):
            raise AlreadyExists("stage of volume", record.volume_id, _difference(record, request))
        if record.state is not State.STAGED:
            file_system.grow_mounted(record, record.content)
            self._records.save(replace(record, state=State.STAGED))
        return True

    def _leave(self, record: StageRecord) -> None:
        """Drop an earlier attachment that was never unstaged. Another node may have used the volume since: the data cached
        here is stale and must not be written.
        """
        seen = mounted.observe(record)
        _, targets = seen.places()
        if targets:
            raise PreconditionFailed(
                f"volume {record.volume_id} is still published at {', '.join(sorted(targets))} under an earlier attachment; "
                "unpublish it there first"
            )
        _log.warning("stage of earlier attachment found", volume=record.volume_id)
        if seen.device:
            self._initiator.give_up(seen.device)
            scsi.take_offline(seen.device.path)  # other kinds of device cannot be forced to fail
        mounted.unmount_own(self._records, record, record.staging_path, seen=seen)
        self._disconnect(record, force=True)

    def _clear_away(self, record: StageRecord, seen: mounted.Observation) -> None:
        """Remove an earlier, unfinished or broken stage. A volume that works and is published stays."""
        here, targets = seen.places()
        device = record.device
        if targets and device and not health.device_problem(device) and here:
            raise HostError(
                f"volume {record.volume_id} does not work and is still published at {', '.join(targets)}; delete the pods on "
                "this node that use it"
            )
        dead = health.lost(device) if device else ""
        if not dead:
            seen.refuse_covered()
        elif seen.device:
            self._initiator.give_up(seen.device)
        if not targets and not dead and here:
            file_system.thaw(record)
        mounted.unmount_own(self._records, record, record.staging_path, seen=seen)
        if device and not targets:
            self._disconnect(record, force=bool(dead))

    def _disconnect(self, record: StageRecord, *, force: bool) -> None:
        """Disconnect the volume, unless its address now belongs to another volume that is staged here.

        Args:
            force: the device does not work. The caller has already checked the identity of a working device.
        """
        encryption.close(record, force=force)  # by its own name, whatever the device at the recorded path is now
        device = record.device
        with contextlib.suppress(HostError):
            name = (devices.identity(device.path) if force else device.wwid) if device else ""
            if owner := self._records.owner_of(name, other_than=record.volume_id):
                _log.warning("device kept connected", volume=record.volume_id, reason=f"in use by volume {owner}")
                return
        mounted.make_writable(record)
        self._initiator.disconnect(record.connection, device, force=force)

    def _carry_out(self, record: StageRecord, keys: Keys | None, *, fresh: bool) -> None:
        with ExitStack() as undo:
            self._records.save(record)
            undo.callback(self._give_back, record, fresh=fresh)
            reach("stage.intent")
            device = self._initiator.connect(record.connection)
            reach("stage.connected")
            if owner := self._records.owner_of(device.wwid, other_than=record.volume_id):
                undo.pop_all()  # a disconnect would take the device from its owner
                self._records.remove(record.volume_id)
                raise mounted.taken(device, owner)
            record = self._accept(record, device)
            self._grow_device(record, device)
            record = encryption.open(self._records, record, keys)
            file_system.undo_growth(self._records, record)
            if record.capability.is_block:
                file_system.note_raw_use(self._records, record)
            else:
                record = self._mount(record, keys, undo)
            self._records.save(replace(record, state=State.STAGED))
            undo.pop_all()

    def _mount(self, record: StageRecord, keys: Keys | None, undo: ExitStack) -> StageRecord:
        device = record.content
        assert device
        with kernel.named(f"cannot create the staging path {record.staging_path}"):
            resolving.make_directory(record.staging_path)
        table = mounts.table()
        mounted.require_none_below(record.staging_path, table)
        if here := mounts.uppermost(record.staging_path, table):
            mounted.require_reached(here, table)
            if here not in mounts.by_device(device.path, among=table):
                raise AlreadyExists("staging path", record.staging_path, "another mount is there")
            return replace(record, fs_type=here.fs_type)  # mounted before the record was lost
        record, found = file_system.ensure(self._records, record, device)
        undo.callback(mounted.unmount_own, self._records, record, record.staging_path)
        if record.connection.read_only:
            record = self._mount_read_only(record, device, keys, found)
        else:
            file_system.mount(record, device)
        reach("stage.mounted")
        file_system.grow_mounted(record, device, found)
        return record

    def _mount_read_only(self, record: StageRecord, device: Device, keys: Keys | None, found: Signature) -> StageRecord:
        """Mount a volume that is attached read-only. The device is set read-only first, so that the kernel cannot replay a
        journal while another node has the volume mounted.
        """
        devices.set_read_only(device.path, True)
        try:
            file_system.mount(record, device, found)
        except mounts.NeedsWriting as error:
            if not record.connection.alone:
                raise file_system.unclean(record, "the volume is attached to other nodes") from error
            record = self._replay(record, keys, found)
            assert record.content
            file_system.mount(record, record.content)
        return record

    def _replay(self, record: StageRecord, keys: Keys | None, found: Signature) -> StageRecord:
        """Let the kernel replay the journal, with the device temporarily writable."""
        record = self._switch(record, keys, read_only=False)
        device = record.content
        assert device
        _log.info("journal replay started", volume=record.volume_id, device=device.path)
        try:
            file_system.mount(record, device, found)
        except mounts.NeedsWriting as error:
            raise file_system.unclean(record, f"{device.path} is read-only") from error
        mounted.unmount_own(self._records, record, record.staging_path)
        devices.flush(device.path)
        return self._switch(record, keys, read_only=True)

    def _switch(self, record: StageRecord, keys: Keys | None, *, read_only: bool) -> StageRecord:
        """Make the volume read-only or writable. Its device may be another one then."""
        encryption.close(record)
        if record.device and record.device.file:  # attached read-only
            record = self._reattach(record, read_only=read_only)
        assert record.device
        devices.set_read_only(record.device.path, read_only)
        encryption.reopen(record, keys)
        return record

    def _reattach(self, record: StageRecord, *, read_only: bool) -> StageRecord:
        self._initiator.disconnect(record.connection, record.device)
        found = self._initiator.connect(replace(record.connection, read_only=read_only))
        return self._records.save(self._accept(record, found), this_boot=True)

    def _accept(self, record: StageRecord, device: Device) -> StageRecord:
        """Note the device, unless it differs from the volume's earlier one (promise 2).

        It is stored with the next state, before the mount. Until then the stored connection is enough to disconnect it.
        """
        known = record.device
        if known and known.wwid and device.wwid != known.wwid:
            if device.file:  # a separate loop device that no record names
                with contextlib.suppress(HostError):
                    devices.detach_file(device.path, expected=device.wwid)
            raise PreconditionFailed(
                f"volume {record.volume_id}: {device.path} identifies as {device.wwid or 'unknown'}, expected {known.wwid}; "
                "the device was not touched"
            )
        state = State.CONNECTED if record.state is State.INTENT else record.state
        return self._records.note(replace(record, device=device, state=state))

    def _grow_device(self, record: StageRecord, device: Device) -> None:
        """Rescan a device that still shows the size before an expansion (promise 13)."""
        if devices.size(device.path) < record.connection.size:
            self._initiator.extend(record.connection, device)

    def _give_back(self, record: StageRecord, *, fresh: bool) -> None:
        """Undo a failed stage. The record keeps what cannot be undone now, for the retry or NodeUnstageVolume."""
        with contextlib.suppress(DriverError):
            current = self._records.find(record.volume_id) or record
            with contextlib.suppress(HostError):  # parts may only have been noted in memory
                self._records.save(current, frees=True)
            if mounted.observe(current).own:
                return
            file_system.undo_growth(self._records, current)
            encryption.close(current)
            mounted.make_writable(current)
            self._initiator.disconnect(current.connection, current.device)
            if fresh and current.state in (State.INTENT, State.CONNECTED):
                self._records.remove(record.volume_id)

    def unstage(self, volume_id: str, staging_path: str) -> None:
        """Unmount, flush and disconnect the volume, then remove its record. Steps already done are skipped.

        Raises:
            InvalidRequest: the path contains a symbolic link or is not below the kubelet's directory.
            OperationPending: another call uses this volume or path.
            PreconditionFailed: the volume is still published, is covered by another mount, or has no record here (promise 4).
            CorruptRecord: the record cannot be read.
            HostError: a flush failed (the data is not safe), or the device is in use.
            NoAnswer: the volume's share does not respond; nothing was started.
        """
        self._calls.take_down(volume_id, lambda: self._unstage(volume_id, staging_path), self._initiator.give_up)

    def _unstage(self, volume_id: str, staging_path: str) -> None:
        staging_path = self._paths.resolve(staging_path, "staging_target_path")
        with self._locks.hold(mounted.key(volume_id), mounted.path_key(staging_path)):
            record = self._records.find(volume_id)
            if record is None or not _same_place(record, staging_path):
                if here := mounts.find(staging_path):
                    raise PreconditionFailed(
                        f"volume {volume_id}: {here.fs_type} from {here.source} is mounted at {staging_path}, but this node has "
                        "no stage record of the volume there; not unmounted"
                    )
                return
            self.take_down(record)

    def take_down(self, record: StageRecord) -> None:
        """`unstage` for a caller that holds the volume's lock and has read its record."""
        device = record.device
        dead = health.lost(device) if device else ""
        seen = mounted.observe(record, lost=dead)
        _, targets = seen.places()
        if targets:
            raise PreconditionFailed(f"volume {record.volume_id} is still published at {', '.join(sorted(targets))}")
        if not dead:
            seen.refuse_covered()
        elif seen.device:
            self._initiator.give_up(seen.device)
        here = seen.at(record.staging_path)
        if here and not dead and (here in seen.own or mounted.is_own(self._records, record, here)):
            file_system.thaw(record)
            file_system.write_out(record, here)
        if other := mounted.unmount_own(self._records, record, record.staging_path, seen=seen):
            _log.warning("foreign mount kept", volume=record.volume_id, path=other.target, source=other.source)
        reach("unstage.unmounted")
        if dead:
            _log.warning("device not flushed", volume=record.volume_id, reason=dead)
        elif device:
            file_system.undo_growth(self._records, record)
            if seen.view:
                mounted.detach_read_only_view(record)
            encryption.close(record)
            reach("unstage.closed")
        self._disconnect(record, force=bool(dead))
        reach("unstage.disconnected")
        self._records.remove(record.volume_id)


def _difference(record: StageRecord, request: StageVolume) -> str:
    if record.staging_path != request.staging_path:
        return f"it is staged at {record.staging_path}"
    return f"it is staged as {record.capability}, but {request.capability} was requested"


def _same_place(record: StageRecord, staging_path: str) -> bool:
    """Whether the record is for that path, or for a path that is no longer in use."""
    if record.staging_path == staging_path:
        return True
    seen = mounted.observe(record)
    return not seen.visible() and not seen.at(record.staging_path)
