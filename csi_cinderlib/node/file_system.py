"""The file system of a staged volume: made only when that is safe, mounted, grown to its device."""

from __future__ import annotations

import logging
from dataclasses import replace

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import HostError, PreconditionFailed
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import blankness, devices, filesystems, kernel, mountoptions, mounts
from csi_cinderlib.host.filesystems import EXT, Signature
from csi_cinderlib.model.capability import Mount
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node import health
from csi_cinderlib.node.formatting import Action, Decision, decide
from csi_cinderlib.node.stage_record import StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.pages import JOURNAL_PAGE

_log = logging.getLogger(__name__)


def ensure(records: StageRecords, record: StageRecord, device: Device) -> tuple[StageRecord, Signature]:
    """See that the device carries the file system that is wanted, and record each step of making one.

    Returns:
        The record as it is stored now, and what the device carries.

    Raises:
        UnsafeToFormat, PreconditionFailed, Unsupported: see `formatting.decide`.
        HostError: the device cannot be read, or mkfs failed.
    """
    found = filesystems.probe(device.path)
    marked = records.formatted.holds(record.volume_id, record.connection.attachment)
    decision = decide(
        found,
        wanted(record),
        _rule(record),
        marked=marked,
        interrupted=record.fs_type if record.state is State.FORMATTING and device.wwid else "",
        is_blank=lambda: blankness.is_blank(device.path),
    )
    if found is None or decision.action is not Action.USE:
        return _make(records, record, device, decision)
    if record.connection.formatting is Formatting.NEVER_FORMATTED and not marked:
        records.formatted.set(record.volume_id, record.connection.attachment)  # whoever made it
    # What it carries is found again after the loss of power; a process that ends must know the device that is mounted or changed.
    record = records.save(replace(record, fs_type=decision.fs_type, state=State.FORMATTED), this_boot=True)
    return record, _prepared(records, record, device, found)


def clear_remains(records: StageRecords, record: StageRecord) -> bool:
    """Remove what an mkfs left that did not end, before the volume leaves this node: nobody could format or mount it any more.

    A whole file system is kept, if only because another node may have made it since, where no fence kept this one out.

    Returns:
        Whether the device carries nothing any more.

    Raises:
        HostError: mkfs still runs, or the device cannot be read or written.
    """
    device = record.device
    if record.state is not State.FORMATTING or not device or not device.wwid or devices.is_read_only(device.path):
        return False
    if problem := health.device_problem(device) or health.replaced(device):
        raise HostError(f"volume {record.volume_id} may carry what an interrupted mkfs left: {problem}")
    found = filesystems.probe(device.path)
    if found and not found.unfinished:
        return False
    _log.warning("volume %s: removing what an interrupted mkfs (%s) left", record.volume_id, record.fs_type)
    blankness.erase(device.path)
    records.formatted.clear(record.volume_id)  # nothing of a file system is left, so that it may get one
    return True


def undo_growth(records: StageRecords, record: StageRecord) -> None:
    """Undo a growth that did not end, before anybody uses the volume and before it leaves this node.

    Raises:
        HostError: the growth still runs, or the device cannot be written; then it stays here.
    """
    device, attachment = record.device, record.connection.attachment
    if not device or not records.growth.is_interrupted(record.volume_id, attachment):
        return
    problem = health.device_problem(device) or health.replaced(device)
    if not problem and devices.is_read_only(device.path):
        problem = f"{device.path} takes no writes"
    if problem:
        raise HostError(f"volume {record.volume_id}: the growth of its file system must be undone first: {problem}")
    records.growth.undo(record.volume_id, attachment, device.path)


def wanted(record: StageRecord) -> str:
    """The file system asked for, or "" for any."""
    kind = record.capability.access_type
    return (kind.fs_type if isinstance(kind, Mount) else "") or record.connection.fs_type


def is_read_only(record: StageRecord) -> bool:
    """Whether the volume is to be mounted read-only at its staging path."""
    kind = record.capability.access_type
    asked = isinstance(kind, Mount) and mountoptions.is_read_only(kind.flags)
    return record.connection.read_only or record.capability.access_mode.read_only or asked


