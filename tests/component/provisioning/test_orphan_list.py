"""What the list of orphans says about each of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Node, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.times import stamp
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning import remedies
from csi_cinderlib.provisioning.orphans import Orphan, Orphans

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RECENT, LONG_AGO = stamp(NOW - timedelta(minutes=9)), stamp(NOW - timedelta(minutes=11))

COMMON: Any = {"backend": "array", "owner": "gone", "created_at": LONG_AGO}
CLAIM = {"pvc/name": "data", "pvc/namespace": "shop"}
VOLUME = Volume(id="v", name="pvc-1", size=GiB(1), labels=CLAIM, status=Status.CREATING, **COMMON)
TAKEN = {"volumesnapshot/name": "daily", "volumesnapshot/namespace": "shop"}
SNAPSHOT = Snapshot(id="s", name="snap", volume_id="v", size=GiB(1), labels=TAKEN, status=Status.ERROR, **COMMON)
GROUP = GroupSnapshot(id="g", name="together", status=Status.DELETING, **COMMON)
ATTACHMENT = Attachment(
    id="a",
    volume_id="v",
    node_id="n1",
    access_mode=AccessMode.SINGLE_NODE_WRITER,
    connector={"host": "worker-1"},
    status=Status.DELETING,
    **COMMON,
)
DUE = "not finished"


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.add(Node(id="n1", connector={}))
    return store


def listed(store: MemoryStore) -> list[Orphan]:
    return list(Orphans(store, Backends(), KeyedLocks(), clock=lambda: NOW).find())


def test_each_kind_is_described(store: MemoryStore) -> None:
    store.add(VOLUME)
    for record in (SNAPSHOT, GROUP, ATTACHMENT):
        store.add(record)  # type: ignore[type-var]  # one of the three
    common: Any = {"backend": "array", "owner": "gone", "created_at": LONG_AGO, "due": True}
    assert listed(store) == [
        Orphan(
            kind="attachment",
            fix="disconnect it",
            id="a",
            volume_id="v",
            node="worker-1",
            status="deleting",
            reason=f"status deleting; {DUE}",
            **common,
        ),
        Orphan(
            kind="snapshot",
            fix="undo the creation",
            id="s",
            name="snap",
            claim="shop/daily",
            volume_id="v",
            status="error",
            reason=f"status error; {DUE}",
            **common,
        ),
        Orphan(
            kind="group snapshot",
            fix="finish the deletion",
            id="g",
            name="together",
            status="deleting",
            reason=f"status deleting; {DUE}",
            **common,
        ),
        Orphan(
            kind="volume",
            fix="undo the creation",
            id="v",
            name="pvc-1",
            claim="shop/data",
            status="creating",
            reason=f"status creating; {DUE}",
            **common,
        ),
    ]


def test_one_within_the_grace_may_be_at_work_still(store: MemoryStore) -> None:
    store.add(replace(VOLUME, created_at=RECENT))
    (orphan,) = listed(store)
    assert (orphan.due, orphan.reason) == (False, "status creating; may still be in progress")


def test_the_message_of_a_record_is_its_reason(store: MemoryStore) -> None:
    store.add(replace(VOLUME, message="the array was full"))
    assert [orphan.reason for orphan in listed(store)] == ["the array was full"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Volume, "volume"), (Snapshot, "snapshot"), (GroupSnapshot, "group snapshot"), (Attachment, "attachment")],
)
def test_a_record_that_cannot_be_read_is_listed_by_its_id(store: MemoryStore, kind: Any, name: str) -> None:
    store._put_raw(kind, "broken", "1-x", "{")
    assert listed(store) == [
        Orphan(kind=name, id="broken", reason="its record cannot be read", instead=remedies.RESTORE)
    ]


def test_a_node_id_that_cannot_be_read_is_a_node_that_is_gone(store: MemoryStore) -> None:
    store.add(replace(VOLUME, status=Status.AVAILABLE))
    store.add(replace(ATTACHMENT, status=Status.AVAILABLE, node_id="cl1.broken"))
    (orphan,) = listed(store)
    assert (orphan.id, orphan.due, orphan.reason) == ("a", False, "node 'cl1.broken' is not registered")
