"""The file system of a staged volume: created if that is safe, mounted, grown to the size of its device."""

from __future__ import annotations

from dataclasses import replace

from csi_cinderlib.brick.device import Device
from csi_cinderlib.brick.tools import FENCED
from csi_cinderlib.errors import HostError, PreconditionFailed, UnsafeToFormat, Unsupported
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import blankness, devices, filesystems, kernel, mkfs, mounthistory, mountoptions, mounts
from csi_cinderlib.host.filesystems import EXT, Signature
from csi_cinderlib.model.capability import Mount
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node import health
from csi_cinderlib.node.formatting import Action, Decision, decide
from csi_cinderlib.node.stage_record import StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.observe import logs
from csi_cinderlib.pages import JOURNAL_PAGE

_log = logs.logger(__name__)


def ensure(records: StageRecords, record: StageRecord, device: Device) -> tuple[StageRecord, Signature]:
    """Ensure that the device has the requested file system, and record each step of its creation.

    Returns:
        The stored record, and the content of the device.

    Raises:
        UnsafeToFormat, PreconditionFailed, Unsupported: see `formatting.decide`.
        HostError: the device cannot be read, or mkfs failed.
    """
    try:
        return _ensure(records, record, device)
    except (UnsafeToFormat, PreconditionFailed, Unsupported):
        if record.state is State.FORMATTING:  # the content is not from mkfs, so the right to erase it ends
            records.save(replace(record, state=State.FORMATTED))
        raise


def _ensure(records: StageRecords, record: StageRecord, device: Device) -> tuple[StageRecord, Signature]:
    found = filesystems.probe(device.path)
    marked = records.formatted.holds(record.volume_id, record.connection.attachment)
    decision = decide(
        found,
        wanted(record),
        _rule(record),
        marked=marked,
        interrupted=record.fs_type if record.state is State.FORMATTING and device.wwid else "",
        never_mounted=lambda: found is not None and mounthistory.was_never_mounted(device.path, found),
        is_blank=lambda: blankness.is_blank(device.path),
    )
    if found is None or decision.action is not Action.USE:
        return _make(records, record, device, decision)
    if record.connection.formatting is Formatting.NEVER_FORMATTED and not marked:
        records.formatted.set(record.volume_id, record.connection.attachment)  # also if another program created it
    # A power loss may lose this state, as probing finds it again. It must survive the end of the process, which may leave a mount.
    record = records.save(replace(record, fs_type=decision.fs_type, state=State.FORMATTED), this_boot=True)
    return record, _prepared(records, record, device, found)


def clear_remains(records: StageRecords, record: StageRecord) -> bool:
    """Remove the remains of an interrupted mkfs before the volume leaves this node. No node could format or mount it otherwise.

    A complete file system, and anything else that an interrupted mkfs does not leave, is kept: without fencing, another node may
    have created it since. Such a node may also be creating one now, so nothing is removed after a reboot.

    Returns:
        Whether the device is now empty.

    Raises:
        HostError: mkfs still runs, or the device cannot be read or written.
    """
    device = record.device
    if record.state is not State.FORMATTING or not device or not device.wwid or devices.is_read_only(device.path):
        return False
    if _rule(record) is Formatting.FORBIDDEN:
        return False
    if record.boot_id != records.boot_id and record.connection.protocol not in FENCED:
        _log.warning(
            "remains of interrupted mkfs kept", volume=record.volume_id, reason="another node may have the volume"
        )
        return False
    if problem := health.device_problem(device) or health.replaced(device):
        raise HostError(f"volume {record.volume_id}: cannot remove the remains of an interrupted mkfs: {problem}")
    if kept := _other_content(record, device):
        _log.warning("content kept on device", volume=record.volume_id, device=device.path, content=kept)
        return False
    _log.warning("unfinished file system found", volume=record.volume_id, fs_type=record.fs_type)
    blankness.erase(device.path)
    records.formatted.clear(record.volume_id)  # the device is empty, so it may be formatted
    return True


def _other_content(record: StageRecord, device: Device) -> str:
    """What the device contains, unless an interrupted mkfs leaves such content."""
    found = filesystems.probe(device.path)
    if found is None:
        return mkfs.known_content(device.path)
    return "" if found.unfinished and found.name == record.fs_type else found.name


