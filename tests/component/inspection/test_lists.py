"""Lists of records: filters, order, and what people call a record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csi_cinderlib.errors import NotFound
from csi_cinderlib.inspection import description, lists, rows
from csi_cinderlib.inspection.lists import Filter
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import (
    Attachment,
    Group,
    GroupSnapshot,
    Node,
    Provider,
    Snapshot,
    Source,
    SourceKind,
    Status,
    Volume,
)
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.times import stamp
from csi_cinderlib.persistence.memory import MemoryStore

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ago(**elapsed: int) -> str:
    return stamp(NOW - timedelta(**elapsed))


def volume(id: str, **values: Any) -> Volume:
    base: dict[str, Any] = {
        "backend": "a",
        "pool": "p",
        "size": GiB(1),
        "status": Status.AVAILABLE,
        "created_at": ago(days=2),
    }
    return Volume(id=id, **{**base, **values})


def claim(namespace: str, name: str) -> dict[str, str]:
    return {"pvc/namespace": namespace, "pvc/name": name}


ATTACHMENT = Attachment(
    id="at1",
    volume_id="v1",
    backend="a",
    node_id="w1",
    access_mode=AccessMode.SINGLE_NODE_WRITER,
    status=Status.AVAILABLE,
    connector={"host": "worker-1", "initiator": "iqn.x", "wwpns": ["50"]},
    connection_info={"driver_volume_type": "iscsi", "data": {"auth_password": "geheim"}},
    created_at=ago(hours=1),
)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    provider = Provider(id="arr-1", auth="CHAP u geheim")
    store.add(
        volume("v1", name="pvc-1", labels=claim("shop", "data"), provider=provider, fields={"san_password": "geheim"})
    )
    store.add(volume("v2", backend="b", pool="q", status=Status.ERROR, message="full", created_at=ago(days=3)))
    copied = Source(SourceKind.VOLUME, "v1")
    store.add(volume("v3", labels=claim("bank", "data"), source=copied, created_at=ago(minutes=5), group_id="g1"))
    store.add(ATTACHMENT)
    store.add(
        Snapshot(id="s1", backend="a", volume_id="v1", size=GiB(1), status=Status.AVAILABLE, group_snapshot_id="gs1")
    )
    store.add(Group(id="g1", backend="a", volume_ids=("v3",), status=Status.AVAILABLE))
    store.add(GroupSnapshot(id="gs1", backend="a", group_id="g1", snapshot_ids=("s1", "gone"), status=Status.AVAILABLE))
    store.add(Node(id="w1", connector={"host": "worker-1", "ip": "192.0.2.1"}, public_key="key"))
    return store


def listed(store: MemoryStore, **wanted: Any) -> list[str]:
    found, _ = lists.oldest_first(lists.volumes(store, Filter(**wanted), NOW))
    return [row["id"] for row in found]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["v2", "v1", "v3"]),
        ({"backends": ("a",)}, ["v1", "v3"]),
        ({"backends": ("a", "b")}, ["v2", "v1", "v3"]),
        ({"pools": ("q",)}, ["v2"]),
        ({"statuses": ("error",)}, ["v2"]),
        ({"nodes": ("worker-1",)}, ["v1"]),
        ({"claims": ("bank/data",)}, ["v3"]),
        ({"namespaces": ("shop",)}, ["v1"]),
        ({"troubled": True}, ["v2"]),
        ({"words": ("v",)}, ["v2", "v1", "v3"]),
        ({"words": ("shop/data", "v2")}, ["v2", "v1"]),
        ({"words": ("pvc-1",)}, ["v1"]),
        ({"words": ("pvc",)}, []),
        ({"backends": ("a",), "troubled": True}, []),
    ],
)
def test_volumes_are_filtered_and_the_oldest_comes_first(
    store: MemoryStore, wanted: dict[str, Any], expected: list[str]
) -> None:
    assert listed(store, **wanted) == expected


def test_too_many_rows_are_given_as_they_come() -> None:
    many = ({"id": str(number), "created_at": str(9 - number)} for number in range(9))
    found, is_sorted = lists.oldest_first(many, most=5)
    assert ([row["id"] for row in found], is_sorted) == ([str(number) for number in range(9)], False)


def test_an_unreadable_record_has_all_columns_and_counts_as_failed(store: MemoryStore) -> None:
    store._put_raw(Volume, "broken", "1-x", "{")
    assert listed(store, troubled=True) == ["broken", "v2"]
    (row,) = [row for row in lists.volumes(store, Filter(), NOW) if row["id"] == "broken"]
    assert row["status"] == rows.UNREADABLE


def test_an_attachment_that_failed_makes_its_volume_one_that_failed(store: MemoryStore) -> None:
    store.replace(replace(store.get(Attachment, "at1"), message="no path"))
    assert listed(store, troubled=True) == ["v2", "v1"]


def test_attachments_show_their_claim_node_and_protocol(store: MemoryStore) -> None:
    (row,) = lists.attachments(store, Filter(namespaces=("shop",)), NOW)
    assert (row["claim"], row["node"], row["protocol"], row["age"]) == ("shop/data", "worker-1", "iscsi", "1h")
    assert "geheim" not in str(row)


def test_nodes_are_those_that_registered_and_those_that_attachments_name(store: MemoryStore) -> None:
    store.add(replace(ATTACHMENT, id="at2", node_id="w9", connector={"host": "worker-9"}))
    shown = [(row["host"], row["attachments"], row["registered"]) for row in lists.node_rows(store, store, Filter())]
    assert shown == [("worker-1", 1, "yes"), ("worker-9", 1, "no")]
    assert [row["host"] for row in lists.node_rows(store, None, Filter(words=("worker-9",)))] == ["worker-9"]


@pytest.mark.parametrize(
    ("elapsed", "expected"),
    [
        ({"seconds": 7}, "7s"),
        ({"minutes": 3}, "3m"),
        ({"hours": 30}, "1d"),
        ({"hours": 5}, "5h"),
        ({"hours": -1}, "0s"),
    ],
)
def test_an_age_is_shown_in_its_largest_unit(elapsed: dict[str, int], expected: str) -> None:
    assert rows.age(ago(**elapsed), NOW) == expected
    assert rows.age("", NOW) == ""


def test_a_volume_is_described_with_all_that_belongs_to_it_and_without_secrets(store: MemoryStore) -> None:
    shown = description.describe(store, Volume, "v1", NOW).as_row()
    assert {title: [row["id"] for row in found] for title, found in shown["related"].items()} == {
        "attachments": ["at1"],
        "snapshots": ["s1"],
        "copies": ["v3"],
    }
    assert (shown["size_gib"], shown["provider"]["id"], shown["array_name"], shown["age"]) == (
        1,
        "arr-1",
        "volume-v1",
        "2d",
    )
    assert "geheim" not in str(shown)


@pytest.mark.parametrize(
    ("kind", "id", "expected"),
    [
        (Volume, "v3", {"source": ["v1"], "group": ["g1"]}),
        (Snapshot, "s1", {"volume": ["v1"], "group snapshot": ["gs1"]}),
        (Attachment, "at1", {"volume": ["v1"]}),
        (Group, "g1", {"volumes": ["v3"]}),
        (GroupSnapshot, "gs1", {"snapshots": ["s1", "gone"], "group": ["g1"]}),
    ],
)
def test_every_kind_is_described(store: MemoryStore, kind: Any, id: str, expected: dict[str, list[str]]) -> None:
    related = description.describe(store, kind, id, NOW).related
    assert {title: [row["id"] for row in found] for title, found in related.items()} == expected
    assert "geheim" not in str(related)


def test_what_an_object_names_and_is_gone_is_shown_as_gone(store: MemoryStore) -> None:
    (_, gone) = description.describe(store, GroupSnapshot, "gs1", NOW).related["snapshots"]
    assert gone == {"id": "gone", "status": "gone"}


def test_a_word_means_the_exact_id_before_the_beginning_of_others(store: MemoryStore) -> None:
    store.add(volume("v1-longer"))
    assert [row["id"] for row in description.matching(store, Volume, "v1", NOW)] == ["v1"]
    assert len(description.matching(store, Volume, "v", NOW)) == 4
    with pytest.raises(NotFound):
        description.describe(store, Volume, "v", NOW)
