"""Cinder's objects of records are the same as those that Cinder makes from the same rows."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from csi_cinderlib.cinder import convert, filling, rows, versioned
from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import (
    Attachment,
    Provider,
    Snapshot,
    Source,
    SourceKind,
    Status,
    Volume,
    VolumeType,
)
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore

ID = "5f3b1c1e-0000-4000-8000-000000000001"
PLAIN = Volume(id=ID, name="one", backend="array", host="h@array#gold", pool="gold", size=GiB(3))
RICH = dataclasses.replace(
    PLAIN,
    id="not-a-uuid",
    status=Status.AVAILABLE,
    created_at="2026-02-03T04:05:06.000007Z",
    source=Source(SourceKind.SNAPSHOT, ID),
    type=VolumeType(name="gold", extra_specs={"a": "b"}, qos_specs={"iops": "5"}),
    provider=Provider(location="here", auth="CHAP a b", id="7", geometry="x"),
    fields={
        "replication_status": "enabled",
        "bootable": "true",
        "availability_zone": "north",
        "migration_status": None,
    },
    metadata={"key": "value"},
    admin_metadata={"attached_mode": "rw"},
    multiattach=True,
)
ATTACHMENT = Attachment(
    id=ID,
    volume_id=RICH.id,
    backend="array",
    node_id="node",
    access_mode=AccessMode.SINGLE_NODE_WRITER,
    status=Status.AVAILABLE,
    connector={"host": "node", "ip": "192.0.2.1"},
    connection_info={"driver_volume_type": "iscsi", "data": {"target_lun": 1}},
    created_at="2026-02-03T04:05:06.000007Z",
)
SNAPSHOT = Snapshot(
    id=ID,
    volume_id=RICH.id,
    backend="array",
    size=GiB(3),
    name="taken",
    metadata={"a": "b"},
    fields={"project_id": "p"},
)


@pytest.fixture(autouse=True)
def _cinder() -> None:
    load_cinder()


def _work(volume: Volume, *attachments: Attachment) -> Work:
    return Work("array", MemoryStore(), volumes={volume.id: volume}, attached={volume.id: attachments})


def _state(made: Any) -> dict[str, Any]:
    """All that an object stores, with nested objects as JSON."""
    state = {name: value for name, value in vars(made).items() if name not in ("_context", "missed_id")}
    return {
        name: value.obj_to_primitive() if hasattr(value, "obj_to_primitive") else (type(value), value)
        for name, value in state.items()
    }


@pytest.mark.parametrize("volume", [PLAIN, RICH], ids=["plain", "rich"])
def test_a_volume_object_equals_the_one_that_cinder_makes(volume: Volume) -> None:
    from cinder import objects

    context = convert.admin_context()
    attachments = (ATTACHMENT,) if volume is RICH else ()
    ours = convert.volume_object(context, _work(volume, *attachments), volume)
    row = rows.volume_row(volume, attachments)
    theirs = objects.Volume._from_db_object(
        context,
        type(ours)(context),
        row,
        expected_attrs=[
            "metadata",
            "admin_metadata",
            "glance_metadata",
            "volume_type",
            "volume_type.extra_specs",
            "volume_attachment",
        ],
    )
    if volume.type is None:
        theirs.volume_type = None
        theirs.obj_reset_changes()
    assert _state(ours) == _state(theirs)
    assert ours.obj_what_changed() == set()


def test_a_snapshot_object_equals_the_one_that_cinder_makes() -> None:
    from cinder import objects

    context = convert.admin_context()
    ours = convert.snapshot_object(context, _work(RICH), SNAPSHOT)
    theirs = objects.Snapshot._from_db_object(
        context, type(ours)(context), rows.snapshot_row(SNAPSHOT, RICH), expected_attrs=["metadata"]
    )
    theirs.volume = ours.volume
    theirs.obj_reset_changes()
    assert _state(ours) == _state(theirs)


def test_an_attachment_object_equals_the_one_that_cinder_makes() -> None:
    from cinder import objects

    context = convert.admin_context()
    for attachment in (ATTACHMENT, dataclasses.replace(ATTACHMENT, status=Status.CREATING)):
        row = rows.attachment_row(attachment)
        theirs = objects.VolumeAttachment._from_db_object(context, objects.VolumeAttachment(context), row)
        assert _state(convert.attachment_object(context, row)) == _state(theirs)


def test_a_temporary_key_of_cinder_is_not_served() -> None:
    volume = dataclasses.replace(PLAIN, admin_metadata={"temporary": "True", "kept": "yes"})
    assert convert.volume_object(convert.admin_context(), _work(volume), volume).admin_metadata == {"kept": "yes"}


def test_values_of_another_type_are_converted_by_the_field() -> None:
    from cinder import objects

    row = {**rows.volume_row(PLAIN), "size": "3", "multiattach": 1, "display_name": 7}
    filled = filling.make(objects.Volume, None, row)
    assert (filled.size, filled.multiattach, filled.display_name) == (3, True, "7")


def test_a_value_that_a_field_does_not_accept_is_refused() -> None:
    from cinder import objects

    with pytest.raises(ValueError, match="display_name"):
        filling.make(objects.Volume, None, {**rows.volume_row(PLAIN), "display_name": ["a", "list"]})


def test_all_changes_of_fields_are_told() -> None:
    volume = convert.volume_object(convert.admin_context(), _work(RICH, ATTACHMENT), RICH)
    assert filling.changed(volume) == set()
    volume.display_name = "another"
    volume.metadata["another"] = "value"
    volume.admin_metadata.pop("attached_mode")
    assert filling.changed(volume) == volume.obj_what_changed() == {"display_name", "metadata", "admin_metadata"}
    assert json.loads(json.dumps(volume.metadata)) == {"key": "value", "another": "value"}


def test_objects_for_users_share_one_context() -> None:
    store = MemoryStore()
    store.add(PLAIN)
    first, second = versioned.volume(store, PLAIN), versioned.snapshot(store, SNAPSHOT, RICH)
    assert first._context is second._context is second.volume._context


def test_json_of_an_object_is_that_of_cinder() -> None:
    """Apart from the order, and from times, which keep their microseconds."""
    plain = dataclasses.replace(RICH, created_at="")
    volume = convert.volume_object(convert.admin_context(), _work(plain), plain)
    assert versioned.primitive(volume, ("volume_attachment", "volume_type"))["versioned_object.data"] == {
        name: value
        for name, value in volume.obj_to_primitive()["versioned_object.data"].items()
        if name not in ("volume_attachment", "volume_type")
    }
