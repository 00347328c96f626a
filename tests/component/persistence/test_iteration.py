"""Reading many records: over all pages, and what becomes of one that cannot be read."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import KeyValue, Snapshot, Volume
from csi_cinderlib.persistence.api import Page, R, Where
from csi_cinderlib.persistence.iteration import all_of, key_values, pages, walk, walk_all, walk_with_unreadable
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore


class SmallPages(ObservedStore):
    """One record on a page, whatever is asked for."""

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = MappingProxyType({})) -> Page[R]:
        return super().page(kind, after=after, limit=1, where=where)


class Snapshots:
    """Three of a volume, and one of another."""

    def __init__(self) -> None:
        self.store = SmallPages()
        self.volume = self.store.add(makers.volume())
        self.ids = sorted(self.store.add(makers.snapshot(self.volume)).id for _ in range(3))
        self.other = self.store.add(makers.snapshot(self.store.add(makers.volume())))
        self.of_volume = {"volume_id": self.volume.id}

    def corrupt(self, id: str) -> None:
        self.store._put_raw(Snapshot, id, "1-x", f'{{"volume_id": "{self.volume.id}"}}')


@pytest.fixture
def snapshots() -> Snapshots:
    return Snapshots()


def test_a_walk_reads_all_pages_and_leaves_out_what_cannot_be_read(snapshots: Snapshots) -> None:
    snapshots.corrupt("0")
    where = {"volume_id": snapshots.other.volume_id}
    assert [record.id for record in walk(snapshots.store, Snapshot, snapshots.of_volume)] == snapshots.ids
    assert [record.id for record in walk(snapshots.store, Snapshot, where)] == [snapshots.other.id]
    assert [record.id for record in walk(snapshots.store, Snapshot)] == sorted([*snapshots.ids, snapshots.other.id])


def test_unreadable_records_are_named_by_their_ids(snapshots: Snapshots) -> None:
    snapshots.corrupt("zzz")
    found = list(walk_with_unreadable(snapshots.store, Snapshot, snapshots.of_volume))
    assert [record if isinstance(record, str) else record.id for record in found] == [*snapshots.ids, "zzz"]
    assert [page.corrupt for page in pages(snapshots.store, Snapshot, snapshots.of_volume)][-1] == ("zzz",)


def test_all_of_a_volume_are_all_or_an_error(snapshots: Snapshots) -> None:
    assert [record.id for record in all_of(snapshots.store, Snapshot, snapshots.of_volume)] == snapshots.ids
    snapshots.corrupt("zzz")
    needed = f"cannot read the record of snapshot 'zzz': the operation needs all records with volume_id '{snapshots.volume.id}'"
    with pytest.raises(CorruptRecord, match=needed):
        all_of(snapshots.store, Snapshot, snapshots.of_volume)


@pytest.mark.parametrize(
    ("where", "needed"),
    [
        ({}, "the operation needs all records"),
        ({"volume_id": ("a", "v")}, "the operation needs all records"),
        (
            {"volume_id": "v", "status": "creating"},
            "the operation needs all records with volume_id 'v' and status 'creating'",
        ),
    ],
)
def test_a_decision_on_a_whole_list_fails_and_names_the_first_that_cannot_be_read(where: Where, needed: str) -> None:
    store = ObservedStore()
    for id in ("zzz", "yyy"):
        store._put_raw(Snapshot, id, "1-x", '{"volume_id": "v", "status": "creating"}')
    with pytest.raises(CorruptRecord, match=f"cannot read the record of snapshot 'yyy': {needed}"):
        list(walk_all(store, Snapshot, where))


def test_an_empty_store_has_nothing_to_walk_over() -> None:
    assert list(walk(SmallPages(), Volume)) == []
    assert all_of(SmallPages(), Volume) == ()


class MarkedPlaces(SmallPages):
    """After an unreadable record, a page continues at a place that is no key, as on custom resources."""

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = MappingProxyType({})) -> Page[R]:
        found = super().page(kind, after=after.removeprefix("\0"), limit=limit, where=where)
        return replace(found, next=f"\0{found.next}") if found.corrupt and found.next else found


def test_key_values_behind_an_unreadable_one_are_read() -> None:
    store = MarkedPlaces()
    for key in ("note", "note.1", "note.2", "note.3", "other"):
        store.add(KeyValue(id=key, value=""))
    store._put_raw(KeyValue, "note.2", "1-x", "{")
    found = list(key_values(store, "note."))
    assert [(key, record is not None) for key, record in found] == [
        ("note.1", True),
        ("note.2", False),
        ("note.3", True),
    ]
    store._put_raw(KeyValue, "other", "1-x", "{")
    assert list(key_values(store, "note.")) == found
