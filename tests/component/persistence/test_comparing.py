"""The store in memory tells whether a record is current without reading it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Comparing
from csi_cinderlib.persistence.memory import MemoryStore


def _volume(id: str, backend: str = "array") -> Volume:
    return Volume(id=id, name="same", backend=backend, size=GiB(1))


def test_only_the_last_revision_of_a_record_is_current() -> None:
    store = MemoryStore()
    first = store.add(_volume("one"))
    assert store.is_current(first)
    second = store.replace(replace(first, size=GiB(2)))
    assert not store.is_current(first)
    assert store.is_current(second)
    store.remove(second)
    assert not store.is_current(second)
    again = store.add(_volume("one"))
    assert not store.is_current(first)
    assert store.is_current(again)


def test_ids_are_those_of_the_pages() -> None:
    store = MemoryStore()
    for id, backend in (("b", "array"), ("a", "array"), ("c", "other")):
        store.add(_volume(id, backend))
    assert isinstance(store, Comparing)
    assert store.ids(Volume) == ["a", "b", "c"]
    assert store.ids(Volume, {"backend": "array"}) == ["a", "b"]
    assert store.ids(Volume, {"backend": "array", "name": "another"}) == []
    with pytest.raises(InvalidRequest, match="unsupported filter"):
        store.ids(Volume, {"size": "1"})