def undo_growth(records: StageRecords, record: StageRecord) -> None:
    """Undo an interrupted growth before the volume is used or leaves this node.

    Raises:
        HostError: the growth is still running, or the device cannot be written; the volume then stays here.
    """
    device, attachment = record.device, record.connection.attachment
    if not device or not records.growth.is_interrupted(record.volume_id, attachment):
        return
    problem = health.device_problem(device) or health.replaced(device)
    if not problem and devices.is_read_only(device.path):
        problem = f"{device.path} is read-only"
    if problem:
        raise HostError(f"volume {record.volume_id}: cannot undo the interrupted growth of its file system: {problem}")
    records.growth.undo(record.volume_id, attachment, device.path)


def note_raw_use(records: StageRecords, record: StageRecord) -> None:
    """Ensure that a volume that is used as a raw device is not formatted later, should its attachment permit that."""
    if not record.connection.read_only and record.connection.formatting is not Formatting.FORBIDDEN:
        records.formatted.set(record.volume_id, record.connection.attachment)


def wanted(record: StageRecord) -> str:
    """The requested file system, or "" for any."""
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
        found: the content of the device, if known.

    Raises:
        NeedsWriting: the journal must be replayed, but the device is read-only.
        HostError: any other failure.
    """
    if found and found.has_log and devices.is_read_only(device.path):  # the kernel would report an I/O error
        raise mounts.NeedsWriting(f"cannot mount {device.path} as {record.fs_type}: its log must be replayed")
    kind = record.capability.access_type
    flags = kind.flags if isinstance(kind, Mount) else ()
    modes = ("ro",) if is_read_only(record) else ()
    options = (*filesystems.mount_options(record.fs_type, device.path), *flags, *modes)
    mounts.mount(device.path, record.staging_path, record.fs_type, options)


def unclean(record: StageRecord, why: str) -> PreconditionFailed:
    """The error for a file system that cannot be mounted read-only until its journal is replayed."""
    return PreconditionFailed(
        f"cannot mount volume {record.volume_id} read-only: its {record.fs_type} was not unmounted cleanly, and its journal "
        f"cannot be replayed: {why}. Attach the volume to one node only, or attach a writable copy of it; see {JOURNAL_PAGE}"
    )


def thaw(record: StageRecord) -> None:
    """Thaw a file system that a dead pod may have left frozen. Call it only when nothing on this node uses the volume."""
    if filesystems.thaw(record.staging_path):
        _log.warning("frozen file system thawed", volume=record.volume_id)


def write_out(record: StageRecord, here: mounts.Mount) -> None:
    """Flush the file system, unless an error has stopped it: it has already reported the error and would refuse every sync."""
    if broken := health.mount_problem(here, read_only=is_read_only(record)):
        _log.warning("unwritten data lost", volume=record.volume_id, reason=broken)
    else:
        filesystems.write_out(record.staging_path)


def grow_mounted(record: StageRecord, device: Device, found: Signature | None = None) -> None:
    """Grow a mounted file system to the size of its device, for example after a restore to a larger volume.

    Args:
        found: the content of the device, if known.
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
    if decision.action is Action.MAKE_AGAIN:  # the record still names the interrupted file system
        _log.warning("unfinished file system found", volume=record.volume_id, fs_type=record.fs_type)
        blankness.erase(device.path)
    creation = mkfs.plan(device.path, decision.fs_type, record.connection.mkfs_options)
    # From this state on, what the device contains is the remains of mkfs, and may be erased.
    record = records.save(replace(record, fs_type=decision.fs_type, state=State.FORMATTING))
    reach("stage.format-intent")  # no mark yet: "never formatted" still holds
    records.formatted.set(record.volume_id, record.connection.attachment)
    reach("stage.format-marked")
    _log.info(
        "file system creation started",
        volume=record.volume_id,
        fs_type=decision.fs_type,
        device=device.path,
        wwid=device.wwid,
    )
    created = creation.carry_out()
    reach("stage.mkfs-done")
    # In memory is enough: the volume is not in use until it is staged, so mkfs may run again.
    record = records.note(replace(record, state=State.FORMATTED))
    reach("stage.formatted")
    return record, created


def _prepared(records: StageRecords, record: StageRecord, device: Device, found: Signature) -> Signature:
    """Check the file system if needed, and grow ext here if the kernel does not let this process grow it mounted."""
    if record.connection.read_only:
        return found
    filesystems.check(device.path, found)
    growing = found.name in EXT and not is_read_only(record) and filesystems.needs_growth(device.path, found)
    if not growing or kernel.has_capability(kernel.CAP_SYS_RESOURCE):  # needed to grow a mounted ext
        return found
    records.growth.grow(record.volume_id, record.connection.attachment, device.path)
    return replace(found, size=devices.size(device.path))
