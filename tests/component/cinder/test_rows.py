"""Records as Cinder's rows, and drivers' updates back into records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_cinderlib.backend.columns import update_attachment, update_snapshot, update_volume
from csi_cinderlib.cinder import rows
from csi_cinderlib.errors import BackendError
from csi_cinderlib.model.records import Provider, Source, SourceKind, Status, VolumeType
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers


def test_a_volume_is_in_use_while_it_is_attached() -> None:
    volume = replace(makers.volume(), status=Status.AVAILABLE)
    attached = replace(makers.attachment(volume), status=Status.AVAILABLE)
    assert rows.volume_row(volume)["status"] == "available"
    row = rows.volume_row(volume, [attached])
    assert (row["status"], row["attach_status"], row["volume_attachment"][0]["attached_host"]) == (
        "in-use",
        "attached",
        "node-1",
    )


def test_a_driver_sees_an_ordinary_volume_and_snapshot_as_in_cinder() -> None:
    """RBD flattens only ordinary clones; Cinder's temporary ones have `use_quota` off."""
    volume = makers.volume()
    row, of_snapshot = rows.volume_row(volume), rows.snapshot_row(makers.snapshot(volume), volume)
    assert (row["use_quota"], row["shared_targets"], of_snapshot["use_quota"]) == (True, True, True)
    assert (row["updated_at"], of_snapshot["updated_at"]) == (None, None)
    assert rows.volume_row(replace(volume, name=""))["display_name"] is None


@pytest.mark.parametrize(
    ("status", "shown"), [(Status.AVAILABLE, "retyping"), (Status.ERROR, "retyping"), (Status.EXTENDING, "extending")]
)
def test_the_status_of_a_user_is_shown_unless_an_operation_is_in_progress(status: Status, shown: str) -> None:
    volume = replace(makers.volume(), status=status, fields={"status": "retyping"})
    assert rows.volume_row(volume)["status"] == shown


def test_an_attachment_in_the_making_shows_no_host_as_in_cinder() -> None:
    row = rows.attachment_row(makers.attachment(makers.volume()))
    assert (row["attach_status"], row["attached_host"], row["connector"]) == ("attaching", None, None)


