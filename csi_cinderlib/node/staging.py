"""NodeStageVolume and NodeUnstageVolume: connect, format if that is safe, mount; and back."""

from __future__ import annotations

import contextlib
import logging
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
from csi_cinderlib.node import file_system, health, mounted
from csi_cinderlib.node.calls import Calls
from csi_cinderlib.node.contexts import Opener
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.stage_record import StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords

_log = logging.getLogger(__name__)


class Staging:
    """Makes volumes ready on this node, once each, for any number of publications."""

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
        """Connect the volume and mount it at the staging path; a block volume is connected only.

        Raises:
            InvalidRequest: no connection in publish_context, or not a readable one; the path leads through a link, or is not
                below the kubelet's directory.
            OperationPending: another call works on this volume, or at this path.
            AlreadyExists: staged with another path or capability, or the path is taken.
            PreconditionFailed: what is on the device forbids it (UnsafeToFormat, another file system, another device), the
                volume is still published here since an earlier attachment, or the context itself is of an earlier one.
            HostError: the device, a tool or a mount failed.
            NoAnswer: its share does not answer; nothing was begun.
        """
        connection = self._open(request)
        file = self._initiator.file_of(connection)
        self._calls.carry_out(request.volume_id, lambda: self._stage(request, connection), file=file)

    def _stage(self, request: StageVolume, connection: Connection) -> None:
        request = replace(request, staging_path=self._paths.resolve(request.staging_path, "staging_target_path"))
        with self._locks.hold(mounted.key(request.volume_id), mounted.path_key(request.staging_path)):
            self._refuse_occupied(request)
            mounted.require_free(self._records, connection)
            self._records.attachments.enter(request.volume_id, connection.attachment)
            previous = self._records.find(request.volume_id)
            if previous and not previous.is_of(connection):
                self._leave(previous)
                previous = None
            if previous:
                seen = mounted.observe(previous)
                if self._is_settled(previous, request, seen):
                    return
                self._clear_away(previous, seen)
            self._carry_out(_intent(request, connection, previous), fresh=previous is None)

    def _refuse_occupied(self, request: StageVolume) -> None:
        """A block volume is not mounted where it is staged, so the mount table does not show that its path is taken."""
        if owner := self._records.staged_at(request.staging_path, other_than=request.volume_id):
            other = self._records.find(owner)
            if other and other.capability.is_block and not mounted.is_another_device(other):
                raise AlreadyExists("staging path", request.staging_path, f"volume {owner} is staged there")

    def _open(self, request: StageVolume) -> Connection:
        text = request.publish_context.get("connection")
        if not text:
            raise InvalidRequest("publish_context", "has no connection: is the volume published to this node?")
        connection = Connection.from_bytes(self._contexts.open(text))
        if connection.volume_id != request.volume_id:
            raise InvalidRequest("publish_context", f"belongs to volume {connection.volume_id!r}")
        return connection

    def _is_settled(self, record: StageRecord, request: StageVolume, seen: mounted.Observation) -> bool:
        """Whether the volume is staged and works, just as it is asked for."""
        here, _ = seen.places()
        block = record.capability.is_block
        if not record.device or not (record.state is State.STAGED if block else here):
            return False
        problem = (
            health.device_problem(record.device)
            or health.replaced(record.device)
            or (health.mount_problem(here, read_only=file_system.is_read_only(record)) if here else "")
        )
        if problem:
            _log.warning("volume %s is staged but does not work, staging it again: %s", record.volume_id, problem)
            return False
        if (record.staging_path, record.capability) != (request.staging_path, request.capability):
            raise AlreadyExists("stage of volume", record.volume_id, _difference(record, request))
        if record.state is not State.STAGED:
            file_system.grow_mounted(record, record.device)
            self._records.save(replace(record, state=State.STAGED))
        return True

    def _leave(self, record: StageRecord) -> None:
        """Give up an earlier attachment whose unstage never came. Another node may have had the volume since: what is seen
        here is out of date, and what was not written must not be written now.
        """
        seen = mounted.observe(record)
        _, targets = seen.places()
        if targets:
            raise PreconditionFailed(
                f"volume {record.volume_id} is still published at {', '.join(sorted(targets))} under an earlier attachment: "
                "unpublish it there first"
            )
        _log.warning("volume %s was attached anew since it was staged: taking that stage down", record.volume_id)
        if record.device and seen.is_here:
            self._initiator.give_up(record.device)
            scsi.take_offline(record.device.path)  # the other kinds of device cannot be told to fail
        mounted.unmount_own(self._records, record, record.staging_path, seen=seen)
        self._disconnect(record, force=True)

    def _clear_away(self, record: StageRecord, seen: mounted.Observation) -> None:
        """Take down what an earlier, unfinished or broken stage left; what still works and is published stays."""
        here, targets = seen.places()
        device = record.device
        if targets and device and not health.device_problem(device) and here:
            raise HostError(f"volume {record.volume_id} does not work and is published at {', '.join(targets)}")
        dead = health.lost(device) if device else ""
        if not dead:
            seen.refuse_covered()
        elif device and seen.is_here:
            self._initiator.give_up(device)
        if not targets and not dead and here:
            file_system.thaw(record)
        mounted.unmount_own(self._records, record, record.staging_path, seen=seen)
        if device and not targets:
            self._disconnect(record, force=bool(dead))

    def _disconnect(self, record: StageRecord, *, force: bool) -> None:
        """Disconnect the volume, unless its address is that of another volume which is staged here by now.

        Args:
            force: its device does not work. One that does was compared a moment ago.
        """
        device = record.device
        with contextlib.suppress(HostError):
            name = (devices.identity(device.path) if force else device.wwid) if device else ""
            if owner := self._records.owner_of(name, other_than=record.volume_id):
                _log.warning("volume %s: its device is volume %s now and stays connected", record.volume_id, owner)
                return
        mounted.make_writable(record)
        self._initiator.disconnect(record.connection, device, force=force)

    def _carry_out(self, record: StageRecord, *, fresh: bool) -> None:
        with ExitStack() as undo:
            self._records.save(record)
            undo.callback(self._give_back, record, fresh=fresh)
            reach("stage.intent")
            device = self._initiator.connect(record.connection)
            reach("stage.connected")
            if owner := self._records.owner_of(device.wwid, other_than=record.volume_id):
                undo.pop_all()  # disconnecting it would take it from that volume
                self._records.remove(record.volume_id)
                raise mounted.taken(device, owner)
            record = self._accept(record, device)
            file_system.undo_growth(self._records, record)
            if record.capability.is_block:
                self._grow_device(record, device)
            else:
                record = self._mount(record, device, undo)
            self._records.save(replace(record, state=State.STAGED))
            undo.pop_all()

    def _mount(self, record: StageRecord, device: Device, undo: ExitStack) -> StageRecord:
        self._grow_device(record, device)
        with kernel.named(f"making the staging path {record.staging_path}"):
            resolving.make_directory(record.staging_path)
        table = mounts.table()
        mounted.require_none_below(record.staging_path, table)
        if here := mounts.uppermost(record.staging_path, table):
            mounted.require_reached(here, table)
            if here not in mounts.by_device(device.path, among=table):
                raise AlreadyExists("staging path", record.staging_path, "something else is mounted there")
            return replace(record, fs_type=here.fs_type)  # mounted before the record was lost
        record, found = file_system.ensure(self._records, record, device)
        undo.callback(mounted.unmount_own, self._records, record, record.staging_path)
        if record.connection.read_only:
            record = self._mount_read_only(record, device, found)
        else:
            file_system.mount(record, device)
        reach("stage.mounted")
        file_system.grow_mounted(record, device, found)
        return record

    def _mount_read_only(self, record: StageRecord, device: Device, found: Signature) -> StageRecord:
        """Mount a volume that is attached read-only. The kernel itself refuses writes meanwhile, so that it cannot replay a journal
        under another node that has the volume mounted.
        """
        devices.set_read_only(device.path, True)
        try:
            file_system.mount(record, device, found)
        except mounts.NeedsWriting as error:
            if not record.connection.alone:
                raise file_system.unclean(record, "other nodes have the volume, so this one must not write") from error
            record = self._replay(record, device, found)
            assert record.device
            file_system.mount(record, record.device)
        return record

    def _replay(self, record: StageRecord, device: Device, found: Signature) -> StageRecord:
        """Let the kernel replay the journal, with the device writable for that long."""
        if device.file:  # attached read-only
            record = self._reattach(record, read_only=False)
        else:
            devices.set_read_only(device.path, False)
        assert record.device
        _log.info(
            "volume %s: replaying the journal on %s before it is mounted read-only", record.volume_id, device.path
        )
        try:
            file_system.mount(record, record.device, found)
        except mounts.NeedsWriting as error:
            raise file_system.unclean(record, f"{device.path} takes no writes") from error
        mounted.unmount_own(self._records, record, record.staging_path)
        devices.flush(record.device.path)
        if device.file:
            record = self._reattach(record, read_only=True)
        assert record.device
        devices.set_read_only(record.device.path, True)
        return record

    def _reattach(self, record: StageRecord, *, read_only: bool) -> StageRecord:
        self._initiator.disconnect(record.connection, record.device)
        found = self._initiator.connect(replace(record.connection, read_only=read_only))
        return self._records.save(self._accept(record, found), this_boot=True)

    def _accept(self, record: StageRecord, device: Device) -> StageRecord:
        """Note the device, unless it is not the one that this volume had (promise 2).

        It is stored with the next state, before it is mounted; until then the stored connection is enough to let it go.
        """
        known = record.device
        if known and known.wwid and device.wwid != known.wwid:
            if device.file:  # a device of its own, which no record names
                with contextlib.suppress(HostError):
                    devices.detach_file(device.path, expected=device.wwid)
            raise PreconditionFailed(
                f"{device.path} is {device.wwid or 'unknown'}, and volume {record.volume_id} was {known.wwid} before: not touched"
            )
        state = State.CONNECTED if record.state is State.INTENT else record.state
        return self._records.note(replace(record, device=device, state=state))

    def _grow_device(self, record: StageRecord, device: Device) -> None:
        """A device that was found again may show the size of before the volume's growth (promise 13)."""
        if devices.size(device.path) < record.connection.size:
            self._initiator.extend(record.connection, device)

    def _give_back(self, record: StageRecord, *, fresh: bool) -> None:
        """Undo a failed stage. What cannot be undone now stays in the record, for the retry or NodeUnstageVolume."""
        with contextlib.suppress(DriverError):
            current = self._records.find(record.volume_id) or record
            with contextlib.suppress(HostError):  # some of it was only noted
                self._records.save(current, frees=True)
            if mounted.observe(current).own:
                return
            file_system.undo_growth(self._records, current)
            if file_system.clear_remains(self._records, current):
                current = self._records.save(replace(current, state=State.CONNECTED, fs_type=""), frees=True)
            mounted.make_writable(current)
            self._initiator.disconnect(current.connection, current.device)
            if fresh and current.state in (State.INTENT, State.CONNECTED):
                self._records.remove(record.volume_id)

    def unstage(self, volume_id: str, staging_path: str) -> None:
        """Unmount, flush, disconnect and forget the volume; what is undone already is skipped.

        Raises:
            InvalidRequest: the path leads through a link, or is not below the kubelet's directory.
            OperationPending: another call works on this volume, or at this path.
            PreconditionFailed: still published, mounted below something else, or mounted by somebody who left no record (promise 4).
            CorruptRecord: its record cannot be read.
            HostError: a flush failed (the data is not safe), or something holds the device.
            NoAnswer: its share does not answer; nothing was begun.
        """
        self._calls.take_down(volume_id, lambda: self._unstage(volume_id, staging_path), self._initiator.give_up)

    def _unstage(self, volume_id: str, staging_path: str) -> None:
        staging_path = self._paths.resolve(staging_path, "staging_target_path")
        with self._locks.hold(mounted.key(volume_id), mounted.path_key(staging_path)):
            record = self._records.find(volume_id)
            if record is None or not _same_place(record, staging_path):
                if here := mounts.find(staging_path):
                    raise PreconditionFailed(
                        f"{here.fs_type} from {here.source} is mounted at {staging_path}, and this node has no record of volume "
                        f"{volume_id} there: not unmounted"
                    )
                return
            self.take_down(self._found_again(record))

    def _found_again(self, record: StageRecord) -> StageRecord:
        """Connect a device that a reboot took away while mkfs ran: what mkfs left has to go before the volume does.

        Where the back end gives it no more, or gives another one, the remains stay.
        """
        known = record.device
        if record.state is not State.FORMATTING or not known or not mounted.is_another_device(record):
            return record
        try:
            found = self._initiator.connect(record.connection)
            if found.wwid == known.wwid:
                return self._records.save(replace(record, device=found), frees=True)
            if not self._records.owner_of(found.wwid, other_than=record.volume_id):
                self._initiator.disconnect(record.connection, found)
            problem = f"{found.path} is {found.wwid or 'unknown'} and not {known.wwid}"
        except DriverError as error:
            problem = str(error)
        _log.warning("volume %s: what an interrupted mkfs left stays on it: %s", record.volume_id, problem)
        return record

    def take_down(self, record: StageRecord) -> None:
        """`unstage` for one who holds the volume's lock, without its look at records."""
        device = record.device
        dead = health.lost(device) if device else ""
        seen = mounted.observe(record, lost=dead)
        _, targets = seen.places()
        if targets:
            raise PreconditionFailed(f"volume {record.volume_id} is still published at {', '.join(sorted(targets))}")
        if not dead:
            seen.refuse_covered()
        elif device and seen.is_here:
            self._initiator.give_up(device)
        here = seen.at(record.staging_path)
        if here and not dead and (here in seen.own or mounted.is_own(self._records, record, here)):
            file_system.thaw(record)
            file_system.write_out(record, here)
        if other := mounted.unmount_own(self._records, record, record.staging_path, seen=seen):
            _log.warning("%s is not volume %s and stays mounted: %s", other.target, record.volume_id, other.source)
        reach("unstage.unmounted")
        if dead:
            _log.warning("volume %s: nothing can be flushed any more: %s", record.volume_id, dead)
        elif device:
            file_system.undo_growth(self._records, record)
            file_system.clear_remains(self._records, record)
            reach("unstage.cleared")
            if seen.view:
                mounted.detach_read_only_view(record)
            if not devices.is_read_only(device.path):
                devices.flush(device.path)
        self._disconnect(record, force=bool(dead))
        reach("unstage.disconnected")
        self._records.remove(record.volume_id)


def _intent(request: StageVolume, connection: Connection, previous: StageRecord | None) -> StageRecord:
    """What is about to be done, and what an earlier attempt for the same attachment knows."""
    record = StageRecord(
        volume_id=request.volume_id,
        staging_path=request.staging_path,
        capability=request.capability,
        connection=connection,
    )
    if previous is None:
        return record
    record = replace(record, publications=previous.publications, device=previous.device)
    if previous.state is State.FORMATTING and not connection.attachment:
        return record  # nobody can tell whether it is the attachment for which mkfs was interrupted
    return replace(record, state=previous.state, fs_type=previous.fs_type)


def _difference(record: StageRecord, request: StageVolume) -> str:
    if record.staging_path != request.staging_path:
        return f"it is staged at {record.staging_path}"
    return f"it is staged as {record.capability}, but {request.capability} was requested"


def _same_place(record: StageRecord, staging_path: str) -> bool:
    """Whether the record is about that path, or about one that is of no use any more."""
    if record.staging_path == staging_path:
        return True
    seen = mounted.observe(record)
    return not seen.visible() and not seen.at(record.staging_path)
