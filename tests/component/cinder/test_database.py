"""The stand-in for Cinder's database, asked as drivers ask it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.cinder.database import NotServed
from csi_cinderlib.cinder.runtime import served
from csi_cinderlib.errors import StaleRecord
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Status, Volume, VolumeType
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore, touch
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

ASKING = "tests.support.fakes.nothing.AskingDriver"
GOLD = VolumeType(name="gold", extra_specs={"tier": "1"}, qos_specs={"maxIOPS": "500"})


@pytest.fixture
def admin(backend: LocalBackend) -> Any:
    from cinder import context

    assert backend.ready
    return context.get_admin_context()


def test_extra_specs_and_qos_reach_the_driver_by_every_look_up(make: MakeBackend, store: ObservedStore) -> None:
    backend: Any = make(driver=ASKING)
    created = backend.create_volume(makers.volume(type=GOLD, multiattach=True))
    specs = {"tier": "1", "multiattach": "<is> True"}
    for way in ("object", "types", "type and qos", "database"):
        assert backend.driver.heard[way] == (specs, {"maxIOPS": "500"}), way
    assert backend.driver.heard["again"] == ("creating", f"volume-{created.id}", True)


def test_what_a_driver_saves_by_itself_is_kept_with_what_it_returns(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=ASKING)
    created = backend.create_volume(makers.volume(type=GOLD))
    assert created.admin_metadata == {"told": "yes"}
    assert created.provider.location
    assert store.get(Volume, created.id) == created


def test_a_driver_sees_attachments_and_snapshots_of_its_volumes(make: MakeBackend, store: ObservedStore) -> None:
    backend: Any = make(driver=ASKING)
    volume = backend.create_volume(makers.volume(type=GOLD))
    backend.connect(volume, makers.attachment(volume))
    taken = backend.create_snapshot(makers.snapshot(volume))
    heard = backend.driver.heard
    assert (heard["attached"], heard["status"]) == ([("node-1", "attached")], "in-use")
    assert heard["by host"] == [volume.id]
    assert heard["snapshots"] == [taken.id]


def test_a_question_about_the_volume_that_the_driver_works_on_costs_no_store_access(
    backend: LocalBackend, admin: Any, store: ObservedStore
) -> None:
    from cinder import objects

    def ask(volume: Any) -> tuple[str, int]:
        before = len(store.calls)
        return objects.Volume.get_by_id(admin, volume.id).id, len(store.calls) - before

    seen = observe(backend.driver, "create_volume", ask)
    created = backend.create_volume(makers.volume())
    assert seen == [(created.id, 0)]


@pytest.mark.unserved
def test_a_call_that_is_not_served_names_itself_and_is_remembered_though_the_driver_hides_it(make: MakeBackend) -> None:
    backend: Any = make(driver="tests.support.fakes.nothing.CuriousDriver")
    backend.create_volume(makers.volume())
    assert backend.driver.calls["hidden"] == 1
    assert served().refused == {"backup_get_all"}
    with pytest.raises(NotServed, match="unsupported Cinder database call 'backup_get_all'"):
        backend.driver.db.backup_get_all(None)


@pytest.mark.unserved
def test_objects_that_do_not_exist_here_are_refused_by_name(backend: LocalBackend, admin: Any) -> None:
    from cinder import objects

    with pytest.raises(NotServed, match=r"get_by_id\(Backup\)"):
        objects.Backup.get_by_id(admin, "1")


def test_missing_objects_are_cinders_own_exceptions(admin: Any) -> None:
    from cinder import exception, objects
    from cinder.volume import volume_types

    with pytest.raises(exception.VolumeNotFound):
        objects.Volume.get_by_id(admin, "nothing")
    with pytest.raises(exception.SnapshotNotFound):
        objects.Snapshot.get_by_id(admin, "nothing")
    with pytest.raises(exception.VolumeTypeNotFound):
        volume_types.get_volume_type(admin, "nothing")
    with pytest.raises(exception.QoSSpecsNotFound):
        objects.QualityOfServiceSpecs.get_by_id(admin, "nothing")
    with pytest.raises(exception.GroupNotFound):
        objects.Group.get_by_id(admin, "nothing")
    assert not objects.Volume.exists(admin, "nothing")
    assert not objects.Snapshot.exists(admin, "nothing")


def test_volumes_are_found_by_host_and_by_pool(make: MakeBackend, admin: Any) -> None:
    from cinder import objects

    backend = make("array", nothing_pools=["a", "b"])
    one = backend.create_volume(makers.volume("array", pool="a"))
    two = backend.create_volume(makers.volume("array", pool="b"))

    def at(host: str) -> set[str]:
        return {volume.id for volume in objects.VolumeList.get_all_by_host(admin, host)}

    assert at("csi-cinderlib@array") == {one.id, two.id}
    assert at("csi-cinderlib@array#b") == {two.id}
    assert at("csi-cinderlib@elsewhere") == set()
    assert {volume.id for volume in objects.VolumeList.get_all(admin)} == {one.id, two.id}


def test_a_walk_over_all_volumes_reads_their_attachments_at_once(
    backend: LocalBackend, store: ObservedStore, admin: Any
) -> None:
    from cinder import objects

    volumes = [backend.create_volume(makers.volume()) for _ in range(5)]
    backend.connect(volumes[2], makers.attachment(volumes[2]))
    before = len(store.calls)
    found = objects.VolumeList.get_all_by_host(admin, "csi-cinderlib@fake")
    assert [one.id for one in found if one.volume_attachment] == [volumes[2].id]
    assert store.calls[before:] == ["page", "page"]


def test_an_objects_save_reaches_the_record_though_somebody_changed_it_meanwhile(
    backend: LocalBackend, store: ObservedStore, admin: Any
) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())
    loaded = objects.Volume.get_by_id(admin, created.id)
    loaded.provider_id = "7"
    loaded.metadata["a"] = "b"
    store.before["replace"] = lambda _record: touch(store, created)
    loaded.save()
    saved = store.get(Volume, created.id)
    assert (saved.provider.id, saved.metadata, saved.labels) == ("7", {"a": "b"}, {"touched": "yes"})


def test_a_record_that_never_stands_still_is_given_up_in_the_end(backend: LocalBackend, store: ObservedStore) -> None:
    created = backend.create_volume(makers.volume())

    class Restless(ObservedStore):
        def get(self, kind: Any, id: str) -> Any:
            return store.get(kind, id)

        def replace(self, record: Any) -> Any:
            raise StaleRecord("volume", record.id)

    from csi_cinderlib.persistence.optimistic import change

    with pytest.raises(StaleRecord):
        change(Restless(), created, lambda one: replace(one, message="x"))


def test_snapshots_are_saved_found_and_described(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    from cinder import objects

    volume = backend.create_volume(makers.volume())
    taken = backend.create_snapshot(makers.snapshot(volume))
    loaded = objects.Snapshot.get_by_id(admin, taken.id)
    loaded.metadata = {"a": "b"}
    loaded.provider_id = "9"
    loaded.save()
    assert store.get(Snapshot, taken.id).provider.id == "9"
    loaded.delete_metadata_key(admin, "a")
    assert store.get(Snapshot, taken.id).metadata == {}
    assert objects.Volume.get_by_id(admin, volume.id).get_latest_snapshot().id == taken.id
    assert [one.id for one in objects.SnapshotList.get_by_host(admin, "csi-cinderlib@fake")] == [taken.id]
    assert loaded.volume.name == f"volume-{volume.id}"


def test_metadata_keys_can_be_deleted(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    from cinder import objects

    created = backend.create_volume(makers.volume())
    loaded = objects.Volume.get_by_id(admin, created.id)
    loaded.metadata = {"a": "b", "c": "d"}
    loaded.save()
    loaded.delete_metadata_key("a")
    assert store.get(Volume, created.id).metadata == {"c": "d"}
    loaded.admin_metadata_update({"x": "y"}, False)
    assert store.get(Volume, created.id).admin_metadata == {"x": "y"}


def test_a_driver_keeps_secrets_per_initiator(backend: Any, admin: Any) -> None:
    """As Pure's does, through Cinder's driver_utils."""
    utils = backend.driver.driver_utils
    assert utils.insert_driver_initiator_data("iqn.x", "chap", "first")
    assert not utils.insert_driver_initiator_data("iqn.x", "chap", "second")
    assert [(one.key, one.value) for one in utils.get_driver_initiator_data("iqn.x")] == [("chap", "first")]
    assert utils.get_driver_initiator_data("iqn.y") == []


def test_groups_and_their_types_are_served(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    from cinder import objects
    from cinder.volume import group_types

    group = store.add(Group(id=makers.new_id(), backend="fake", host="csi-cinderlib@fake", consistent=True))
    volume = store.add(replace(makers.volume(), group_id=group.id))
    loaded = objects.Group.get_by_id(admin, group.id)
    assert [one.id for one in loaded.volumes] == [volume.id]
    specs = group_types.get_group_type_specs(loaded.group_type_id)
    assert specs == {"consistent_group_snapshot_enabled": "<is> True"}
    taken = store.add(GroupSnapshot(id=makers.new_id(), backend="fake", group_id=group.id))
    assert objects.GroupSnapshot.get_by_id(admin, taken.id).group.id == group.id


def test_groups_are_listed_as_ibms_ds8000_driver_asks(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    """It looks for the logical subsystems that other groups, and their snapshots, use."""
    from cinder import objects
    from cinder.volume.drivers.ibm.ibm_storage import ds8k_proxy

    def add(host: str, status: Status = Status.AVAILABLE) -> Group:
        group = Group(id=makers.new_id(), backend="fake", host=host, status=status, consistent=True)
        return store.add(group)

    host = "csi-cinderlib@fake#one"
    group, *_ = add(host), add("csi-cinderlib@fake#two"), add(host, Status.CREATING)
    volume = store.add(replace(makers.volume(), group_id=group.id, type=GOLD))
    taken = store.add(GroupSnapshot(id=makers.new_id(), backend="fake", group_id=group.id, status=Status.AVAILABLE))
    member = store.add(replace(makers.snapshot(volume), group_snapshot_id=taken.id))

    found = objects.GroupList.get_all(admin, filters={"host": host, "status": "available"})
    (seen,) = map(ds8k_proxy.Group, found)
    assert (seen.id, seen.consisgroup_snapshot_enabled, seen.failed_over) == (group.id, True, False)
    assert [one.id for one in seen.volumes] == [volume.id] == found[0].volume_type_ids
    snapshots = objects.GroupSnapshotList.get_all_by_group(admin, group.id, filters={"status": "available"})
    (seen_snapshot,) = (ds8k_proxy.Group(one, True) for one in snapshots)
    assert (seen_snapshot.id, [one.id for one in seen_snapshot.snapshots]) == (taken.id, [member.id])


def test_groups_of_a_back_end_are_listed_newest_first(backend: LocalBackend, store: ObservedStore, admin: Any) -> None:
    from cinder import objects

    ids = [makers.new_id() for _ in range(3)]
    for hour, id in enumerate(ids):
        host = f"csi-cinderlib@fake#{hour}"
        store.add(Group(id=id, backend="fake", host=host, created_at=f"2026-01-01T0{hour}:00:00.000000Z"))
    for filters in ({"host": "csi-cinderlib@fake"}, {}, None):
        assert [one.id for one in objects.GroupList.get_all(admin, filters=filters)] == ids[::-1]
    assert list(objects.GroupList.get_all(admin, filters={"host": "csi-cinderlib@elsewhere"})) == []
    assert list(objects.GroupSnapshotList.get_all_by_group(admin, "nothing")) == []


@pytest.mark.unserved
def test_groups_are_not_listed_by_pages(admin: Any) -> None:
    from cinder import objects

    with pytest.raises(NotServed, match=r"group_get_all\(limit\)"):
        objects.GroupList.get_all(admin, limit=1)


def test_each_back_end_is_served_from_its_own_store(make: MakeBackend, admin: Any) -> None:
    from cinder import objects

    stores = [ObservedStore(), ObservedStore()]
    made = [make(f"array{number}", store=one) for number, one in enumerate(stores)]
    volumes = [one.create_volume(makers.volume(one.name)) for one in made]
    for volume, own in zip(volumes, stores, strict=True):
        loaded = objects.Volume.get_by_id(admin, volume.id)
        loaded.provider_id = loaded.display_name
        loaded.save()
        assert own.get(Volume, volume.id).provider.id == volume.name
        assert [one.id for one in objects.VolumeList.get_all_by_host(admin, volume.host)] == [volume.id]


def test_a_driver_may_take_a_snapshot_for_itself_and_drop_it(
    backend: LocalBackend, store: ObservedStore, admin: Any
) -> None:
    """As the drivers on shares do while they clone; a type is asked for then, and Cinder always has a default one."""
    from cinder import objects

    volume = backend.create_volume(makers.volume())
    taken = objects.Snapshot(context=admin, volume_id=volume.id, volume_size=1, display_name="temporary")
    taken.create()
    assert store.get(Snapshot, taken.id).name == "temporary"
    taken.destroy()
    assert store.page(Snapshot).records == ()
