"""An unreadable record does not affect others."""

from __future__ import annotations

import pytest

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.samples import volume


class TestCorruption:
    def test_a_corrupt_record_does_not_affect_others(self, persistence_harness: Harness) -> None:
        store = persistence_harness.open()
        good = [store.add(volume(id)) for id in ("0001", "0002", "0003", "0004")]
        persistence_harness.close(store)
        persistence_harness.corrupt("volume", "0002")
        store = persistence_harness.open()
        with pytest.raises(CorruptRecord, match=r"volume '0002'"):
            store.get(Volume, "0002")
        assert store.get(Volume, "0003") == good[2]
        page = store.page(Volume, limit=2)
        assert ([record.id for record in page.records], page.corrupt, page.next) == (["0001"], ("0002",), "0002")
        assert [record.id for record in store.page(Volume, after=page.next).records] == ["0003", "0004"]
        assert store.page(Volume, where={"backend": "array1"}).corrupt == ("0002",)
        persistence_harness.close(store)

    @pytest.mark.parametrize("new_id", ["", "zzz", "0000"])
    def test_a_walk_continues_after_a_record_with_a_wrong_id(self, persistence_harness: Harness, new_id: str) -> None:
        store = persistence_harness.open()
        ids = [f"000{number}" for number in range(6)]
        for id in ids:
            store.add(volume(id))
        persistence_harness.close(store)
        persistence_harness.rename("volume", "0002", new_id)
        store = persistence_harness.open()
        first = store.page(Volume, limit=3)
        assert ([record.id for record in first.records], first.corrupt) == (ids[:2], ("0002",))
        rest = store.page(Volume, after=first.next, limit=3)
        assert ([record.id for record in rest.records], rest.next) == (ids[3:], "")
        with pytest.raises(CorruptRecord, match=r"volume '0002'"):
            store.get(Volume, "0002")
        persistence_harness.close(store)
