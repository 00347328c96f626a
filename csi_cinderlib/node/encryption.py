"""Encrypted volumes: write the header if that is safe, open it, change its key, close it.

A volume is encrypted if the controller says so in the sealed connection. It is then used through its mapping only (`StageRecord.content`).
A new volume is encrypted on a device that is proven to be blank, intent first and header last: the file system is created through a
header in memory, which is then written to the device. A header on a device therefore belongs to a complete volume, which another node may
have used since: it is opened, never replaced or erased.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import HostError, PreconditionFailed, UnsafeToFormat
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.host import blankness, devices, disposable, filesystems, luks, luks_header, mounts, unfinished
from csi_cinderlib.host.identities import sysfs
from csi_cinderlib.host.luks_header import Header
from csi_cinderlib.model.encryption import SECTOR, header_of
from csi_cinderlib.node import file_system
from csi_cinderlib.node.formatting import HeaderAction, decide_header
from csi_cinderlib.node.header_check import check_header
from csi_cinderlib.node.passphrases import Keys, checked_header, verified_key
from csi_cinderlib.node.stage_record import StageRecord, State
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


def open(records: StageRecords, record: StageRecord, keys: Keys | None) -> StageRecord:
    """Open the header of a connected volume; a new volume is encrypted before. Does nothing for a volume in plain.

    Returns:
        The stored record, whose `content` can be mounted or published.

    Raises:
        UnsafeToFormat: the device has other content, or has lost its header.
        WrongKey: neither key opens it.
        PreconditionFailed: the size of the device is not a multiple of `SECTOR`.
        OperationPending: many volumes are being opened.
        HostError: the device, cryptsetup or mkfs failed, or the mapping is in use.
    """
    device = record.device
    assert device
    if not record.mapping:
        return record
    assert keys
    if (size := devices.size(device.path)) % SECTOR:
        raise PreconditionFailed(
            f"volume {record.volume_id}: its device has {size} bytes, but encryption needs a multiple of {SECTOR}; nothing was changed"
        )
    if record.connection.read_only:
        devices.set_read_only(device.path, True)
    with file_system.ended_by_refusal(records, record):
        try:
            return _open(records, record, device, keys)
        except UnsafeToFormat:
            if not _is_mounted(record):
                with contextlib.suppress(HostError):  # in use
                    luks.close(record.mapping)
            raise


def _open(records: StageRecords, record: StageRecord, device: Device, keys: Keys) -> StageRecord:
    marked = records.formatted.holds(record.volume_id, record.connection.attachment)
    action = decide_header(
        filesystems.probe(device.path),
        file_system.rule(record),
        marked=marked,
        unfinished=file_system.is_unfinished(record, device, marked=marked),
        is_blank=lambda: blankness.is_blank(device.path),
    )
    if action is HeaderAction.WRITE:
        record = _create(records, record, device, keys.current)
    return _open_existing(records, record, device, keys)


def _create(records: StageRecords, record: StageRecord, device: Device, key: bytes) -> StageRecord:
    """Encrypt a device without content, with its file system.

    The header is the last thing that is written, so a header on a device proves a complete volume, which may be in use. Until its mapping is
    open, nothing is written: whatever this node lacks is found out before.
    """
    luks.close(record.mapping)
    proof = disposable.of_empty(device.path)
    record = replace(record, header=record.connection.header or header_of(record.volume_id), fs_type="")
    record = records.save(record)  # before the mapping is there
    reach("stage.header-intent")
    with luks_header.new(key, uuid=record.header) as header:
        check_header(record.volume_id, luks_header.metadata(header))
        luks.open(device.path, record.mapping, header, luks_header.volume_key(header, key))
        content = _checked(record)
        reach("stage.content-mapped")
        unfinished.mark(proof, record.volume_id, record.connection.attachment, is_held=True)
        reach("stage.device-marked")  # no mark of the attachment yet: "never formatted" still holds
        records.formatted.set(record.volume_id, record.connection.attachment)
        reach("stage.header-marked")
        _log.info("encryption started", volume=record.volume_id, device=device.path, wwid=device.wwid)
        blankness.clear_ends(content.path)
        fs_type = file_system.create(record, content)
        reach("stage.content-made")
        close(record)
        file_system.is_unfinished(record, device, marked=True)  # raises if another node has begun since
        luks_header.write(proof, header)
    reach("stage.header-written")
    # In memory is enough: the header shows that the volume is complete.
    return records.note(replace(record, state=State.FORMATTED, fs_type=fs_type))


def _open_existing(records: StageRecords, record: StageRecord, device: Device, keys: Keys) -> StageRecord:
    with checked_header(record) as header:
        found = replace(record, header=luks_header.uuid_of(header))
        record = records.save(found, this_boot=True)  # with its device, before the mapping is there
        is_mounted = _is_mounted(record)  # before the record was lost
        if not is_mounted:
            luks.close(record.mapping)
            file_system.end_creation(record)  # the header is complete, and never replaced
        key = verified_key(record, keys, header)
        if not records.formatted.holds(record.volume_id, record.connection.attachment):
            records.formatted.set(record.volume_id, record.connection.attachment)  # a lost header is never replaced
        if not is_mounted:
            _map(record, device, header, key)
    if is_mounted and (why := problem(record)):
        raise HostError(f"volume {record.volume_id}: {why}")
    reach("stage.header-opened")
    return record


def _is_mounted(record: StageRecord) -> bool:
    found = luks.find(record.mapping)
    return bool(found and found.active and mounts.by_device(found.path))


def verify(record: StageRecord, keys: Keys) -> None:
    """Check the header and the key of a volume that is in use, and change its key if there is a previous one.

    Raises as `verified_key` and `checked_header`.
    """
    with checked_header(record) as header:
        verified_key(record, keys, header)


def reopen(record: StageRecord, keys: Keys | None) -> None:
    """Open the mapping of a known header again, after its device was made read-only or writable. Raises as `open`."""
    if record.mapping:
        assert keys
        assert record.device
        with checked_header(record) as header:
            _map(record, record.device, header, verified_key(record, keys, header))


def _map(record: StageRecord, device: Device, header: Header, key: bytes) -> None:
    volume_key = luks_header.volume_key(header, key)
    luks.open(device.path, record.mapping, header, volume_key, read_only=devices.is_read_only(device.path))
    _checked(record)


def _checked(record: StageRecord) -> Device:
    """The content of a mapping that was just opened. It is closed if it is not on the volume's device."""
    if why := problem(record):
        luks.close(record.mapping)
        raise HostError(f"volume {record.volume_id}: {why}")
    assert record.content
    return record.content