def mount(record: StageRecord, device: Device, found: Signature | None = None) -> None:
    """Mount the volume at its staging path.

    Args:
        found: what the device carries, if that is known.

    Raises:
        NeedsWriting: its journal must be replayed, and the device is read-only.
        HostError: anything else.
    """
    if found and found.has_log and devices.is_read_only(device.path):  # the kernel calls it an I/O error
        raise mounts.NeedsWriting(f"mounting {device.path} as {record.fs_type}: its log must be replayed")
    kind = record.capability.access_type
    flags = kind.flags if isinstance(kind, Mount) else ()
    modes = ("ro",) if is_read_only(record) else ()
    options = (*filesystems.mount_options(record.fs_type, device.path), *flags, *modes)
    mounts.mount(device.path, record.staging_path, record.fs_type, options)


def unclean(record: StageRecord, why: str) -> PreconditionFailed:
    """A file system that cannot be mounted read-only before its journal was replayed."""
    return PreconditionFailed(
        f"volume {record.volume_id} is not mounted: its {record.fs_type} was not unmounted cleanly, files would be missing until its "
        f"journal is replayed, and {why}. Attach it to one node only, or a copy of it writable; see {JOURNAL_PAGE}"
    )


def thaw(record: StageRecord) -> None:
    """A pod that died may have left its file system frozen. Only once nothing on this node uses it any more."""
    if filesystems.thaw(record.staging_path):
        _log.warning(
            "volume %s: its file system was left frozen by a program that used it, and was thawed", record.volume_id
        )


def write_out(record: StageRecord, here: mounts.Mount) -> None:
    """Flush the file system, unless an error stopped it for good: it told its users then, and would refuse to sync for ever."""
    if broken := health.mount_problem(here, read_only=is_read_only(record)):
        _log.warning("volume %s: unwritten data is lost: %s", record.volume_id, broken)
    else:
        filesystems.write_out(record.staging_path)


def grow_mounted(record: StageRecord, device: Device, found: Signature | None = None) -> None:
    """Let a file system that grows only mounted (or best so) cover its device: after a restore to a larger volume, say.

    Args:
        found: what the device carries, if that is known.
    """
    if is_read_only(record) or not filesystems.needs_growth(device.path, found):
        return
    filesystems.grow(device.path, record.staging_path)


def _rule(record: StageRecord) -> Formatting:
    if record.connection.read_only or record.state.beyond_formatting:
        return Formatting.FORBIDDEN
    return record.connection.formatting


def _make(
    records: StageRecords, record: StageRecord, device: Device, decision: Decision
) -> tuple[StageRecord, Signature]:
    if decision.action is Action.MAKE_AGAIN:  # the record still says what was interrupted
        _log.warning("volume %s: removing what an interrupted mkfs (%s) left", record.volume_id, record.fs_type)
        blankness.erase(device.path)
    record = records.save(replace(record, fs_type=decision.fs_type, state=State.FORMATTING))
    reach("stage.format-intent")  # no mark yet: until it is there, "never formatted" is still true
    records.formatted.set(record.volume_id, record.connection.attachment)
    reach("stage.format-marked")
    _log.info("volume %s: making %s on %s (%s)", record.volume_id, decision.fs_type, device.path, device.wwid)
    made = filesystems.make(device.path, decision.fs_type, record.connection.mkfs_options)
    reach("stage.mkfs-done")
    record = records.note(
        replace(record, state=State.FORMATTED)
    )  # until it is staged nobody writes to it, so mkfs may run again
    reach("stage.formatted")
    return record, made


def _prepared(records: StageRecords, record: StageRecord, device: Device, found: Signature) -> Signature:
    """Check what wants a check, and grow ext here where the kernel does not let this process grow it mounted."""
    if record.connection.read_only:
        return found
    filesystems.check(device.path, found)
    growing = found.name in EXT and not is_read_only(record) and filesystems.needs_growth(device.path, found)
    if not growing or kernel.has_capability(kernel.CAP_SYS_RESOURCE):  # the kernel wants it for ext that is mounted
        return found
    records.growth.grow(record.volume_id, record.connection.attachment, device.path)
    return replace(found, size=devices.size(device.path))
