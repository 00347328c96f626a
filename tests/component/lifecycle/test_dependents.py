"""Which other objects keep a volume or snapshot from being deleted, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_cinderlib.errors import CorruptRecord, InUse
from csi_cinderlib.lifecycle.dependents import refuse_early, refuse_for_snapshot, refuse_for_volume
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.model.records import FOREIGN, Attachment, GroupSnapshot, Snapshot, Source, SourceKind, Status
from csi_cinderlib.persistence import together
from csi_cinderlib.persistence.api import Page, Selection
from csi_cinderlib.persistence.memory import MemoryStore
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore


class DistantStore(ObservedStore):
    """A memory store that counts the reads that need one round trip."""

    def pages(self, selections: Sequence[Selection[Any]]) -> Sequence[Page[Any]]:
        self.calls.append("pages")
        near = MemoryStore(None)
        near.__dict__.update(self.__dict__)
        return together.read(near, *selections)


@pytest.fixture(params=[ObservedStore, DistantStore])
def store(request: pytest.FixtureRequest) -> ObservedStore:
    made: ObservedStore = request.param()
    return made


@pytest.fixture
def ledger(store: ObservedStore) -> Ledger:
    return ledger_of(store)


def ledger_of(store: ObservedStore) -> Ledger:
    return Ledger("fake", store, owner="me", clock=lambda: datetime(2026, 5, 1, tzinfo=UTC), is_alive=lambda _: False)


def test_a_volume_with_snapshots_is_kept(ledger: Ledger, store: ObservedStore) -> None:
    volume, other = store.add(makers.volume()), store.add(makers.volume())
    refuse_for_volume(ledger, volume, independent=False)
    store.add(makers.snapshot(volume))
    with pytest.raises(InUse, match=f"volume '{volume.id}' has snapshots"):
        refuse_for_volume(ledger, volume, independent=False)
    refuse_for_volume(ledger, other, independent=False)


@pytest.mark.parametrize(("independent", "error"), [(False, InUse), (True, CorruptRecord)])
def test_a_snapshot_that_cannot_be_read_keeps_its_volume(
    ledger: Ledger, store: ObservedStore, independent: bool, error: type[Exception]
) -> None:
    volume = store.add(makers.volume())
    store._put_raw(Snapshot, "broken", "1-x", f'{{"volume_id": "{volume.id}"}}')
    with pytest.raises(error):
        refuse_for_volume(ledger, volume, independent=independent)


@pytest.mark.parametrize("status", Status)
def test_an_independent_snapshot_keeps_its_volume_only_while_it_is_not_finished(
    ledger: Ledger, store: ObservedStore, status: Status
) -> None:
    volume = store.add(makers.volume())
    snapshot = store.add(replace(makers.snapshot(volume), status=status))
    if status in (Status.CREATING, Status.ERROR, Status.IMPORTING, Status.UNMANAGING, *FOREIGN):
        with pytest.raises(InUse, match=f"snapshot '{snapshot.id}' of volume '{volume.id}' is still being created"):
            refuse_for_volume(ledger, volume, independent=True)
    else:
        refuse_for_volume(ledger, volume, independent=True)


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.AVAILABLE, Status.DELETING, None])
def test_a_member_keeps_its_volume_as_long_as_its_group_snapshot_may_be_taken_anew(
    ledger: Ledger, store: ObservedStore, status: Status | None
) -> None:
    volume = store.add(makers.volume())
    if status is not None:
        store.add(GroupSnapshot(id="g", backend=volume.backend, status=status))
    store.add(replace(makers.snapshot(volume), status=Status.AVAILABLE, group_snapshot_id="g"))
    if status in (Status.CREATING, Status.ERROR):
        with pytest.raises(InUse, match="is still being created"):
            refuse_for_volume(ledger, volume, independent=True)
    else:
        refuse_for_volume(ledger, volume, independent=True)


@pytest.mark.parametrize("kind", SourceKind)
def test_the_source_of_a_copy_in_progress_is_kept(ledger: Ledger, store: ObservedStore, kind: SourceKind) -> None:
    volume = store.add(makers.volume())
    snapshot = store.add(makers.snapshot(volume))
    source = volume if kind is SourceKind.VOLUME else snapshot
    store.add(replace(makers.volume(), status=Status.CREATING, source=Source(kind, source.id)))
    with pytest.raises(InUse, match=f"{kind} '{source.id}' is the source of volume"):
        if kind is SourceKind.VOLUME:
            refuse_for_volume(ledger, volume, independent=True)
        else:
            refuse_for_snapshot(ledger, snapshot)


def test_an_attached_volume_is_kept(ledger: Ledger, store: ObservedStore) -> None:
    volume = store.add(replace(makers.volume(), status=Status.AVAILABLE))
    refuse_early(store, volume, has_no_snapshots=False)
    store.add(makers.attachment(volume))
    with pytest.raises(InUse, match="is attached to"):
        refuse_for_volume(ledger, volume, independent=False)
    for has_no_snapshots in (False, True):
        with pytest.raises(InUse, match="is attached to"):
            refuse_early(store, volume, has_no_snapshots=has_no_snapshots)


def test_before_the_intent_snapshots_count_only_where_they_shall_not_outlive_their_volume(store: ObservedStore) -> None:
    volume = store.add(replace(makers.volume(), status=Status.AVAILABLE))
    refuse_early(store, volume, has_no_snapshots=True)
    store.add(makers.snapshot(volume))
    refuse_early(store, volume, has_no_snapshots=False)
    with pytest.raises(InUse, match="has snapshots; delete them first"):
        refuse_early(store, volume, has_no_snapshots=True)


def test_an_attachment_does_not_keep_a_volume_whose_deletion_has_begun_from_being_tried_again(
    store: ObservedStore,
) -> None:
    volume = store.add(replace(makers.volume(), status=Status.DELETING))
    store.add(makers.attachment(volume))
    for has_no_snapshots in (False, True):
        refuse_early(store, volume, has_no_snapshots=has_no_snapshots)


def test_more_attachments_than_a_page_contains_are_all_read(ledger: Ledger, store: ObservedStore) -> None:
    volume = store.add(makers.volume())
    snapshot = store.add(makers.snapshot(volume))
    for number in range(501):
        store.add(replace(makers.attachment(volume), id=f"a{number}", node_id=f"n{number}"))
    origin = refuse_for_snapshot(ledger, snapshot)
    assert origin is not None
    assert len(origin.attachments) == 501


def test_a_snapshot_comes_with_its_volume_and_attachments_if_they_can_be_read(
    ledger: Ledger, store: ObservedStore
) -> None:
    volume = store.add(makers.volume())
    snapshot, attachment = store.add(makers.snapshot(volume)), store.add(makers.attachment(volume))
    origin = refuse_for_snapshot(ledger, snapshot)
    assert origin is not None
    assert (origin.volume, origin.attachments) == (volume, (attachment,))
    store._put_raw(Attachment, "broken", "1-x", f'{{"volume_id": "{volume.id}"}}')
    assert refuse_for_snapshot(ledger, snapshot) is None
    assert refuse_for_snapshot(ledger, replace(snapshot, volume_id="missing")) is None


def test_a_decision_is_one_round_trip_to_a_server() -> None:
    store = DistantStore()
    volume = store.add(makers.volume())
    snapshot = store.add(makers.snapshot(volume))
    other = store.add(makers.volume())
    store.calls.clear()
    refuse_for_snapshot(ledger_of(store), snapshot)
    refuse_for_volume(ledger_of(store), other, independent=False)
    refuse_early(store, other, has_no_snapshots=True)
    assert store.calls == ["pages"] * 3
