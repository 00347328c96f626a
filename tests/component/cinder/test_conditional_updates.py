"""Cinder's compare and swap on our records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.cinder.database import NotServed
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Group, Snapshot, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.watching import observe

ASKING = "tests.support.fakes.nothing.AskingDriver"
GOLD = VolumeType(name="gold", extra_specs={"tier": "1"}, qos_specs={"maxIOPS": "500"})


@pytest.fixture
def admin(backend: LocalBackend) -> Any:
    from cinder import context

    assert backend.ready
    return context.get_admin_context()


def test_a_conditional_update_compares_first(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())
    loaded = objects.Volume.get_by_id(admin, created.id)
    assert not loaded.conditional_update({"replication_status": "x"}, {"status": "error"})
    assert loaded.conditional_update({"replication_status": "enabled"}, {"status": ("available", "in-use")})
    assert store.get(Volume, created.id).fields == {"replication_status": "enabled"}


@pytest.mark.unserved
@pytest.mark.parametrize("column", ["status", "display_name", "group_id"])
def test_a_conditional_update_of_a_column_that_is_not_kept_is_refused(
    backend: LocalBackend, store: ObservedStore, admin: Any, column: str
) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())
    loaded = objects.Volume.get_by_id(admin, created.id)
    with pytest.raises(NotServed, match=rf"conditional_update\(Volume, {column}\)"):
        loaded.conditional_update({column: "deleting", "provider_id": "7"}, {"status": "available"})
    assert store.get(Volume, created.id) == created


@pytest.mark.unserved
def test_a_conditional_update_by_an_expression_is_refused(
    backend: LocalBackend, store: ObservedStore, admin: Any
) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())
    loaded = objects.Volume.get_by_id(admin, created.id)
    case = loaded.Case([("condition", "a")], else_="b")
    with pytest.raises(NotServed, match="replication_status as Case"):
        loaded.conditional_update({"replication_status": case}, {"status": "available"})
    with pytest.raises(NotServed, match="status compared with Case"):
        loaded.conditional_update({"replication_status": "a"}, {"status": case})
    with pytest.raises(NotServed, match="filters"):
        loaded.conditional_update({"replication_status": "a"}, {"status": "available"}, filters=["exists"])
    assert store.get(Volume, created.id) == created


def test_a_conditional_update_knows_the_conditions_of_cinder(
    backend: LocalBackend, store: ObservedStore, admin: Any
) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())
    loaded = objects.Volume.get_by_id(admin, created.id)
    other = loaded.Not
    for wrong in ({"status": other("available")}, {"status": other(["available", "error"])}, {"provider_id": "9"}):
        assert not loaded.conditional_update({"provider_id": "7"}, wrong), wrong
    assert not loaded.conditional_update({"provider_id": "7"}, {"provider_id": other("9", auto_none=False)})
    assert store.get(Volume, created.id) == created
    right = {"status": other(["error", "deleting"]), "provider_id": other("9"), "replication_status": (None, "x")}
    assert loaded.conditional_update({"provider_id": "7"}, right)
    assert store.get(Volume, created.id).provider.id == "7"


def test_a_conditional_update_compares_with_what_another_process_wrote(
    backend: LocalBackend, store: ObservedStore, admin: Any
) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())

    def ask(volume: Any, _size: int) -> bool:
        loaded = objects.Volume.get_by_id(admin, volume.id)
        record = store.get(Volume, volume.id)
        store.replace(replace(record, fields={"replication_status": "of another process"}))
        updated: bool = loaded.conditional_update({"replication_status": "x"}, {"replication_status": None})
        return updated

    seen = observe(backend.driver, "extend_volume", ask)
    backend.extend_volume(created, GiB(2))
    assert seen == [False]
    assert store.get(Volume, created.id).fields == {"replication_status": "of another process"}


def test_a_conditional_update_that_meets_another_change_compares_again(
    backend: LocalBackend, store: ObservedStore, admin: Any
) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())
    loaded = objects.Volume.get_by_id(admin, created.id)

    def meanwhile(_record: object) -> None:
        record = store.get(Volume, created.id)
        store.replace(replace(record, fields={"replication_status": "of another process"}))

    store.before["replace"] = meanwhile
    assert not loaded.conditional_update({"replication_status": "x"}, {"replication_status": None})
    assert store.get(Volume, created.id).fields == {"replication_status": "of another process"}


def test_a_snapshot_can_be_updated_conditionally(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    from cinder import objects

    taken = backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    loaded = objects.Snapshot.get_by_id(admin, taken.id)
    assert not loaded.conditional_update({"provider_id": "7"}, {"status": "error"})
    assert loaded.conditional_update({"provider_id": "7"}, {"status": "available"})
    assert store.get(Snapshot, taken.id).provider.id == "7"


@pytest.mark.unserved
def test_other_objects_are_not_updated_conditionally(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    from cinder import objects

    group = store.add(Group(id=makers.new_id(), backend="fake", host="csi-cinderlib@fake"))
    with pytest.raises(NotServed, match=r"conditional_update\(Group\)"):
        objects.Group.get_by_id(admin, group.id).conditional_update({"status": "x"}, {"status": "creating"})
