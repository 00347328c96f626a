"""Driver calls for connections: exports, mappings, and a node's connection info."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_cinderlib.backend.columns import update_volume
from csi_cinderlib.backend.verbs import Attachments, Exported, Released
from csi_cinderlib.cinder import answers, faults
from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.errors import BackendError, DriverError
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Volume
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence import codec

_log = logs.logger(__name__)
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
    """Takes no slot: Cinder's drivers only check the properties and do not access their storage."""
    engine.call_quietly(engine.work(), engine.ready_driver().validate_connector, dict(connector))


def create_export(engine: Engine, volume: Volume, attachment: Attachment, attachments: Attachments) -> Exported:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=attachments)
    exported = engine.volume_object(work, volume)
    with answers.ids_kept(work, volume, exported):
        update = engine.ask(work, driver.create_export, engine.context, exported, dict(attachment.connector))
        update_volume(volume, update)  # fails if a record cannot store the result
    return Exported(columns=answers.plain(update), volume=work.volume(volume.id))


def initialize(
    engine: Engine, volume: Volume, attachment: Attachment, attachments: Attachments
) -> Mapping[str, object]:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=attachments)
    connector = dict(attachment.connector)
    info = engine.ask(work, driver.initialize_connection, engine.volume_object(work, volume), connector)
    if not isinstance(info.get("data"), Mapping):
        raise BackendError(engine.name, "the driver returned a connection without 'data'")
    whole = complete(work.volume(volume.id), info, connector, _defaults(driver))
    codec.encode(
        replace(attachment, connection_info=whole)
    )  # fails with the name of a value that a record cannot store
    return whole


def terminate(
    engine: Engine, volume: Volume, attachment: Attachment, attachments: Attachments, *, forced: bool | None
) -> Released:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=attachments)
    named = {} if forced is None else {"force": forced}
    subject, connector = engine.volume_object(work, volume), dict(attachment.connector)
    try:
        needed = engine.call(work, driver.terminate_connection, subject, connector, **named) is True
    except DriverError as error:
        if not faults.is_missing(error.__cause__ or error, work.volume(volume.id)):
            raise
        _log.warning("mapping already missing", volume=volume.id, backend=engine.name, reason=str(error))
        needed = False
    return Released(export_is_needed=needed, volume=work.volume(volume.id))


def remove_export(engine: Engine, volume: Volume, attachments: Attachments) -> None:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=attachments)
    engine.call(work, driver.remove_export, engine.context, engine.volume_object(work, volume))


def _defaults(driver: Any) -> Mapping[str, Any]:
    return {key: driver.configuration.safe_get(key) for key in ("report_discard_supported", "disk_geometry")}


def complete(
    volume: Volume, info: Mapping[str, Any], connector: Mapping[str, object], options: Mapping[str, Any]
) -> dict[str, object]:
    """A driver's result with the additions of Cinder's volume manager: front-end QoS, access mode, discard, block sizes.

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
    """Front-end QoS specs, with limits per GiB computed for a volume of `size` GiB, as in Cinder."""
    made: dict[str, Any] = dict(specs)
    for option in _PER_GB_OPTIONS:
        if (per_gb := f"{option}_per_gb") not in made:
            continue
        least = int(made.pop(f"{per_gb}_min", 0))
        value = max(least, int(made.pop(per_gb)) * int(size))
        made[option] = min(value, int(made.pop(f"{option}_max", value)))
    return made
