"""The file system of a staged volume: created if that is safe, mounted, grown to the size of its device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import HostError, PreconditionFailed, UnsafeToFormat, Unsupported
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import (
    blankness,
    devices,
    disposable,
    filesystems,
    kernel,
    mkfs,
    mountoptions,
    mounts,
    unfinished,
)
from csi_cinderlib.host.filesystems import EXT, Signature
from csi_cinderlib.model.capability import DEFAULT_FILE_SYSTEM, Mount
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node import health
from csi_cinderlib.node.formatting import Action, Decision, decide
from csi_cinderlib.node.stage_record import StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.observe import logs
from csi_cinderlib.pages import HEADER_PAGE, JOURNAL_PAGE

_log = logs.logger(__name__)


def create(record: StageRecord, content: Device) -> str:
    """Create the file system of a new encrypted volume, whose header is not on the device yet.

    Returns:
        The file system; "" for a raw device.

    Raises:
        HostError: mkfs failed.
    """
    if record.capability.is_block:
        return ""
    fs_type = wanted(record) or DEFAULT_FILE_SYSTEM
    return mkfs.plan(content.path, fs_type, record.connection.mkfs_options).carry_out().name


def ensure(records: StageRecords, record: StageRecord, device: Device) -> tuple[StageRecord, Signature]:
    """Ensure that the device has the requested file system, and record each step of its creation. An open encrypted volume is complete: it
    must already have one.

    Returns:
        The stored record, and the content of the device.

    Raises:
        UnsafeToFormat, PreconditionFailed, Unsupported: see `formatting.decide`.
        HostError: the device cannot be read, or mkfs failed.
    """
    with ended_by_refusal(records, record):
        return _ensure(records, record, device)


@contextlib.contextmanager
def ended_by_refusal(records: StageRecords, record: StageRecord) -> Iterator[None]:
    """Remove the mark of an unfinished creation if the volume's device is refused: what is there is from no creation, and must not be
    taken for that later. If another program holds the device, so that the mark stays, this node does not format the volume any more.
    """
    try:
        yield
    except (UnsafeToFormat, PreconditionFailed, Unsupported):
        try:
            end_creation(record)
        except HostError as error:
            _log.warning("mark of unfinished creation kept", volume=record.volume_id, reason=str(error))
            records.save(replace(records.find(record.volume_id) or record, state=State.FORMATTED))
        raise


def end_creation(record: StageRecord) -> None:
    """Remove the mark of an unfinished creation before the volume's device is used. A reader leaves it, since it writes nothing either.

    Raises HostError.
    """
    device = record.device
    if not device or record.connection.read_only or devices.is_read_only(device.path):
        return
    if unfinished.is_marked(device.path, record.volume_id):
        unfinished.remove(device.path, record.volume_id)


def is_unfinished(record: StageRecord, device: Device, *, marked: bool) -> bool:
    """Whether the device has the mark of a creation of this volume that has not ended.

    Args:
        marked: this node has recorded content for this attachment.

    Raises:
        HostError: the device cannot be read; or this node has begun a creation, and another one has begun since.
    """
    return unfinished.is_marked(device.path, record.volume_id, by=record.connection.attachment if marked else None)


def _ensure(records: StageRecords, record: StageRecord, device: Device) -> tuple[StageRecord, Signature]:
    found = filesystems.probe(device.path)
    marked = records.formatted.holds(record.volume_id, record.connection.attachment)
    if found is None and record.mapping:
        raise UnsafeToFormat(
            f"volume {record.volume_id}: there is no file system in its encryption. It was encrypted as a raw device; "
            f"nothing was changed. See {HEADER_PAGE}"
        )
    interrupted = not record.mapping and is_unfinished(record, device, marked=marked)
    decision = decide(
        found,
        wanted(record),
        Formatting.FORBIDDEN if record.mapping else rule(record),
        marked=marked,
        unfinished=interrupted,
        is_wreck=lambda: found is not None and disposable.is_wreck(device.path, found),
        is_blank=lambda: blankness.is_blank(device.path),
    )
    if found is None or decision.action is not Action.USE:
        return _make(records, record, device, decision)
    if interrupted:  # a node died after mkfs
        end_creation(record)
    if record.connection.formatting is Formatting.NEVER_FORMATTED and not marked:
        records.formatted.set(record.volume_id, record.connection.attachment)  # also if another program created it
    # A power loss may lose this state, as probing finds it again. It must survive the end of the process, which may leave a mount.
    record = records.save(replace(record, fs_type=decision.fs_type, state=State.FORMATTED), this_boot=True)
    return record, _prepared(records, record, device, found)


def undo_growth(records: StageRecords, record: StageRecord) -> None:
    """Undo an interrupted growth before the volume is used or leaves this node.

    Raises:
        HostError: the growth is still running, or the device cannot be written; the volume then stays here.
    """
    device, attachment = record.content, record.connection.attachment
    if not device or not records.growth.is_interrupted(record.volume_id, attachment):
        return
    problem = health.device_problem(device) or health.replaced(device)
    if not problem and devices.is_read_only(device.path):
        problem = f"{device.path} is read-only"
    if problem:
        raise HostError(f"volume {record.volume_id}: cannot undo the interrupted growth of its file system: {problem}")
    records.growth.undo(record.volume_id, attachment, device.path)


def note_raw_use(records: StageRecords, record: StageRecord) -> None:
    """Ensure that a volume that is used as a raw device is not taken for one without data later."""
    if not record.mapping:
        end_creation(record)
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


def rule(record: StageRecord) -> Formatting:
    """Whether the connected device may be formatted."""
    if record.connection.read_only or record.state.beyond_formatting:
        return Formatting.FORBIDDEN
    return record.connection.formatting


def _make(
    records: StageRecords, record: StageRecord, device: Device, decision: Decision
) -> tuple[StageRecord, Signature]:
    if decision.action is Action.MAKE_AGAIN:
        _log.warning("unfinished file system found", volume=record.volume_id, device=device.path)
        remains = disposable.of_remains(device.path)
        records.formatted.clear(record.volume_id)  # the device is about to be empty; until then its own mark says so
        unfinished.mark(remains, record.volume_id, record.connection.attachment)  # an earlier creator must not finish
        blankness.erase(remains)
    creation = mkfs.plan(device.path, decision.fs_type, record.connection.mkfs_options)
    record = records.save(replace(record, fs_type=decision.fs_type))  # with its device, before the mount is there
    reach("stage.device-recorded")
    unfinished.mark(creation.proof, record.volume_id, record.connection.attachment)
    reach("stage.device-marked")  # no mark of the attachment yet: "never formatted" still holds
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
    unfinished.remove(device.path, record.volume_id, by=record.connection.attachment)
    # In memory is enough: what is on the device is found again.
    record = records.note(replace(record, fs_type=decision.fs_type, state=State.FORMATTED))
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
