"""Records are read exactly as they were written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import AlreadyExists, InvalidRequest, NotFound
from csi_cinderlib.model.records import KeyValue, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.codec import MAX_KEY_BYTES, kind_name
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.samples import NODE, RECORDS, SNAPSHOT, VOLUME, volume


def add_with_its_volume(store: Store, record: Any) -> Any:
    if "volume_id" in type(record).__dataclass_fields__:
        store.add(VOLUME)
    return store.add(record)


class TestRecords:
    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: kind_name(type(record)))
    def test_each_kind_of_record_is_read_exactly_as_written(self, persistence_store: Store, record: Any) -> None:
        stored = add_with_its_volume(persistence_store, record)
        assert stored == replace(record, revision=stored.revision)
        assert stored.revision
        assert persistence_store.get(type(record), record.id) == stored

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: kind_name(type(record)))
    def test_every_kind_of_record_can_be_replaced_and_removed(self, persistence_store: Store, record: Any) -> None:
        stored = persistence_store.replace(add_with_its_volume(persistence_store, record))
        assert persistence_store.get(type(record), record.id) == stored
        persistence_store.remove(stored)
        with pytest.raises(NotFound, match=kind_name(type(record))):
            persistence_store.get(type(record), record.id)

    @pytest.mark.parametrize("status", Status)
    def test_a_volume_of_any_status_is_read_exactly_as_written(self, persistence_store: Store, status: Status) -> None:
        stored = persistence_store.add(replace(VOLUME, status=status))
        assert persistence_store.get(Volume, VOLUME.id) == stored
        assert stored.status is status

    def test_a_closed_and_reopened_store_has_the_same_records(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open()
        stored = [store.add(record) for record in RECORDS]
        persistence_harness.close(store)
        store = persistence_harness.open()
        assert [store.get(type(record), record.id) for record in RECORDS] == stored
        persistence_harness.close(store)

    def test_fields_of_a_newer_program_are_kept(self, persistence_store: Store) -> None:
        newer = {
            "shade": {"red": [1, None]},
            "provider": {"port": "3"},
            "type": {"tier": 1},
            "capabilities": {"1": {"lease": 5}, "0": {"mount": {"label": "x"}}},
        }
        stored = persistence_store.add(replace(VOLUME, unknown=newer))
        changed = persistence_store.replace(
            replace(persistence_store.get(Volume, VOLUME.id), message="by an older program")
        )
        assert stored.unknown == newer
        assert persistence_store.get(Volume, VOLUME.id) == changed
        assert changed.unknown == newer

    def test_the_store_shares_no_mapping_with_its_callers(self, persistence_store: Store) -> None:
        metadata = {"a": "1"}
        persistence_store.add(volume("0001", metadata=metadata))
        metadata["a"] = "changed behind its back"
        read = persistence_store.get(Volume, "0001")
        assert read.metadata == {"a": "1"}
        read.metadata["a"] = "changed again"  # type: ignore[index]  # must not affect the store
        assert persistence_store.get(Volume, "0001").metadata == {"a": "1"}

    def test_an_absent_record_is_not_found_by_kind_and_id(self, persistence_store: Store) -> None:
        persistence_store.add(volume("0001"))
        with pytest.raises(NotFound, match=r"snapshot '0001'"):
            persistence_store.get(Snapshot, "0001")

    def test_adding_a_used_id_is_refused_and_keeps_the_first_record(self, persistence_store: Store) -> None:
        first = persistence_store.add(volume("0001", message="first"))
        with pytest.raises(AlreadyExists, match="0001"):
            persistence_store.add(volume("0001", message="second"))
        assert persistence_store.get(Volume, "0001") == first

    def test_a_duplicate_dependent_is_distinguished_from_a_missing_volume(self, persistence_store: Store) -> None:
        add_with_its_volume(persistence_store, SNAPSHOT)
        with pytest.raises(AlreadyExists, match="snapshot"):
            persistence_store.add(SNAPSHOT)

    def test_ids_differ_by_case_blanks_and_accents(self, persistence_store: Store) -> None:
        ids = ("a", "A", "a ", " a", "ä", "a\u0308", "ß", "ss", "%", "_", "a/b", "a\nb")
        for id in ids:
            persistence_store.add(KeyValue(id=id, value=id))
        assert [persistence_store.get(KeyValue, id).value for id in ids] == list(ids)

    def test_ids_may_be_as_long_as_the_limit_and_no_longer(self, persistence_store: Store) -> None:
        longest = "ä" * (MAX_KEY_BYTES // 2)
        persistence_store.add(KeyValue(id=longest, value="x"))
        assert persistence_store.get(KeyValue, longest).value == "x"
        with pytest.raises(InvalidRequest, match=str(MAX_KEY_BYTES)):
            persistence_store.add(KeyValue(id=longest + "a", value="x"))

    @pytest.mark.parametrize("id", ["", "a\0b", "\ud83d"], ids=["empty", "NUL", "half a surrogate pair"])
    def test_ids_that_some_stores_do_not_support_are_refused(self, persistence_store: Store, id: str) -> None:
        with pytest.raises(InvalidRequest, match=r"node\.id"):
            persistence_store.add(replace(NODE, id=id))

    @pytest.mark.parametrize("value", [{"x": ...}, {1: "x"}, {"x": float("nan")}, {"x": b""}], ids=str)
    def test_values_that_json_cannot_represent_are_refused_by_field(
        self, persistence_store: Store, value: dict[str, object]
    ) -> None:
        with pytest.raises(InvalidRequest, match=r"volume\.fields"):
            persistence_store.add(volume("0001", fields=value))
        assert not persistence_store.page(Volume).records

    def test_a_large_record_fits(self, persistence_store: Store) -> None:
        stored = persistence_store.add(volume("0001", fields={"blob": "x" * 300_000}))
        assert persistence_store.get(Volume, "0001") == stored
