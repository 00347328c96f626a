"""Dependents of a volume are removed with it, or prevent its removal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import InUse, NotFound
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.samples import (
    ATTACHMENT,
    INITIATOR_DATA,
    RECORDS,
    SNAPSHOT,
    VOLUME,
    attachment,
    snapshot,
    volume,
)


class TestBelonging:
    @pytest.mark.parametrize(
        "record", [snapshot("5001", of="absent"), attachment("a001", of="absent")], ids=lambda r: type(r).__name__
    )
    def test_a_dependent_of_a_missing_volume_is_refused(self, persistence_store: Store, record: Any) -> None:
        with pytest.raises(NotFound, match="volume 'absent'"):
            persistence_store.add(record)
        assert not persistence_store.page(type(record)).records

    def test_removing_a_volume_with_snapshots_is_refused_with_their_number(self, persistence_store: Store) -> None:
        stored = persistence_store.add(volume("0001"))
        kept = [persistence_store.add(snapshot(id, of="0001")) for id in ("5001", "5002")]
        persistence_store.add(attachment("a001", of="0001"))
        with pytest.raises(InUse, match=r"0001.* 2 snapshots"):
            persistence_store.remove(stored)
        assert persistence_store.get(Volume, "0001") == stored
        assert persistence_store.get(Attachment, "a001").volume_id == "0001"
        for record in kept:
            persistence_store.remove(record)
        persistence_store.remove(stored)
        assert not persistence_store.page(Volume).records

    def test_removing_a_volume_removes_only_its_attachments(self, persistence_store: Store) -> None:
        stored = persistence_store.add(volume("0001"))
        persistence_store.add(volume("0002"))
        for id, of in (("a001", "0001"), ("a002", "0001"), ("a003", "0002")):
            persistence_store.add(attachment(id, of=of))
        persistence_store.remove(stored)
        assert [record.id for record in persistence_store.page(Attachment).records] == ["a003"]

    def test_adding_a_snapshot_does_not_make_the_volume_record_stale(self, persistence_store: Store) -> None:
        stored = persistence_store.add(volume("0001"))
        persistence_store.add(snapshot("5001", of="0001"))
        assert persistence_store.replace(replace(stored, message="changed")).message == "changed"
        assert persistence_store.get(Snapshot, "5001").volume_id == "0001"

    def test_removing_all_records_leaves_no_rows(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open()
        persistence_harness.close(store)
        before = persistence_harness.row_counts()
        store = persistence_harness.open()
        stored: dict[Any, Any] = {type(record): store.add(record) for record in RECORDS}
        store.remove(stored[type(SNAPSHOT)])
        store.remove(stored[type(VOLUME)])
        for kind, record in stored.items():
            if kind not in (Volume, Snapshot, Attachment):
                store.remove(record)
        with pytest.raises(NotFound):
            store.get(Attachment, ATTACHMENT.id)
        with pytest.raises(NotFound):
            store.get(type(INITIATOR_DATA), INITIATOR_DATA.id)
        persistence_harness.close(store)
        assert persistence_harness.row_counts() == before
