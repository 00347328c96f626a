"""Connections: a volume exported to, and mapped for, one node."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import convert, faults, reverts, rows
from csi_cinderlib.backend.api import Check, anybody
from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.backend.work import Work, change
from csi_cinderlib.errors import BackendError, DriverError, NotFound, OperationPending, PreconditionFailed, StaleRecord
from csi_cinderlib.model.records import Attachment, Status, Volume

_log = logging.getLogger(__name__)
_PER_GB_OPTIONS = (
    "read_iops_sec",
    "read_bytes_sec",
    "write_iops_sec",
    "write_bytes_sec",
    "total_iops_sec",
    "total_bytes_sec",
)
_BLOCK_SIZES = {"512": ("512", "512"), "512e": ("4096", "512"), "4k": ("4096", "4096")}


def validate(engine: Engine, connector: Mapping[str, object]) -> None:
    """Raises InvalidRequest when a node with these properties cannot reach the back end.

    It takes no slot: none of Cinder's drivers asks its storage here, they only look at the properties.
    """
    engine.call_quietly(engine.work(), engine.ready_driver().validate_connector, dict(connector))


def connect(engine: Engine, volume: Volume, attachment: Attachment, check: Check = anybody) -> Attachment:
    """Make the volume reachable for the attachment's node. The same attachment again returns, or is resumed.

    The volume's "never formatted" mark goes over to the first attachment that may write: it is taken off the volume
    before it is on the attachment, so that a crash in between can lose it but never give it to two nodes.
    """
    engine.ready_driver()
    with engine.turn(volume.id):
        return _connect(engine, volume, attachment, check)


def _connect(engine: Engine, volume: Volume, attachment: Attachment, check: Check) -> Attachment:
    driver = engine.ready_driver()
    try:
        known = engine.store.get(Attachment, attachment.id)
    except NotFound:
        known = None
    if known is not None and known.status is Status.AVAILABLE:
        return known
    engine.check_room()
    validate(engine, attachment.connector)
    work = engine.work(volume)
    if known is None:
        record = _begin(engine, work, attachment)
    else:
        # After a disconnection that did not end, the node has seen the device: it is not new any more.
        blank = known.blank and known.status is not Status.DELETING
        record = engine.intend(
            known, Status.CREATING, connector=attachment.connector, read_only=attachment.read_only, blank=blank
        )
    faultpoints.reach("publish.record-written")
    # A deletion of the volume that began meanwhile counts the attachments after its intent is written: look at the intent.
    volume = work.volumes[volume.id] = engine.store.get(Volume, volume.id)
    if volume.status in (Status.DELETING, Status.DELETED, Status.CREATING, Status.ERROR):
        _forget(engine, work, record)
        raise PreconditionFailed(f"volume {volume.id!r} is {volume.status}")
    _refuse_reverted(engine, work, volume, record)
    _check_others(engine, work, record, check)
    info = _export(engine, work, driver, volume, record)
    faultpoints.reach("publish.connected")

    def finished(current: Attachment) -> Attachment:
        engine.check_own(current, Status.CREATING)
        return replace(current, status=Status.AVAILABLE, connection_info=info, owner="", message="")

    try:
        return change(engine.store, record, finished)
    except (NotFound, StaleRecord) as error:
        _undo(engine, work, driver, engine.volume_object(work, work.volume(volume.id)), record, error)
        raise StaleRecord("attachment", record.id) from error


def _refuse_reverted(engine: Engine, work: Work, volume: Volume, record: Attachment) -> None:
    """A revert counts the attachments once the volume's record names its owner: so look at that after this intent is visible."""
    if volume.status is Status.AVAILABLE and reverts.is_running(engine, volume):
        _forget(engine, work, record)
        raise OperationPending(f"{volume.owner!r} is at work on volume {volume.id!r} ({volume.message})")


def _check_others(engine: Engine, work: Work, record: Attachment, check: Check) -> None:
    """Look at the other attachments once this one is visible: of two controllers that attach to two nodes, one sees the other."""
    try:
        check(_others(work, record))
    except DriverError:
        _forget(engine, work, record)
        raise


