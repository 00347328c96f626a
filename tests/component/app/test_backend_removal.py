"""A deleted object is let go, and a back end is drained, only with a proof that no volumes exist and none can follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app.backend_removal import Removal
from csi_cinderlib.app.emptiness import EMPTY_SECONDS, KNOWN_SECONDS, Emptiness, Remains
from csi_cinderlib.config.objects import FINALIZER
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import LeaseLost, ResourceExhausted
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from tests.component.app.test_sources import DRIVER, PATH, Site

NOTE = leftovers.Leftover(kind="volume", id="v", backend="array", name="volume-v", since="", reason="killed")


class Shelf(Configurations):
    """Notes what is released and told."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.told: list[str] = []

    def release(self, found: dict[str, Any]) -> dict[str, Any]:
        self.released.append(found["metadata"]["name"])
        return found

    def tell(self, found: dict[str, Any], **event: object) -> None:
        self.told.append(f"{event['reason']}: {event['note']}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store("memory", {}, state_dir=tmp_path)
    yield store
    store.close()


@pytest.fixture
def deleted(tmp_path: Path, store: Store) -> Iterator[Site]:
    site = Site(tmp_path, store)
    site.apply()
    site.until(lambda: site.origins() == {"array": "object"})
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: (state := site.state()) is not None and state.declared.is_deleting)
    yield site
    site.close()


def back_end(store: Store, **more: Any) -> Backend:
    class NoDriver:
        ready = True
        failure = ""

        def stop(self) -> None:
            """Its calls go on."""

    settings = BackendSettings(name="array", driver=DRIVER, **more)
    return Backend(settings, NoDriver(), store=store, room=Room(Path("/tmp")), owner="me")  # type: ignore[arg-type]


def removal(
    site: Site, registry: Backends | None = None, check: Callable[[], None] = lambda: None
) -> tuple[Removal, Shelf]:
    shelf, registry = Shelf(), registry or Backends()
    return Removal(shelf, site.sources, registry, Emptiness(site.store, registry), check_lease=check), shelf


def test_a_deleted_object_without_volumes_is_released(deleted: Site) -> None:
    it, shelf = removal(deleted)
    it.look()
    assert (shelf.released, shelf.told) == (["array"], [])


@pytest.mark.parametrize(
    ("record", "remains"),
    [
        (Volume(id="v", backend="array", size=GiB(1)), "1 volume"),
        (Volume(id="v", backend="array", size=GiB(1), status=Status.ERROR), "1 volume"),
        (Snapshot(id="s", backend="array", volume_id="source", size=GiB(1)), "1 snapshot"),
        (GroupSnapshot(id="g", backend="array", volume_ids=("v",)), "1 snapshot"),
    ],
    ids=["volume", "unfinished", "snapshot", "group"],
)
def test_a_deleted_object_stays_while_its_back_end_has_records(
    deleted: Site, store: Store, record: Any, remains: str
) -> None:
    store.add(Volume(id="source", backend="other", size=GiB(1)))
    kept: Any = store.add(record)
    it, shelf = removal(deleted)
    it.look()
    it.look()
    assert shelf.released == []
    (told,) = shelf.told
    assert told.startswith(f"DeletionRefused: Deletion refused: the back end still has {remains}; it is removed when")
    store.remove(kept)
    it.look()
    assert shelf.released == ["array"]


def test_a_record_that_cannot_be_read_keeps_the_object(deleted: Site, store: Store) -> None:
    assert isinstance(store, MemoryStore)
    store.add(Volume(id="v", backend="array", size=GiB(1)))
    store._put_raw(Volume, "v", "1-x", "{")
    it, shelf = removal(deleted)
    it.look()
    assert shelf.released == []
    assert "unreadable record" in shelf.told[0]


def test_what_may_be_left_on_the_array_keeps_the_object_until_it_is_checked(deleted: Site, store: Store) -> None:
    leftovers.note(store, NOTE)
    it, shelf = removal(deleted)
    it.look()
    assert shelf.released == []
    assert "1 leftover; it is removed when these are deleted and the leftovers are checked" in shelf.told[0]
    leftovers.forget(store, "v")
    it, shelf = removal(deleted)  # it counts again after a minute
    it.look()
    assert shelf.released == ["array"]


