"""The marks of adoptions. Later releases must understand those in existing stores, so their form is fixed here."""

from __future__ import annotations

import json
from datetime import datetime

from csi_cinderlib.adoption import marks
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.iteration import walk_all
from csi_cinderlib.persistence.memory import MemoryStore

VOLUME, SNAPSHOT = ("volume", "v1"), ("snapshot", "s1")


def values(store: MemoryStore) -> dict[str, str]:
    return {record.id: record.value for record in walk_all(store, KeyValue)}


def test_the_form_of_the_marks_in_a_store() -> None:
    store = MemoryStore()
    marks.begin(store, "c0", [VOLUME, SNAPSHOT])
    marks.complete(store, "c0", "sqlite:///old.db", {"volume": 1, "snapshot": 1})
    kept = values(store)
    assert kept.pop("csi-cinderlib.adopted.c0.0") == "1b7663f7c2446ead 31b0314bf776a166"
    mark = json.loads(kept.pop("csi-cinderlib.adopted.c0"))
    assert datetime.fromisoformat(mark.pop("at")).tzinfo is not None
    assert mark == {"source": "sqlite:///old.db", "records": {"volume": 1, "snapshot": 1}}
    assert not kept


def test_many_keys_are_stored_in_parts_and_a_repeated_beginning_changes_nothing() -> None:
    store = MemoryStore()
    keys = [("volume", f"v{number}") for number in range(2500)]
    for _ in range(2):
        marks.begin(store, "c0", keys)
    kept = values(store)
    assert [len(kept[f"csi-cinderlib.adopted.c0.{part}"].split()) for part in range(3)] == [1000, 1000, 500]
    assert len(kept) == 3
    known = marks.read(store)
    assert all(known.was_interrupted(key) for key in keys)
    assert not known.was_interrupted(("volume", "v2500"))


def test_an_adoption_is_interrupted_until_it_is_completed() -> None:
    store = MemoryStore()
    assert marks.read(store).are_completed
    marks.begin(store, "c0", [VOLUME])
    known = marks.read(store)
    assert (known.was_adopted(VOLUME), known.was_interrupted(VOLUME), known.are_completed) == (False, True, False)
    marks.complete(store, "c0", "old", {})
    known = marks.read(store)
    assert (known.was_adopted(VOLUME), known.was_interrupted(VOLUME), known.are_completed) == (True, False, True)
    assert not known.was_interrupted(SNAPSHOT)
    assert known.completed == {"c0": json.loads(values(store)["csi-cinderlib.adopted.c0"])["at"]}


def test_a_record_of_a_completed_adoption_stays_adopted_when_another_one_is_interrupted() -> None:
    store = MemoryStore()
    marks.begin(store, "c0", [VOLUME])
    marks.complete(store, "c0", "old", {})
    marks.begin(store, "c1", [VOLUME, SNAPSHOT])
    known = marks.read(store)
    assert not known.are_completed
    assert known.was_adopted(VOLUME)
    assert not known.was_interrupted(VOLUME)
    assert known.was_interrupted(SNAPSHOT)