def _forget(engine: Engine, work: Work, record: Attachment) -> None:
    """Remove a record that was never answered, so that no node has seen the device: the volume gets its mark back.

    From whoever removes the record, and from nobody else: since another process did, a node may have formatted the volume. Nor
    after another attachment that may write: its node may have written, even if it has the volume no more.
    """
    if engine.remove(record) and record.blank:
        with contextlib.suppress(NotFound):
            work.change_volume(record.volume_id, _marked_again)


def _marked_again(volume: Volume) -> Volume:
    return volume if volume.mark_void else replace(volume, blank=True, raw=False)


def _begin(engine: Engine, work: Work, attachment: Attachment) -> Attachment:
    return engine.store.add(
        replace(
            attachment,
            status=Status.CREATING,
            blank=not attachment.read_only and _take_mark(work, attachment),
            owner=engine.owner,
            created_at=attachment.created_at or engine.now(),
        )
    )


def _take_mark(work: Work, attachment: Attachment) -> bool:
    """Take the "never formatted" mark off the volume; whether it was there. Of several processes at once, one gets it.

    A raw device that may be written to is noted on the volume besides: nobody here knows what is on it afterwards.
    """
    was_there = False

    def take(volume: Volume) -> Volume:
        nonlocal was_there
        was_there = volume.blank
        void = volume.mark_void or not was_there
        return replace(volume, blank=False, mark_void=void, raw=volume.raw or attachment.block)

    work.change_volume(attachment.volume_id, take)
    return was_there


def _export(engine: Engine, work: Work, driver: Any, volume: Volume, record: Attachment) -> dict[str, object]:
    made = engine.volume_object(work, volume)
    connector = dict(record.connector)
    try:
        update = engine.ask(work, driver.create_export, engine.context, made, connector)
        engine.call_quietly(work, convert.update_object, made, update)
        work.change_volume(volume.id, lambda one: rows.update_volume(one, update))
        faultpoints.reach("publish.exported")
        info = engine.ask(work, driver.initialize_connection, made, connector)
        if not isinstance(info.get("data"), Mapping):
            raise BackendError(engine.name, "the driver answered a connection without data")
        return complete(work.volume(volume.id), info, connector, _defaults(driver))
    except DriverError as error:
        _undo(engine, work, driver, made, record, error)
        raise


def _undo(engine: Engine, work: Work, driver: Any, made: Any, record: Attachment, error: DriverError) -> None:
    """Leave no mapping and no record of a failed connection. The export stays while others are connected through it."""
    if engine.is_taken_over(record):
        return
    work.forget_attachments(record.volume_id)  # others may have come while the driver worked
    try:
        if not _shares_connection(work, record):
            engine.call(work, driver.terminate_connection, made, dict(record.connector))
    except DriverError as second:
        if not faults.is_missing(second.__cause__ or second, work.volume(made.id)):
            engine.note(record, Status.ERROR, f"{error}; cleaning up failed, too: {second}")
            return
    if not _others(work, record):
        try:
            engine.call(work, driver.remove_export, engine.context, made)
        except DriverError as second:
            engine.note(record, Status.ERROR, f"{error}; cleaning up failed, too: {second}")
            return
    _forget(engine, work, record)


def _others(work: Work, record: Attachment) -> list[Attachment]:
    return [one for one in work.attachments(record.volume_id) if one.id != record.id]


def _shares_connection(work: Work, record: Attachment) -> bool:
    """Whether another attachment of the volume needs what the back end made for this very host (so do Cinder's drivers ask).

    A host that has the name alone in common is another one, and must be locked out.
    """
    return any(one.status is not Status.DELETING and _host(one) == _host(record) for one in _others(work, record))


def _host(attachment: Attachment) -> tuple[object, ...]:
    return tuple(attachment.connector.get(name) for name in ("host", "initiator", "nqn", "wwpns"))


def disconnect(engine: Engine, attachment: Attachment) -> None:
    """Take the volume away from the attachment's node: when this returns, the back end lets the node no longer in.

    Unless the same host has another attachment of the volume: the last one takes the mapping with it.

    Raises:
        CorruptRecord: another attachment of the volume cannot be read, so that nobody knows what it needs.
    """
    engine.ready_driver()
    with engine.turn(attachment.volume_id):
        _disconnect(engine, attachment)


