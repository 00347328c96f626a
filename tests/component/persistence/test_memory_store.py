"""The store in memory keeps records as objects, not as text; its callers must not share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from csi_cinderlib.model.records import Volume, VolumeType
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore


def a_volume(**values: Any) -> Volume:
    return Volume(id="v", backend="array", size=GiB(1), **values)


VALUES: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[Volume], Any]]] = {
    "metadata": (lambda: {"metadata": {"key": "before"}}, lambda volume: volume.metadata),
    "nested fields": (lambda: {"fields": {"outer": [{"key": "before"}]}}, lambda volume: volume.fields["outer"][0]),  # type: ignore[index]
    "specs of the type": (
        lambda: {"type": VolumeType(extra_specs={"key": "before"})},
        lambda volume: volume.type and volume.type.extra_specs,
    ),
    "unknown fields": (lambda: {"unknown": {"newer": {"key": "before"}}}, lambda volume: volume.unknown["newer"]),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_change_of_a_dictionary_after_the_write_does_not_change_the_stored_record(name: str) -> None:
    make, part = VALUES[name]
    store, written = MemoryStore(), a_volume(**make())
    store.add(written)

    part(written)["key"] = "after"

    assert part(store.get(Volume, "v"))["key"] == "before"


@pytest.mark.parametrize("name", VALUES)
def test_a_change_of_a_dictionary_that_was_read_does_not_change_the_stored_record(name: str) -> None:
    make, part = VALUES[name]
    store = MemoryStore()
    store.add(a_volume(**make()))

    part(store.get(Volume, "v"))["key"] = "after"
    part(store.page(Volume).records[0])["key"] = "after"

    assert part(store.get(Volume, "v"))["key"] == "before"


def test_a_changed_record_is_found_by_its_new_values_only() -> None:
    store = MemoryStore()
    stored = store.add(a_volume(name="before"))

    store.replace(a_volume(name="after", revision=stored.revision))

    assert store.page(Volume, where={"name": "before"}).records == ()
    assert [volume.id for volume in store.page(Volume, where={"name": "after", "backend": "array"}).records] == ["v"]