def problem(record: StageRecord) -> str:
    """Why the mapping of an encrypted volume does not show the volume's device; "" if it does, or for a volume in plain. Sends no I/O."""
    if not record.mapping:
        return ""
    try:
        content, device = record.content, record.device
        found = luks.find(record.mapping)
        if not found or not found.active or not content or not device:
            return f"its mapping {record.mapping} is not open"
        if found.identity != content.wwid:
            return f"its mapping {record.mapping} identifies as {found.identity}, expected {content.wwid}"
        if found.below != (sysfs(device.path).name,):
            return f"its mapping {record.mapping} is on {', '.join(found.below) or 'no device'}, not on {device.path}"
    except (HostError, OSError) as error:
        return str(error)
    return ""


def grow(record: StageRecord) -> None:
    """Grow the mapping to the size of its device. Needs no key. Does nothing for a volume in plain. Raises HostError."""
    if record.mapping:
        luks.resize(record.mapping)


def close(record: StageRecord, *, force: bool = False) -> None:
    """Flush and remove the mapping, if there is one; also one that the record does not know yet.

    Args:
        force: the device does not work. Nothing is flushed, and if the mapping is in use, it goes with its last user.

    Raises:
        HostError: a flush failed, or the mapping is in use; it stays.
    """
    if not record.mapping:
        return
    found = luks.find(record.mapping)
    if not found:
        return
    if found.active and not force and not devices.is_read_only(found.path):
        devices.flush(found.path)
    luks.close(record.mapping, deferred=force)
