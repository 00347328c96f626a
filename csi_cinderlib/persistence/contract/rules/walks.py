"""Pages are ordered, complete and filtered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import Attachment, InitiatorData, Snapshot, Status, Volume
from csi_cinderlib.persistence import together
from csi_cinderlib.persistence.api import INDEXED, Page, R, Selection, Store, Where
from csi_cinderlib.persistence.contract.samples import NODE, RECORDS, attachment, snapshot, volume


def walk(store: Store, kind: type[R], limit: int, where: Where | None = None) -> list[str]:
    """Return the ids of all pages; checks that no page exceeds the limit."""
    ids: list[str] = []
    after = ""
    while True:
        page = store.page(kind, after=after, limit=limit, where=where or {})
        assert len(page.records) + len(page.corrupt) <= limit
        ids += [record.id for record in page.records]
        if not page.next:
            return ids
        after = page.next


class TestReadsTogether:
    def test_several_pages_are_those_that_the_store_answers_one_by_one(self, persistence_store: Store) -> None:
        for id in ("v1", "v2", "v3"):
            persistence_store.add(volume(id))
        persistence_store.add(snapshot("s1", "v1"))
        for id in ("a2", "a1"):
            persistence_store.add(attachment(id, "v2"))
        volumes, snapshots, attachments, none = together.read(
            persistence_store,
            Selection(Volume, limit=2),
            Selection(Snapshot, {"volume_id": "v2"}),
            Selection(Attachment, {"volume_id": ("v1", "v2", "v3")}),
            Selection(Attachment, {"volume_id": ()}),
        )
        assert volumes == persistence_store.page(Volume, limit=2)
        assert (snapshots, none) == (Page(()), Page(()))
        assert attachments == persistence_store.page(Attachment, where={"volume_id": "v2"})

    def test_a_record_is_found_by_its_id_and_a_missing_one_is_an_empty_page(self, persistence_store: Store) -> None:
        stored = persistence_store.add(volume("v"))
        found = together.read(persistence_store, Selection(Volume, id="v"), Selection(Volume, id="w"))
        assert list(found) == [Page((stored,)), Page(())]

    def test_an_unknown_field_is_refused(self, persistence_store: Store) -> None:
        with pytest.raises(InvalidRequest, match=r"where\.size"):
            together.read(persistence_store, Selection(Volume), Selection(Volume, {"size": "1"}))


class TestWalks:
    def test_an_empty_store_has_one_empty_page(self, persistence_store: Store) -> None:
        page = persistence_store.page(Volume)
        assert (page.records, page.next, page.corrupt) == ((), "", ())

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 11, 100])
    def test_a_walk_finds_each_record_once_in_id_order(self, persistence_store: Store, limit: int) -> None:
        for number in (7, 3, 9, 0, 5, 1, 8, 2, 6, 4):
            persistence_store.add(volume(f"{number:04}"))
        assert walk(persistence_store, Volume, limit) == [f"{number:04}" for number in range(10)]

    def test_a_full_last_page_has_no_next_token(self, persistence_store: Store) -> None:
        for number in range(4):
            persistence_store.add(volume(f"{number:04}"))
        assert persistence_store.page(Volume, limit=4).next == ""
        assert persistence_store.page(Volume, limit=3).next == "0002"

    def test_a_walk_continues_after_a_removed_id(self, persistence_store: Store) -> None:
        records = [persistence_store.add(volume(f"{number:04}")) for number in range(6)]
        first = persistence_store.page(Volume, limit=3)
        persistence_store.remove(records[2])
        persistence_store.remove(records[4])
        persistence_store.add(volume("0003x"))
        rest = persistence_store.page(Volume, after=first.next, limit=10)
        assert [record.id for record in rest.records] == ["0003", "0003x", "0005"]

    @pytest.mark.parametrize(
        ("where", "ids"),
        [
            ({"backend": "a"}, ["0000", "0002", "0004"]),
            ({"backend": "a", "status": "available"}, ["0004"]),
            ({"status": Status.AVAILABLE}, ["0004", "0005"]),
            ({"backend": ("a", "b")}, ["0000", "0001", "0002", "0003", "0004", "0005"]),
            ({"backend": ("a", "b"), "name": ("n1", "n2", "n1", "none")}, ["0001", "0002"]),
            ({"backend": ()}, []),
            ({"backend": "A"}, []),
            ({"backend": "a "}, []),
            ({"group_id": ""}, ["0000", "0001", "0002", "0003", "0004", "0005"]),
        ],
        ids=str,
    )
    def test_filters_are_combined_by_and_and_values_by_or(
        self, persistence_store: Store, where: Mapping[str, str], ids: list[str]
    ) -> None:
        for number in range(6):
            status = Status.AVAILABLE if number > 3 else Status.CREATING
            persistence_store.add(volume(f"{number:04}", backend="ab"[number % 2], name=f"n{number}", status=status))
        for limit in (1, 2, 100):
            assert walk(persistence_store, Volume, limit, where) == ids

    def test_the_attachments_of_many_volumes_are_one_query(self, persistence_store: Store) -> None:
        for number in range(5):
            persistence_store.add(volume(f"{number:04}"))
            persistence_store.add(attachment(f"a{number}", of=f"{number:04}"))
        wanted = tuple(f"{number:04}" for number in (*range(1, 4), *range(100, 200)))
        assert walk(persistence_store, Attachment, 100, {"volume_id": wanted}) == ["a1", "a2", "a3"]

    @pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
    def test_each_indexed_field_filters_by_its_value(self, persistence_store: Store, record: Volume) -> None:
        for needed in RECORDS:
            stored = persistence_store.add(needed)
            if needed is record:
                found = stored
        for name in INDEXED[type(record)]:
            value = str(getattr(record, name))
            assert persistence_store.page(type(record), where={name: value}).records == (found,)
            assert persistence_store.page(type(record), where={name: value + "x"}).records == ()

    def test_a_changed_field_is_found_by_its_new_value_only(self, persistence_store: Store) -> None:
        stored = persistence_store.add(volume("0001"))
        changed = persistence_store.replace(replace(stored, status=Status.AVAILABLE, name="other"))
        assert persistence_store.page(Volume, where={"status": "creating"}).records == ()
        assert persistence_store.page(Volume, where={"name": "other", "status": "available"}).records == (changed,)

    def test_kinds_do_not_mix(self, persistence_store: Store) -> None:
        persistence_store.add(volume("0001"))
        persistence_store.add(snapshot("0001", of="0001"))
        persistence_store.add(replace(NODE, id="0001"))
        assert [type(record) for record in persistence_store.page(Volume).records] == [Volume]

    def test_a_field_without_index_is_refused_by_name(self, persistence_store: Store) -> None:
        with pytest.raises(InvalidRequest, match=r"where\.message.*backend"):
            persistence_store.page(Volume, where={"message": "x"})
        with pytest.raises(InvalidRequest, match=r"where\.value"):
            persistence_store.page(InitiatorData, where={"value": "x"})

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_page_holds_at_least_one_record(self, persistence_store: Store, limit: int) -> None:
        with pytest.raises(InvalidRequest, match="limit"):
            persistence_store.page(Volume, limit=limit)