def test_volumes_of_other_back_ends_do_not_keep_an_object(deleted: Site, store: Store) -> None:
    store.add(Volume(id="v", backend="other", size=GiB(1)))
    store.add(replace(Volume(id="w", backend="array", size=GiB(1)), status=Status.DELETED))
    leftovers.note(store, replace(NOTE, backend="other"))
    it, shelf = removal(deleted)
    it.look()
    assert shelf.released == ["array"]


def test_a_creation_on_its_way_keeps_the_object_also_after_its_driver_was_replaced(deleted: Site, store: Store) -> None:
    old = back_end(store)
    registry = Backends([old])
    it, shelf = removal(deleted, registry)
    with old.intake.arrival():
        it.look()
        registry.add(back_end(store, options={"changed": "yes"}))
        it.look()
        registry.remove("array")
        it.look()
        assert shelf.released == []
    it.look()
    assert shelf.released == ["array"]
    with pytest.raises(ResourceExhausted), old.intake.arrival():
        pytest.fail("a drained back end accepts a volume")


def test_a_file_takes_over_the_volumes_of_a_deleted_object(deleted: Site, store: Store) -> None:
    store.add(Volume(id="v", backend="array", size=GiB(1)))
    deleted.write()
    deleted.read()
    it, shelf = removal(deleted)
    it.look()
    assert shelf.released == ["array"]


def test_a_file_that_cannot_be_read_takes_nothing_over(deleted: Site, store: Store) -> None:
    store.add(Volume(id="v", backend="array", size=GiB(1)))
    deleted.write()
    deleted.read()
    (deleted.directory / "a.yaml").write_text("array: [")
    deleted.read()
    it, shelf = removal(deleted)
    it.look()
    assert shelf.released == []


def test_a_finalizer_without_a_claim_keeps_nothing(tmp_path: Path, store: Store) -> None:
    site = Site(tmp_path, store)
    site.write()
    store.add(Volume(id="v", backend="array", size=GiB(1)))
    site.cluster.apply(PATH, "array", {"spec": {"driver": DRIVER}}, finalizers=[FINALIZER])
    site.cluster.drop(f"{PATH}/array")
    site.until(lambda: site.state() is not None)
    it, shelf = removal(site)
    it.look()
    assert (shelf.released, site.origins()) == (["array"], {"array": "file"})
    site.close()


def test_only_the_active_controller_releases_an_object(deleted: Site) -> None:
    def lost() -> None:
        raise LeaseLost("another controller is active")

    it, shelf = removal(deleted, check=lost)
    with pytest.raises(LeaseLost):
        it.look()
    assert shelf.released == []


def test_a_back_end_that_was_reopened_is_counted_anew(store: Store) -> None:
    registry = Backends()
    registry.add(back_end(store, drained=True))
    emptiness = Emptiness(store, registry, monotonic=lambda: 0.0)
    assert emptiness.look("array") == Remains()
    backend = registry.get("array")
    backend.apply(replace(backend.settings, drained=False))
    assert emptiness.look("array").is_open
    store.add(Volume(id="v", backend="array", size=GiB(1)))
    backend.apply(replace(backend.settings, drained=True))
    assert emptiness.look("array") == Remains(volumes=1)


def test_a_drained_back_end_is_empty_only_after_the_creations_on_their_way(store: Store) -> None:
    registry = Backends()
    registry.add(back_end(store))
    backend = registry.get("array")
    emptiness = Emptiness(store, registry)
    with backend.intake.arrival():
        backend.apply(replace(backend.settings, drained=True))
        assert emptiness.look("array")
    assert not emptiness.look("array")


def test_numbers_are_repeated_after_a_while_but_an_end_is_noticed_at_once(store: Store) -> None:
    now = [0.0]
    registry = Backends()
    registry.add(back_end(store, drained=True))
    emptiness = Emptiness(store, registry, monotonic=lambda: now[0])
    one, two = (store.add(Volume(id=id, backend="array", size=GiB(1))) for id in "ab")
    assert emptiness.look("array").volumes == 2
    store.remove(one)
    assert emptiness.look("array").volumes == 2
    now[0] = KNOWN_SECONDS
    assert emptiness.look("array").volumes == 1
    store.remove(two)
    assert emptiness.look("array") == Remains()
    assert isinstance(store, MemoryStore)
    store.add(Volume(id="c", backend="array", size=GiB(1)))
    store._put_raw(Volume, "c", "1-x", "{")
    now[0] += EMPTY_SECONDS
    assert emptiness.look("array") == Remains(unreadable=1)
