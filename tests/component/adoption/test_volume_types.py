"""Links between volumes, types and QoS specs that cinderlib has damaged are restored where they are certain."""

from __future__ import annotations

from typing import Any

from csi_cinderlib.adoption.volume_types import Types
from csi_cinderlib.model.records import VolumeType


def qos(id: str, former: str, iops: str, *, second: int) -> list[dict[str, Any]]:
    """QoS specs as cinderlib leaves them: the id was changed after the values had been stored."""

    def at(part: str) -> str:
        return f"2026-01-01 00:00:{second:02}{part}"

    return [
        {"id": id, "key": "QoS_Specs_Name", "value": id, "created_at": at(".1"), "updated_at": at(".9")},
        {"id": f"{former}-1", "specs_id": former, "key": "consumer", "value": "front-end", "created_at": at(".2")},
        {"id": f"{former}-2", "specs_id": former, "key": "total_iops_sec", "value": iops, "created_at": at(".3")},
    ]


def types(*specs: dict[str, Any]) -> Types:
    rows = [{"id": "a", "name": "a", "qos_specs_id": None}, {"id": "b", "name": "b", "qos_specs_id": None}]
    return Types.of(rows, [], specs)


def test_values_are_found_by_the_time_at_which_they_were_stored() -> None:
    found = types(*qos("a", "x", "100", second=1), *qos("b", "y", "200", second=2))
    for id, iops in (("a", "100"), ("b", "200")):
        kind, _ = found.find({"id": id, "volume_type_id": id})
        assert kind == VolumeType(qos_specs={"total_iops_sec": iops}, qos_consumer="front-end")


def test_values_of_the_same_second_are_not_guessed() -> None:
    found = types(*qos("a", "x", "100", second=1), *qos("b", "y", "200", second=1))
    kind, notes = found.find({"id": "a", "volume_type_id": "a"})
    assert kind is None
    assert "QoS specs are lost" in notes[0]


def test_values_that_refer_to_their_specs_need_no_search() -> None:
    found = types(*qos("a", "a", "100", second=1), *qos("b", "b", "200", second=1))
    kind, notes = found.find({"id": "b", "volume_type_id": "b"})
    assert kind == VolumeType(qos_specs={"total_iops_sec": "200"}, qos_consumer="front-end")
    assert notes == ()


def test_a_shared_type_is_used_for_a_volume_without_one_of_its_own() -> None:
    shared = Types.of(
        [{"id": "gold", "qos_specs_id": "q"}],
        [{"volume_type_id": "gold", "key": "tier", "value": "1"}],
        qos("q", "q", "5", second=1),
    )
    kind, notes = shared.find({"id": "a", "volume_type_id": "gold"})
    assert kind == VolumeType(extra_specs={"tier": "1"}, qos_specs={"total_iops_sec": "5"}, qos_consumer="front-end")
    assert notes == ()


def test_deleted_specs_are_left_out() -> None:
    found = Types.of([{"id": "a"}], [{"volume_type_id": "a", "key": "k", "value": "v", "deleted": 1}], [])
    assert found.find({"id": "a", "volume_type_id": "a"}) == (None, ())


def test_values_of_many_volumes_are_found_in_a_moment() -> None:
    specs = [
        {**row, "id": f"{row['id']}{number}"} | ({"specs_id": f"x{number}"} if "specs_id" in row else {})
        for number in range(5000)
        for row in _at(
            qos("a", "x", str(number), second=0),
            f"2026-01-01 {number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}",
        )
    ]
    found = Types.of([{"id": f"a{number}"} for number in range(5000)], [], specs)
    for number in range(5000):
        kind, notes = found.find({"id": f"a{number}", "volume_type_id": f"a{number}"})
        assert kind is not None
        assert (kind.qos_specs, notes) == ({"total_iops_sec": str(number)}, ())


def _at(rows: list[dict[str, Any]], second: str) -> list[dict[str, Any]]:
    return [{key: second + value[19:] if key.endswith("_at") else value for key, value in row.items()} for row in rows]
