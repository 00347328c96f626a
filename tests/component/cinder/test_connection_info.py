"""What Cinder's volume manager adds to a driver's answer, a node gets here as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.cinder.connection_calls import complete, front_end_qos
from csi_cinderlib.model.records import VolumeType
from tests.support.fakes import makers

INFO = {"driver_volume_type": "iscsi", "data": {"target_lun": 1}}


@pytest.mark.parametrize(
    ("specs", "size", "limits"),
    [
        ({"total_iops_sec": "500"}, 10, {"total_iops_sec": "500"}),
        ({"total_iops_sec_per_gb": "30"}, 10, {"total_iops_sec": 300}),
        ({"total_iops_sec_per_gb": "0"}, 10, {"total_iops_sec": 0}),
        ({"read_iops_sec_per_gb": "30", "read_iops_sec_per_gb_min": "1000"}, 10, {"read_iops_sec": 1000}),
        ({"write_bytes_sec_per_gb": "30", "write_bytes_sec_max": "200"}, 10, {"write_bytes_sec": 200}),
        ({"total_bytes_sec_per_gb": "5", "size_iops_sec": "4"}, 2, {"total_bytes_sec": 10, "size_iops_sec": "4"}),
    ],
)
def test_limits_per_gib_are_worked_out_for_the_front_end(
    specs: dict[str, str], size: int, limits: dict[str, object]
) -> None:
    assert front_end_qos(specs, size) == limits


@pytest.mark.parametrize(("consumer", "handed_out"), [("front-end", True), ("both", True), ("back-end", False)])
def test_only_qos_for_the_front_end_reaches_the_node(consumer: str, handed_out: bool) -> None:
    kind = VolumeType(qos_specs={"total_iops_sec": "5"}, qos_consumer=consumer)
    info: Any = complete(makers.volume(type=kind), INFO, {}, {})
    assert info["data"]["qos_specs"] == ({"total_iops_sec": "5"} if handed_out else None)


def test_discard_and_block_sizes_come_from_the_back_ends_options() -> None:
    options = {"report_discard_supported": True, "disk_geometry": "512e"}
    data: Any = complete(makers.volume(), INFO, {"enforce_multipath": True}, options)["data"]
    assert (data["discard"], data["physical_block_size"], data["logical_block_size"]) == (True, "4096", "512")
    assert data["enforce_multipath"] is True


def test_what_the_driver_says_itself_is_not_overruled() -> None:
    own = {"driver_volume_type": "iscsi", "data": {"discard": False, "encrypted": True, "logical_block_size": "512"}}
    data: Any = complete(makers.volume(), own, {}, {"report_discard_supported": True, "disk_geometry": "4k"})["data"]
    assert (data["discard"], data["encrypted"], data["logical_block_size"]) == (False, True, "512")
    assert "physical_block_size" not in data


def test_a_read_only_volume_says_so() -> None:
    volume = replace(makers.volume(), admin_metadata={"readonly": "True"})
    data: Any = complete(volume, INFO, {}, {})["data"]
    assert data["access_mode"] == "ro"


@pytest.mark.parametrize(
    "option", ["read_iops", "read_bytes", "write_iops", "write_bytes", "total_iops", "total_bytes"]
)
def test_each_limit_may_be_given_per_gib_with_bounds(option: str) -> None:
    name = f"{option}_sec"
    specs = {f"{name}_per_gb": "10", f"{name}_per_gb_min": "15", f"{name}_max": "30"}
    assert [front_end_qos(specs, size) for size in (1, 2, 4)] == [{name: 15}, {name: 20}, {name: 30}]
    assert specs == {f"{name}_per_gb": "10", f"{name}_per_gb_min": "15", f"{name}_max": "30"}


def data(volume: Any, info: Any = INFO, connector: Any = None, options: Any = None) -> Any:
    return complete(volume, info, connector or {}, options or {})["data"]


def test_an_answer_is_completed_and_not_changed() -> None:
    info = {"driver_volume_type": "iscsi", "data": {"target_lun": 1}, "more": "yes"}
    assert complete(makers.volume(), info, {}, {}) == {
        "driver_volume_type": "iscsi",
        "more": "yes",
        "data": {
            "target_lun": 1,
            "qos_specs": None,
            "access_mode": "rw",
            "encrypted": False,
            "enforce_multipath": False,
        },
    }
    assert info["data"] == {"target_lun": 1}


@pytest.mark.parametrize(
    ("metadata", "mode"),
    [
        ({}, "rw"),
        ({"readonly": "False"}, "rw"),
        ({"readonly": "True"}, "ro"),
        ({"attached_mode": "ro"}, "ro"),
        ({"attached_mode": "rw", "readonly": "True"}, "rw"),
    ],
)
def test_the_access_mode_is_the_volumes(metadata: dict[str, str], mode: str) -> None:
    assert data(replace(makers.volume(), admin_metadata=metadata))["access_mode"] == mode


def test_an_encrypted_volume_says_so() -> None:
    assert data(replace(makers.volume(), fields={"encryption_key_id": "k"}))["encrypted"] is True
    told = {"driver_volume_type": "iscsi", "data": {"encrypted": False}}
    assert data(replace(makers.volume(), fields={"encryption_key_id": "k"}), told)["encrypted"] is False


@pytest.mark.parametrize(
    ("wanted", "told", "cacheable"),
    [
        ("<is> True", {}, True),
        ("<is> True", {"cacheable": True}, True),
        ("<is> True", {"cacheable": False}, False),
        ("<is> False", {"cacheable": True}, False),
    ],
)
def test_a_cache_is_used_where_the_type_wants_it_and_the_driver_allows_it(
    wanted: str, told: dict[str, bool], cacheable: bool
) -> None:
    volume = makers.volume(type=VolumeType(extra_specs={"cacheable": wanted}))
    assert data(volume, {"data": told})["cacheable"] is cacheable
    assert data(makers.volume(type=VolumeType()), {"data": {}})["cacheable"] is False


@pytest.mark.parametrize(
    ("geometry", "sizes"),
    [("512", ("512", "512")), ("512e", ("4096", "512")), ("4k", ("4096", "4096")), ("auto", (None, None))],
)
def test_block_sizes_are_told_as_configured(geometry: str, sizes: tuple[str | None, str | None]) -> None:
    told = data(makers.volume(), options={"disk_geometry": geometry})
    assert (told.get("physical_block_size"), told.get("logical_block_size")) == sizes
    assert "discard" not in told


def test_block_sizes_of_the_driver_count() -> None:
    info = {"data": {"physical_block_size": "4096"}}
    assert "logical_block_size" not in data(makers.volume(), info, options={"disk_geometry": "512"})
