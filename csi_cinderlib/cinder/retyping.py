"""The driver call that changes the type of an existing volume: Cinder's `retype`, never with a migration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_cinderlib.backend.columns import update_volume
from csi_cinderlib.backend.verbs import Attachments, Retyped
from csi_cinderlib.cinder import answers, convert, in_place, rows
from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.errors import BackendError, InvalidRequest
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Modification, Volume, VolumeType


def retype(engine: Engine, volume: Volume, attachments: Attachments, modification: Modification) -> Retyped:
    """Let the driver change the volume, as Cinder's volume manager does (`VolumeManager.retype`).

    A driver that may change nothing is never called, because it may copy the volume.
    """
    driver = engine.ready_driver()
    review = in_place.retypes(type(driver))
    if not review.anything:
        return Retyped(accepted=False, untouched=True)
    work = engine.work(volume, attachments=attachments)
    subject = engine.volume_object(work, volume)
    _show_status(subject, in_use=bool(attachments))
    if modification.origin != volume.type:  # the way back
        _set_type(engine, work, subject, _carrier(work, volume, modification.origin))
    wanted = _carrier(work, volume, modification.wanted or VolumeType())
    new_type = engine.call_quietly(work, convert.type_object, engine.context, wanted)
    diff, is_equal = engine.call_quietly(work, _difference, engine.context, subject.volume_type_id, wanted.id)
    if is_equal:
        return Retyped(accepted=True)
    host = engine.call_quietly(work, _host, driver, volume)
    try:
        answer = engine.call(work, driver.retype, engine.context, subject, new_type, diff, host)
    except InvalidRequest as error:
        raise InvalidRequest("mutable_parameters", error.problem) from error.__cause__
    except BackendError as error:
        if isinstance(error.__cause__, in_place.WouldCopy):
            return Retyped(accepted=False, untouched=True)
        raise
    accepted, update = answer if isinstance(answer, tuple) else (answer, None)
    if not accepted:
        return Retyped(accepted=False, untouched=review.untouched)
    columns = {**_replication(diff), **_checked(engine, update)}
    update_volume(volume, columns)  # fails if a record cannot store the result
    return Retyped(accepted=True, columns=answers.plain(columns))


def _show_status(subject: Any, *, in_use: bool) -> None:
    """As Cinder's API does before a retype: drivers read `previous_status`. Not stored, even if the driver saves the object."""
    subject.previous_status = "in-use" if in_use else "available"
    subject.status = "retyping"
    subject.obj_reset_changes(["status", "previous_status"])


def _carrier(work: Work, volume: Volume, kind: VolumeType | None) -> Volume:
    """A volume through which Cinder's database serves the type: each volume has its own type, with the volume's id."""
    carrier = replace(volume, id=rows.content_id(kind or VolumeType()), type=kind)
    work.volumes[carrier.id] = carrier
    work.attached[carrier.id] = ()
    return carrier


def _set_type(engine: Engine, work: Work, subject: Any, carrier: Volume) -> None:
    kind = engine.call_quietly(work, convert.type_object, engine.context, carrier)
    subject.volume_type_id = kind and kind.id
    subject.volume_type = kind
    subject.obj_reset_changes(["volume_type_id", "volume_type"])


def _difference(context: Any, old: str | None, new: str) -> tuple[dict[str, Any], bool]:
    from cinder.volume import volume_types

    diff, is_equal = volume_types.volume_types_diff(context, old, new)
    return dict(diff), bool(is_equal)


def _host(driver: Any, volume: Volume) -> dict[str, Any]:
    """The destination, in the form of Cinder's scheduler: the volume's own pool, with its report."""
    report = driver.get_volume_stats(refresh=False) or {}
    pools = report.get("pools") or ()
    pool: Mapping[str, Any] = next((item for item in pools if item.get("pool_name") == volume.pool), {})
    whole = {name: value for name, value in report.items() if name != "pools"}
    return {"host": volume.host, "cluster_name": None, "capabilities": {**whole, **pool}}


def _checked(engine: Engine, update: Any) -> Mapping[str, Any]:
    if update is None:
        return {}
    if not isinstance(update, Mapping):
        raise BackendError(
            engine.name, f"the driver returned {type(update).__name__} from retype; expected a dictionary"
        )
    return update


def _replication(diff: Mapping[str, Any]) -> dict[str, str]:
    """The replication status after the change, if the driver does not return it (`VolumeManager._set_replication_status`)."""
    from cinder.objects import fields
    from cinder.volume import volume_utils

    change = diff.get("extra_specs", {}).get("replication_enabled")
    if not change:
        return {}
    status = fields.ReplicationStatus
    return {"replication_status": status.ENABLED if volume_utils.is_boolean_str(change[1]) else status.DISABLED}
