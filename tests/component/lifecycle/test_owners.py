"""Each object on a back end has at most one owner, whichever way its record was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from csi_cinderlib.lifecycle.owners import Owners, Target, refusals
from csi_cinderlib.model.records import Imported, Provider, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore

ID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
THIRD = "33333333-3333-4333-8333-333333333333"


def volume(id: str = ID, *, backend: str = "a", **values: object) -> Volume:
    return replace(Volume(id=id, backend=backend, size=GiB(1), status=Status.AVAILABLE), **values)  # type: ignore[arg-type]


def snapshot(id: str, **values: object) -> Snapshot:
    made = Snapshot(id=id, backend="a", volume_id="v", size=GiB(1), status=Status.AVAILABLE)
    return replace(made, **values)  # type: ignore[arg-type]


def static(name: str = "disk.img", *, id: str = ID, backend: str = "a", place: str = "") -> Volume:
    origin = Imported(name=name, reference={"source-name": name}, static=True, place=place)
    return volume(id, backend=backend, imported=origin)


def named(name: str, *, backend: str = "a", place: str = "", volume_id: str = "", key: str = "source-name") -> Target:
    return Target(backend=backend, reference={key: name}, place=place, volume_id=volume_id)


@pytest.mark.parametrize("backend", ["a", "b"])
@pytest.mark.parametrize("name", [f"volume-{ID}", f"copy-of-{ID.upper()}", ID])
def test_an_id_in_a_name_counts_on_every_back_end(name: str, backend: str) -> None:
    assert f"volume '{ID}' (available)" in Owners([volume()]).of(named(name, backend=backend))


def test_the_id_that_a_migrated_volume_has_in_its_name_counts() -> None:
    assert Owners([volume(OTHER, fields={"_name_id": ID})]).of(named(f"volume-{ID}"))


@pytest.mark.parametrize("key", ["source-id", "source-name"])
def test_an_id_that_an_array_assigned_counts_on_its_back_end_only(key: str) -> None:
    owners = Owners([volume(provider=Provider(id="7"))])
    assert owners.of(named("7", key=key))
    assert not owners.of(named("7", key=key, backend="b"))


@pytest.mark.parametrize(
    ("mine", "place", "is_owned"), [("p1", "p1", True), ("p1", "p2", False), ("", "p2", True), ("p1", "", True)]
)
@pytest.mark.parametrize("backend", ["a", "b"])
def test_a_kept_name_counts_unless_its_place_is_proven_to_be_another(
    mine: str, place: str, is_owned: bool, backend: str
) -> None:
    owners = Owners([static(place=mine)])
    assert bool(owners.of(named("disk.img", backend=backend, place=place))) is is_owned


@pytest.mark.parametrize(
    ("status", "reference", "is_owned"),
    [
        (Status.IMPORTING, {"source-name": "lun1"}, True),
        (Status.UNMANAGING, {"source-name": "lun1"}, True),
        (Status.AVAILABLE, {"source-name": "lun1"}, False),
        (Status.AVAILABLE, {"source-id": "lun1"}, True),
        (Status.DELETED, {"source-name": "lun1"}, False),
    ],
)
def test_a_managed_object_keeps_its_id_but_not_its_name(
    status: Status, reference: Mapping[str, str], is_owned: bool
) -> None:
    owners = Owners([volume(status=status, imported=Imported(name="lun1", reference=reference))])
    (key,) = reference
    assert bool(owners.of(named("lun1", key=key))) is is_owned


def test_volume_groups_share_the_names_that_their_owners_kept() -> None:
    """Their exports have these names, so a node would get the volume of the other group."""
    groups = "5HkF5u-1aXo-Sd4W-9vJq-eDTQ-XUuR-LhmRkd", "Zk2mCB-QpZ1-3fLw-7yTn-a0VE-mmKo-9sWq1r"
    owners = Owners([static("data", place=groups[0])])
    assert owners.of(named("data", backend="b", place=groups[1]))
    assert not owners.of(named("other", backend="b", place=groups[1]))
    assert not owners.of(named("data", backend="b", place="a directory"))
    daily = static("daily", place=groups[0])
    snapshot = Snapshot(
        id=OTHER, backend="a", volume_id="v1", size=GiB(1), status=Status.IMPORTING, imported=daily.imported
    )
    found = [Owners([snapshot]).of(named("daily", volume_id="v2", place=place)) for place in groups]
    assert [bool(owner) for owner in found] == [True, False]


def test_snapshots_of_two_volumes_may_have_the_same_name_unless_they_are_in_one_place() -> None:
    origin = Imported(name="daily", reference={"source-name": "daily"})
    first = Snapshot(id=ID, backend="a", volume_id="v1", size=GiB(1), status=Status.IMPORTING, imported=origin)
    owners = Owners([first])
    assert owners.of(named("daily", volume_id="v1"))
    assert not owners.of(named("daily", volume_id="v2"))
    assert owners.of(named("daily"))
    in_place = Owners([replace(first, imported=replace(origin, place="p"))])
    assert in_place.of(named("daily", volume_id="v2", place="p"))


def test_an_unreadable_record_may_own_anything() -> None:
    owners = Owners()
    owners.add_unreadable("volume", ID)
    assert owners.of(named(f"volume-{ID}")).startswith(f"it may be volume '{ID}', whose record cannot be read")
    assert "cannot be read" in owners.of(named("disk.img"))
    assert "cannot be read" in owners.of_record(volume(OTHER))
    assert not owners.of_record(volume(ID))


def test_a_record_is_compared_with_all_others() -> None:
    owners = Owners([static(f"volume-{OTHER}"), volume(provider=Provider(id="7", location="nfs:/share"))])
    assert ID in owners.of_record(volume(OTHER, backend="b"))
    assert not owners.of_record(volume(THIRD, provider=Provider(id="8", location="nfs:/share")))
    assert not owners.of_record(volume(ID, provider=Provider(id="7")))


def test_objects_that_were_not_imported_may_share_what_their_driver_stores_as_id() -> None:
    owners = Owners([volume(provider=Provider(id="project"))])
    assert not owners.of_record(volume(OTHER, provider=Provider(id="project")))
    assert not owners.of_record(snapshot(OTHER, provider=Provider(id="project")))


@pytest.mark.parametrize("provider", [Provider(id="12"), Provider(location="12")], ids=["id", "location"])
def test_an_imported_object_is_found_by_the_id_of_its_reference(provider: Provider) -> None:
    imported = volume(imported=Imported(name="12", reference={"source-id": "12"}))
    for other in (volume(OTHER, provider=provider), snapshot(OTHER, provider=provider)):
        assert ID in Owners([imported]).of_record(other)
        assert OTHER in Owners([other]).of_record(imported)
        assert not Owners([imported]).of_record(replace(other, backend="b"))


def test_an_imported_object_is_found_by_the_id_that_its_driver_has_stored() -> None:
    imported = volume(provider=Provider(id="7"), imported=Imported(name="lun", reference={"source-name": "lun"}))
    assert ID in Owners([imported]).of_record(volume(OTHER, provider=Provider(id="7")))
    assert OTHER in Owners([volume(OTHER, provider=Provider(id="7"))]).of_record(imported)
    assert not Owners([imported]).of_record(
        snapshot(OTHER, provider=Provider(id="7"))
    )  # that of its volume, for example


def test_the_former_name_of_an_imported_object_stays_an_id_of_cinder() -> None:
    name = f"volume-{OTHER}"
    imported = volume(imported=Imported(name=name, reference={"source-name": name}))
    assert ID in Owners([imported]).of_record(volume(OTHER))
    assert ID in Owners([imported]).of_record(volume(THIRD, fields={"_name_id": OTHER}))
    assert not Owners([imported]).of(named(name))  # another object may have got the name


def test_of_two_that_add_a_record_for_one_object_at_least_one_is_refused() -> None:
    store = MemoryStore()
    first, second = static(place="p"), static(id=OTHER, place="p")
    store.add(first)
    assert refusals(store, [first]) == {}
    store.add(second)
    assert list(refusals(store, [first])) == [ID]
    assert list(refusals(store, [second])) == [OTHER]


def test_a_record_is_not_its_own_owner() -> None:
    owners = Owners([static()])
    assert not owners.of(replace(named("disk.img"), record=ID))
    assert owners.of(replace(named("disk.img"), record=OTHER))