@pytest.mark.parametrize(
    ("created_at", "moment"),
    [
        ("2026-02-03T04:05:06.000007Z", datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("2026-02-03T04:05:06.000007", None),
        ("2026-02-03T04:05:06.000007+01:00", None),
        ("2026-02-03", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_time_that_is_not_in_utc_is_none(created_at: str, moment: datetime | None) -> None:
    assert rows.volume_row(replace(makers.volume(), created_at=created_at))["created_at"] == moment


@pytest.mark.parametrize(
    ("kind", "column"), [(SourceKind.SNAPSHOT, "snapshot_id"), (SourceKind.VOLUME, "source_volid")]
)
def test_the_source_stands_in_cinders_column_for_it(kind: SourceKind, column: str) -> None:
    row = rows.volume_row(replace(makers.volume(), source=Source(kind, "abc")))
    assert row[column] == "abc"


def test_each_volume_is_its_own_type() -> None:
    volume = makers.volume(type=VolumeType(name="gold", extra_specs={"a": "b"}, qos_specs={"c": "d"}))
    row = rows.volume_row(volume)
    assert (row.volume_type_id, row.volume_type.name, row.volume_type.extra_specs) == (volume.id, "gold", {"a": "b"})
    assert row.volume_type.qos_specs.specs == {"c": "d"}
    assert row.volume_type.qos_specs_id == row.volume_type.qos_specs.id
    assert rows.volume_row(makers.volume())["volume_type_id"] is None


def test_qos_has_an_id_of_its_content() -> None:
    """Drivers name policies on the array by it."""

    def id_of(**values: Any) -> object:
        row = rows.qos_row(makers.volume(type=VolumeType(**values)))
        return row and row["id"]

    known = id_of(qos_specs={"a": "1", "b": "2"})
    assert known == id_of(name="gold", extra_specs={"x": "y"}, qos_specs={"b": "2", "a": "1"})
    others = ({"a": "1"}, {"a": "1", "b": "3"}, {"a": "2", "b": "1"})
    assert (
        len({known, id_of(qos_specs={"a": "1", "b": "2"}, qos_consumer="both"), *(id_of(qos_specs=x) for x in others)})
        == 5
    )


def test_a_volume_for_several_nodes_says_so_in_its_extra_specs() -> None:
    row = rows.type_row(makers.volume(multiattach=True))
    assert row is not None
    assert row.extra_specs == {"multiattach": "<is> True"}


def test_a_drivers_update_lands_where_it_belongs() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    updated = update_volume(
        makers.volume(),
        {
            "provider_location": "here",
            "provider_id": "7",
            "metadata": {"a": 1},
            "admin_metadata": {"b": "2"},
            "size": 5,
            "replication_status": "enabled",
            "replication_driver_data": "xyz",
            "launched_at": moment,
            "status": "available",
            "id": "never",
        },
    )
    assert updated.provider == Provider(location="here", id="7")
    assert (updated.metadata, updated.admin_metadata, updated.size) == ({"a": "1"}, {"b": "2"}, GiB(5))
    assert updated.fields == {
        "replication_status": "enabled",
        "replication_driver_data": "xyz",
        "launched_at": "2026-01-02T00:00:00+00:00",
    }
    assert (updated.status, updated.id) != (Status.AVAILABLE, "never")


def test_columns_that_a_driver_set_come_back_to_it() -> None:
    updated = update_volume(makers.volume(), {"replication_driver_data": "xyz", "provider_auth": "CHAP a b"})
    row = rows.volume_row(updated)
    assert (row["replication_driver_data"], row["provider_auth"]) == ("xyz", "CHAP a b")


def test_ids_of_any_type_are_kept_as_text() -> None:
    updated = update_volume(makers.volume(), {"provider_location": 207, "provider_id": b"lun-7"})
    assert updated.provider == Provider(location="207", id="lun-7")
    assert update_snapshot(makers.snapshot(updated), {"provider_id": None}).provider == Provider()


@pytest.mark.parametrize("value", [{"lun": 7}, ["a"], ("a",), {"a"}], ids=["mapping", "list", "tuple", "set"])
@pytest.mark.parametrize("column", ["provider_id", "provider_auth", "replication_driver_data"])
def test_a_collection_where_text_is_kept_is_an_error_that_names_the_column(column: str, value: object) -> None:
    volume = makers.volume("array")
    with pytest.raises(BackendError, match=f"'array'.* returned a {type(value).__name__} for {column}"):
        update_volume(volume, {column: value})
    with pytest.raises(BackendError, match=f"'array'.* returned a {type(value).__name__} for {column}"):
        update_snapshot(makers.snapshot(volume), {column: value})


@pytest.mark.parametrize("column", ["metadata", "admin_metadata"])
def test_a_collection_in_metadata_is_an_error_that_names_the_key(column: str) -> None:
    with pytest.raises(BackendError, match=rf"returned a list for {column}\[luns\]"):
        update_volume(makers.volume(), {column: {"luns": [1, 2]}})


def test_numbers_and_booleans_become_text_as_in_cinders_objects() -> None:
    given = {"provider_geometry": 7, "replication_driver_data": 8, "admin_metadata": {"lun": 9, "thin": True}}
    updated = update_volume(makers.volume(), given)
    assert (updated.provider.geometry, updated.fields) == ("7", {"replication_driver_data": "8"})
    assert updated.admin_metadata == {"lun": "9", "thin": "True"}


def test_columns_that_no_store_could_keep_become_text_at_any_depth() -> None:
    updated = update_volume(makers.volume(), {"vendor": {"pool": {"a set"}, 7: (b"wwn", datetime(2026, 1, 2))}})
    assert updated.fields == {"vendor": {"pool": "{'a set'}", "7": ["wwn", "2026-01-02T00:00:00"]}}


def test_metadata_may_come_as_a_list_of_pairs() -> None:
    updated = update_volume(makers.volume(), {"metadata": [{"key": "a", "value": "b"}]})
    assert updated.metadata == {"a": "b"}


def test_a_failover_moves_the_volume() -> None:
    moved = update_volume(makers.volume(pool="p"), {"host": "csi-cinderlib@other#q"})
    assert (moved.host, moved.pool) == ("csi-cinderlib@other#q", "q")


def test_an_update_of_nothing_changes_nothing() -> None:
    volume = makers.volume()
    assert update_volume(volume, {}) == volume


def test_a_snapshots_update_is_kept() -> None:
    snapshot = makers.snapshot(makers.volume())
    updated = update_snapshot(snapshot, {"provider_location": "x", "metadata": {"a": "b"}, "progress": "100%"})
    assert (updated.provider.location, updated.metadata, updated.fields) == ("x", {"a": "b"}, {})


def test_connector_and_connection_may_come_as_text() -> None:
    attachment = update_attachment(makers.attachment(makers.volume()), {"connector": '{"host": "x"}'})
    assert attachment.connector == {"host": "x"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("size", "large"),
        ("size", [1]),
        ("metadata", "text"),
        ("metadata", [("a", "b")]),
        ("admin_metadata", [{"key": "a"}]),
    ],
)
def test_an_unsupported_value_of_a_driver_is_an_error_that_names_the_column(column: str, value: object) -> None:
    with pytest.raises(BackendError, match=f"for {column}; expected"):
        update_volume(makers.volume(), {column: value})