def _disconnect(engine: Engine, attachment: Attachment) -> None:
    driver = engine.ready_driver()
    answered = attachment.status is not Status.CREATING
    try:
        record = engine.intend(attachment, Status.DELETING)
        volume = engine.store.get(Volume, record.volume_id)
    except NotFound:
        return
    faultpoints.reach("unpublish.record-written")
    work = engine.work(volume)
    try:
        made = engine.volume_object(work, volume)
        others_use_it = _terminate(engine, work, driver, made, record)
    except DriverError as error:
        engine.note(record, Status.DELETING, str(error))
        raise
    faultpoints.reach("unpublish.terminated")
    if not (others_use_it or _others(work, record)):
        try:
            engine.call(work, driver.remove_export, engine.context, made)
        except DriverError as error:
            # The node is locked out already. Cinder, too, only warns: deletion removes the export again.
            _log.warning("volume %s stays exported on back end %s: %s", volume.id, engine.name, error)
    if answered:
        engine.remove(record)
    else:
        _forget(engine, work, record)


def _terminate(engine: Engine, work: Work, driver: Any, made: Any, record: Attachment) -> bool:
    """Take the mapping away; whether the driver says that others need the export, as Cinder's manager asks it."""
    if not record.connector or _shares_connection(work, record):
        return False
    try:
        return engine.call(work, driver.terminate_connection, made, dict(record.connector), force=False) is True
    except DriverError as error:
        if not faults.is_missing(error.__cause__ or error, work.volume(made.id)):
            raise
        _log.warning("volume %s is gone from back end %s, and its mapping with it: %s", made.id, engine.name, error)
        return False


def _defaults(driver: Any) -> Mapping[str, Any]:
    return {key: driver.configuration.safe_get(key) for key in ("report_discard_supported", "disk_geometry")}


def complete(
    volume: Volume, info: Mapping[str, Any], connector: Mapping[str, object], options: Mapping[str, Any]
) -> dict[str, object]:
    """A driver's answer with what Cinder's volume manager adds to it: front-end QoS, access mode, discard, block sizes.

    Args:
        options: the driver's `report_discard_supported` and `disk_geometry`.
    """
    data = dict(info["data"])
    kind = volume.type
    if kind is not None and kind.qos_specs and kind.qos_consumer in ("front-end", "both"):
        data["qos_specs"] = front_end_qos(kind.qos_specs, volume.size)
    else:
        data["qos_specs"] = None
    data["access_mode"] = volume.admin_metadata.get(
        "attached_mode", "ro" if volume.admin_metadata.get("readonly") == "True" else "rw"
    )
    if data.get("encrypted") is None:
        data["encrypted"] = bool(volume.fields.get("encryption_key_id"))
    if kind is not None:
        wanted = kind.extra_specs.get("cacheable") == "<is> True"
        data["cacheable"] = wanted and bool(data.get("cacheable") is None or data["cacheable"])
    if data.get("discard") is None and options.get("report_discard_supported"):
        data["discard"] = True
    sizes = _BLOCK_SIZES.get(str(options.get("disk_geometry")))
    if sizes and "physical_block_size" not in data and "logical_block_size" not in data:
        data["physical_block_size"], data["logical_block_size"] = sizes
    data["enforce_multipath"] = bool(connector.get("enforce_multipath", False))
    return {**info, "data": data}


def front_end_qos(specs: Mapping[str, str], size: int) -> dict[str, Any]:
    """QoS specs for the front end, with limits per GiB worked out for a volume of `size` GiB, as Cinder does."""
    made: dict[str, Any] = dict(specs)
    for option in _PER_GB_OPTIONS:
        if (per_gb := f"{option}_per_gb") not in made:
            continue
        least = int(made.pop(f"{per_gb}_min", 0))
        value = max(least, int(made.pop(per_gb)) * int(size))
        made[option] = min(value, int(made.pop(f"{option}_max", value)))
    return made
