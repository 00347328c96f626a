"""A back end is proven empty by the records, and by what does not depend on the records: a store can be restored, and records lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app.cluster_volumes import SNAPSHOTS, VOLUMES, elsewhere
from csi_cinderlib.app.emptiness import KNOWN_SECONDS, Elsewhere, Emptiness, Remains
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import NotFound
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import GroupSnapshot, KeyValue, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Page, R
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.orphans import Orphans
from csi_cinderlib.provisioning.restored import void_marks
from tests.component.app.test_backend_removal import NOTE, removal
from tests.component.app.test_sources import PATH, Site

DRIVER = "csi.cinderlib.io"


class Counting(MemoryStore):
    """Counts the records that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def page(self, kind: type[R], **query: Any) -> Page[R]:
        found = super().page(kind, **query)
        self.read += len(found.records)
        return found


class Cluster(Client):
    """The lists of a cluster, in pages of one object. A text instead of a list is a refusal."""

    def __init__(self, lists: dict[str, Any]) -> None:
        self.lists = lists

    def get(self, path: str, **query: str) -> dict[str, Any]:
        found = self.lists.get(path)
        if not isinstance(found, list):
            raise ApiError(403 if found else 404, "Forbidden" if found else "NotFound", str(found))
        at = int(query.get("continue", "0"))
        return {"items": found[at : at + 1], "metadata": {"continue": str(at + 1) if at + 1 < len(found) else ""}}


def pv(handle: str, driver: str = DRIVER) -> dict[str, Any]:
    return {"spec": {"csi": {"driver": driver, "volumeHandle": handle}}}


def content(driver: str = DRIVER, *, status: str = "", source: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"spec": {"driver": driver, "source": {"snapshotHandle": source} if source else {}}}
    return {**found, "status": {"snapshotHandle": status}} if status else found


@pytest.fixture
def store() -> Counting:
    store = Counting()
    store.add(Volume(id="v1", backend="other", size=GiB(1)))
    store.add(Snapshot(id="s1", backend="other", volume_id="v1", size=GiB(1)))
    return store


@pytest.fixture
def site(tmp_path: Path, store: Counting) -> Iterator[Site]:
    site = Site(tmp_path, store)
    yield site
    site.close()


def drained() -> Backends:
    registry = Backends()
    registry.intake("array").drain()
    return registry


def left(store: Counting, lists: dict[str, Any]) -> Remains:
    return Emptiness(store, drained(), lambda: elsewhere(Cluster(lists), DRIVER)).prove("array")


def test_volumes_and_snapshots_of_the_cluster_with_records_keep_no_other_back_end(store: Counting) -> None:
    others = [{"spec": {"nfs": {}}}, pv("foreign", "other.example.org")]
    contents = [content(status="s1"), content(source="s1"), content(), content("other.example.org", status="x")]
    assert left(store, {VOLUMES: [pv("v1"), *others], SNAPSHOTS: contents}) == Remains()
    assert left(store, {VOLUMES: [], SNAPSHOTS: None}) == Remains(), "snapshots are not installed"


@pytest.mark.parametrize(
    "lists",
    [
        {VOLUMES: [pv("v1"), pv("lost")]},
        {VOLUMES: [], SNAPSHOTS: [content(status="lost")]},
        {VOLUMES: [], SNAPSHOTS: [content(source="lost")]},
    ],
    ids=["volume", "snapshot", "imported snapshot"],
)
def test_what_has_no_record_may_belong_to_any_back_end(store: Counting, lists: dict[str, Any]) -> None:
    remains = left(store, lists)
    assert remains == Remains(unrecorded=1)
    assert str(remains) == "1 PersistentVolume or VolumeSnapshotContent without a record"


def test_a_cluster_that_does_not_answer_proves_nothing(store: Counting) -> None:
    remains = left(store, {VOLUMES: [], SNAPSHOTS: "no right to list"})
    assert "cannot be listed" in remains.unknown
    assert "no right to list" in str(remains)


def test_after_a_restore_no_back_end_is_empty_until_the_arrays_were_compared(site: Site, store: Counting) -> None:
    site.apply()
    site.until(lambda: site.origins() == {"array": "object"})
    void_marks(store)
    void_marks(store)
    site.start()
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: (state := site.state()) is not None and state.declared.is_deleting)
    it, shelf = removal(site)
    it.look()
    assert shelf.released == []
    assert "possibly volumes that the restored metadata lacks" in shelf.told[0]
    assert Emptiness(store, drained()).look("array") == Remains(is_restored=True)
    orphans = Orphans(store, Backends(), KeyedLocks())
    (listed,) = [orphan for orphan in orphans.find() if orphan.kind == "store"]
    assert (listed.kind, listed.id, listed.fix) == ("store", "restored", "")
    assert "csi-cinderlib orphans forget restored" in listed.instead
    assert orphans.forget("restored") == ("the restore of older metadata",)
    assert "store" not in {orphan.kind for orphan in orphans.find()}
    with pytest.raises(NotFound):
        orphans.forget("restored")
    it, shelf = removal(site)
    it.look()
    assert shelf.released == ["array"]


def test_a_mark_of_a_restore_that_cannot_be_read_counts(store: Counting) -> None:
    void_marks(store)
    store._put_raw(KeyValue, "csi-cinderlib.restored", "1-x", "{")
    assert Emptiness(store, drained()).prove("array") == Remains(is_restored=True)


def test_a_back_end_that_waits_is_not_counted_at_each_look(store: Counting) -> None:
    """The same thread applies all other changes of back ends."""
    now = [0.0]
    for number in range(300):
        store.add(Volume(id=f"w{number}", backend="other", size=GiB(1)))
    leftovers.note(store, NOTE)
    emptiness = Emptiness(store, drained(), monotonic=lambda: now[0])
    assert emptiness.prove("array") == Remains(leftovers=1)
    store.read = 0
    assert emptiness.prove("array") == Remains(leftovers=1)
    assert store.read == 0
    leftovers.forget(store, "v")
    now[0] = KNOWN_SECONDS
    assert emptiness.prove("array") == Remains()
    store.add(GroupSnapshot(id="g", backend="array", volume_ids=("v1",)))
    assert emptiness.prove("array"), "what proves that it is empty is always new"


@pytest.mark.parametrize(("backend", "count"), [("dc.array", 0), ("array", 1)])
def test_a_leftover_counts_for_its_own_back_end(store: Counting, backend: str, count: int) -> None:
    leftovers.note(store, replace(NOTE, backend=backend))
    assert Emptiness(store, drained()).prove("array") == Remains(leftovers=count)


def test_a_leftover_that_cannot_be_read_counts_where_it_may_belong(store: Counting) -> None:
    store.add(KeyValue(id=f"{leftovers.PREFIX}v.volume.array", value="{"))
    assert Emptiness(store, drained()).prove("array") == Remains(leftovers=1)
    for key, found, backend in (("x.other", None, "array"), ("x.dc.array", None, "array"), ("k" * 91, None, "array")):
        assert leftovers.may_concern(key, found, backend) is (key != "x.other")


def test_elsewhere_is_asked_only_for_what_seems_empty(store: Counting) -> None:
    asked = []

    def ask() -> Elsewhere:
        asked.append(1)
        return Elsewhere()

    store.add(Volume(id="v2", backend="array", size=GiB(1)))
    emptiness = Emptiness(store, drained(), ask)
    assert emptiness.prove("array") == Remains(volumes=1)
    assert asked == []
    store.remove(store.get(Volume, "v2"))
    assert (emptiness.prove("array"), asked) == (Remains(), [1])


@pytest.mark.parametrize(
    "record",
    [
        Volume(id="v2", backend="array", size=GiB(1)),
        Snapshot(id="s2", backend="array", volume_id="v1", size=GiB(1)),
        GroupSnapshot(id="g", backend="array", volume_ids=("v1",)),
    ],
    ids=["volume", "snapshot", "group snapshot"],
)
def test_a_record_that_no_query_finds_keeps_its_back_end(record: Any) -> None:
    """On custom resources, a query selects labels, which people can change."""

    class Unlabelled(Counting):
        def page(self, kind: type[R], **query: Any) -> Page[R]:
            found = super().page(kind, **query)
            return replace(found, records=()) if query.get("where") else found

    store = Unlabelled()
    store.add(Volume(id="v1", backend="other", size=GiB(1)))
    added = store.add(record)
    remains = Emptiness(store, drained()).prove("array")
    assert remains == Remains(hidden=1)
    assert str(remains) == "1 record whose labels were changed"
    assert Emptiness(store, drained()).look("array") == remains
    store.remove(added)
    assert Emptiness(store, drained()).prove("array") == Remains()
