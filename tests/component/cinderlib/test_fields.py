"""Every field of Cinder's Volume and Snapshot that a user sets is kept, or refused with its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinderlib import Backend, Library, exception
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import records
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, storage

TIME = "2020-02-03T04:05:06.000000Z"
VALUES: dict[str, Any] = {
    "size": 9,
    "volume_size": 9,
    "status": "maintenance",
    "attach_status": "error_detaching",
    "bootable": True,
    "multiattach": True,
    "use_quota": False,
    "shared_targets": False,
    "deleted": True,
    "host": "box@fake#other",
    "metadata": {"a": "b"},
    "admin_metadata": {"c": "d"},
    "glance_metadata": {"e": "f"},
}
"""Values that differ from the defaults; other fields get text or a time."""
GROUPS = frozenset({"group_id", "consistencygroup_id", "cgsnapshot_id", "group_snapshot_id"})
REFUSED = {
    "Volume": GROUPS | {"id", "deleted", "volume_type_id"},
    "Snapshot": GROUPS | {"id", "deleted", "volume_type_id", "volume_id"},
}


def cinder_fields(kind: str) -> dict[str, Any]:
    """The fields of Cinder's class that are not objects."""
    load_cinder()
    from cinder import objects

    fields = getattr(objects, kind).fields
    return {name: field for name, field in fields.items() if "Object" not in type(field).__name__}


def value_for(kind: str, name: str) -> Any:
    if kind == "Snapshot" and name == "status":
        return "unmanaging"
    if name in VALUES:
        return VALUES[name]
    return TIME if name.endswith("_at") else f"some-{name}"


NAMES = [(kind, name) for kind in ("Volume", "Snapshot") for name in sorted(cinder_fields(kind))]


@pytest.fixture(params=["memory", "db"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return storage(request.param, tmp_path)


@pytest.fixture
def library(config: dict[str, Any]) -> Iterator[Library]:
    made = Library(persistence_config=config)
    yield made
    made.close()


@pytest.fixture
def fake(library: Library) -> Backend:
    return library.backend("fake", volume_driver=NOTHING)


def stored_again(library: Library, handle: Any) -> Any:
    """The object from the stored record, without what this object knows."""
    library.handles = type(library.handles)(library, one_each=False)
    return library.volume(handle.id) if isinstance(handle, cinderlib.Volume) else library.snapshot(handle.id)


def shown(handle: Any, name: str) -> Any:
    return handle.json["ovo"]["versioned_object.data"][name]


def made(fake: Backend, kind: str) -> Any:
    volume = fake.create_volume(1, name="v")
    return volume if kind == "Volume" else volume.create_snapshot("s")


def test_the_table_contains_the_fields_of_cinder() -> None:
    names = {name for _, name in NAMES}
    assert {"multiattach", "encryption_key_id", "progress", "cgsnapshot_id", "_name_id", "launched_at"} <= names
    assert len(NAMES) > 60


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_field_set_on_cinders_object_is_stored_or_refused(
    fake: Backend, library: Library, kind: str, name: str
) -> None:
    handle, value = made(fake, kind), value_for(kind, name)
    before = handle._record
    setattr(handle._ovo, name, value)
    if name in REFUSED[kind]:
        with pytest.raises(InvalidRequest, match=name) as refused:
            handle.save()
        assert refused.value.field == name
        assert library.store.get(type(before), before.id) == before
        return
    handle.save()
    assert shown(stored_again(library, handle), name) == value
    assert shown(handle, name) == value


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_an_argument_of_a_constructor_is_stored_or_refused(
    fake: Backend, library: Library, kind: str, name: str
) -> None:
    parent = fake.create_volume(1)
    value = value_for(kind, name)

    def build() -> Any:
        first: Any = fake if kind == "Volume" else parent
        return getattr(cinderlib, kind)(first, **{name: value})

    if name in REFUSED[kind] - {"id"}:
        with pytest.raises(InvalidRequest, match=name):
            build()
        return
    handle = build()
    handle.save()
    assert shown(stored_again(library, handle), name) == value


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_value_in_json_is_stored_or_refused(fake: Backend, library: Library, kind: str, name: str) -> None:
    source = json.loads(made(fake, kind).jsons)
    source["ovo"]["versioned_object.data"][name] = value_for(kind, name)
    refused = REFUSED[kind] - {"id", "deleted"}
    if kind == "Snapshot":
        refused -= {"volume_type_id"}  # that of the volume, which the JSON contains
    if name in refused:
        with pytest.raises(InvalidRequest) as raised:
            library.load(source)
        assert raised.value.field == f"ovo.versioned_object.data.{name}"
        return
    loaded = library.load(source)
    if (kind, name) == ("Snapshot", "volume_type_id"):
        assert shown(loaded, name) is None
    else:
        assert shown(loaded, name) == value_for(kind, name)


@pytest.mark.parametrize("name", ["snapshots", "volume_attachment"])
def test_related_objects_cannot_be_assigned(fake: Backend, name: str) -> None:
    volume = made(fake, "Volume")
    setattr(volume._ovo, name, getattr(volume._ovo, name))
    with pytest.raises(InvalidRequest, match=f"{name}: cannot be set"):
        volume.save()


@pytest.mark.parametrize("name", ["metadata", "admin_metadata"])
def test_a_change_of_a_dictionary_in_place_is_stored(fake: Backend, library: Library, name: str) -> None:
    volume = made(fake, "Volume")
    getattr(volume._ovo, name)["a"] = "b"
    volume.save()
    assert getattr(stored_again(library, volume), name) == {"a": "b"}


def test_a_change_of_a_snapshots_metadata_in_place_is_stored(fake: Backend, library: Library) -> None:
    snapshot = made(fake, "Snapshot")
    snapshot.metadata["a"] = "b"
    snapshot.save()
    assert stored_again(library, snapshot).metadata == {"a": "b"}


@pytest.mark.parametrize("in_place", [True, False])
def test_changed_specs_of_the_type_are_stored(fake: Backend, library: Library, in_place: bool) -> None:
    volume = fake.create_volume(1, extra_specs={"a": "b"}, qos_specs={"c": "d"})
    kind = volume._ovo.volume_type
    if in_place:
        kind.extra_specs["e"] = kind.qos_specs.specs["f"] = "g"
    else:
        kind.extra_specs, kind.qos_specs.specs = {"a": "b", "e": "g"}, {"c": "d", "f": "g"}
    volume.save()
    again = stored_again(library, volume).volume_type
    assert (again.extra_specs, again.qos_specs.specs) == ({"a": "b", "e": "g"}, {"c": "d", "f": "g"})


def test_a_type_can_be_assigned_and_removed(fake: Backend, library: Library) -> None:
    from cinder import objects

    volume = made(fake, "Volume")
    volume._ovo.volume_type = objects.VolumeType(id=volume.id, name="gold", extra_specs={"a": "b"}, qos_specs=None)
    volume._ovo.volume_type_id = volume.id
    volume.save()
    again = stored_again(library, volume)
    assert (again.volume_type.name, again.volume_type.extra_specs) == ("gold", {"a": "b"})
    again._ovo.volume_type = None
    again.save()
    assert stored_again(library, volume).volume_type is None


def test_a_field_of_the_type_that_is_not_stored_is_refused(fake: Backend) -> None:
    volume = fake.create_volume(1, extra_specs={"a": "b"})
    volume._ovo.volume_type.description = "x"
    with pytest.raises(InvalidRequest, match=r"volume_type\.description"):
        volume.save()


def test_an_attribute_set_on_the_object_is_set_on_cinders_object(fake: Backend, library: Library) -> None:
    volume = made(fake, "Volume")
    volume.display_name, volume._name_id, volume.note = "new", "other", "mine"
    assert (volume.name, volume.note, volume.name_in_storage) == ("new", "mine", "volume-other")
    volume.save()
    again = stored_again(library, volume)
    assert (again.name, again._name_id) == ("new", "other")


@pytest.mark.parametrize("operation", ["extend", "connect", "create_snapshot", "clone"])
def test_an_operation_stores_what_was_set_before_it(fake: Backend, library: Library, operation: str) -> None:
    volume = made(fake, "Volume")
    volume._ovo.availability_zone = "zone"
    arguments = {"extend": (2,), "connect": (CONNECTOR,)}.get(operation, ())
    getattr(volume, operation)(*arguments)
    assert stored_again(library, volume).availability_zone == "zone"


def test_what_was_set_before_the_creation_is_stored(fake: Backend, library: Library) -> None:
    volume = cinderlib.Volume(fake, size=1)
    volume._ovo.metadata = {"a": "b"}
    volume.create()
    snapshot = cinderlib.Snapshot(volume)
    snapshot._ovo.display_name = "s"
    snapshot.create()
    assert stored_again(library, volume).metadata == {"a": "b"}
    assert stored_again(library, snapshot).name == "s"


def test_what_is_not_saved_survives_a_change_of_a_connection(fake: Backend, library: Library) -> None:
    volume = made(fake, "Volume")
    connection = volume.connect(CONNECTOR)
    volume._ovo.display_description = "later"
    volume._ovo.status = "maintenance"
    connection.disconnect()
    assert (volume.description, volume.status) == ("later", "available")
    volume.save()
    assert stored_again(library, volume).description == "later"


# --- status


@pytest.mark.parametrize("status", ["error", "deleted", "in-use", "retyping", "maintenance"])
def test_a_status_is_shown_until_the_next_change_of_a_connection(fake: Backend, library: Library, status: str) -> None:
    volume = made(fake, "Volume")
    volume._ovo.status = status
    volume.save()
    again = stored_again(library, volume)
    assert (again.status, again.deleted, again._record.status) == (status, False, records.Status.AVAILABLE)
    connection = again.connect(CONNECTOR)
    assert again.status == "in-use"
    connection.disconnect()
    assert stored_again(library, volume).status == "available"


@pytest.mark.parametrize("status", ["creating", "deleting", "extending", "error_deleting"])
def test_a_status_of_an_operation_is_refused(fake: Backend, status: str) -> None:
    volume = made(fake, "Volume")
    volume._ovo.status = status
    with pytest.raises(InvalidRequest, match="status: only an operation sets"):
        volume.save()


def test_a_connected_volume_cannot_be_declared_available(fake: Backend) -> None:
    volume = made(fake, "Volume")
    volume.connect(CONNECTOR)
    volume._ovo.status = "available"
    with pytest.raises(InvalidRequest, match="status: the volume is connected; disconnect it first"):
        volume.save()


def test_an_interrupted_operation_is_not_hidden_by_a_status(fake: Backend, library: Library) -> None:
    volume = made(fake, "Volume")
    library.store.replace(replace(volume._record, status=records.Status.DELETING))
    again = stored_again(library, volume)
    again._ovo.status = "maintenance"
    with pytest.raises(InvalidRequest, match="cannot be set while the volume is deleting"):
        again.save()


def test_a_volume_that_exists_already_is_stored_without_creating_it(fake: Backend, library: Library) -> None:
    volume = cinderlib.Volume(fake, size=3, status="available", provider_location="elsewhere")
    volume.save()
    again = stored_again(library, volume)
    assert (again.status, again.size, again.provider_location) == ("available", 3, "elsewhere")
    again.connect(CONNECTOR)
    assert not fake.driver.volumes


# --- values


def test_specs_that_are_not_text_become_text_as_in_cinderlib(fake: Backend) -> None:
    volume = fake.create_volume(1, extra_specs={"a": 5, "b": True, "c": 1.5}, qos_specs={"d": 7}, metadata={"e": 3})
    kind = volume.volume_type
    assert (kind.extra_specs, kind.qos_specs.specs) == ({"a": "5", "b": "True", "c": "1.5"}, {"d": "7"})
    assert volume.metadata == {"e": "3"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"extra_specs": {"a": None}}, r"extra_specs\[a\]: must be text \(got None\)"),
        ({"qos_specs": {"a": [1]}}, "qos_specs: A string is required"),
        ({"metadata": {"a": {}}}, "metadata: A string is required"),
        ({"attach_status": "no"}, "attach_status: "),
        ({"launched_at": "yesterday"}, "launched_at: "),
        ({"host": ""}, "host: must be set"),
        ({"no_such_field": 1}, "no_such_field: unsupported field of a volume"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_name(fake: Backend, given: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        fake.create_volume(1, **given)


@pytest.mark.parametrize(("given", "name"), [({}, None), ({"name": ""}, ""), ({"name": "n"}, "n")])
def test_no_name_differs_from_an_empty_name(fake: Backend, library: Library, given: Any, name: str | None) -> None:
    volume = cinderlib.Volume(fake, **given)
    volume.create()
    assert (volume.name, stored_again(library, volume).name) == (name, name)


def test_both_sources_of_a_volume_are_kept(fake: Backend, library: Library) -> None:
    volume = cinderlib.Volume(fake, size=1, snapshot_id="s", source_volid="v", status="available")
    volume.save()
    again = stored_again(library, volume)
    assert (again.snapshot_id, again.source_volid) == ("s", "v")


def test_a_new_volume_takes_what_does_not_belong_to_the_object_on_the_storage(fake: Backend) -> None:
    given: dict[str, Any] = {
        "name": "n",
        "description": "d",
        "availability_zone": "z",
        "bootable": True,
        "encryption_key_id": "key",
        "glance_metadata": {"g": "h"},
        "metadata": {"m": "n"},
        "extra_specs": {"e": "f"},
        "qos_specs": {"q": "r"},
        "shared_targets": False,
        "user_id": "u",
        "project_id": "p",
    }
    source = fake.create_volume(3, **given)
    source._ovo.admin_metadata = {"lun": "7"}
    source._ovo._name_id = "other"
    source.save()
    copy = cinderlib.Volume(source)
    for name, value in given.items():
        if name.endswith("_specs"):
            continue
        assert getattr(copy, name) == value, name
    assert (copy.volume_type.extra_specs, copy.volume_type.qos_specs.specs) == ({"e": "f"}, {"q": "r"})
    assert (copy.size, copy.admin_metadata, copy._ovo._name_id, copy.provider_location) == (3, {}, None, None)
    assert copy.id != source.id


def test_a_snapshot_with_another_back_end_is_refused_as_in_cinderlib(fake: Backend, library: Library) -> None:
    other = library.backend("other", volume_driver=NOTHING)
    volume = made(fake, "Volume")
    assert cinderlib.Snapshot(volume, backend=fake).backend is fake
    with pytest.raises(ValueError, match="not <cinderlib"):
        cinderlib.Snapshot(volume, backend=other)


def test_a_refused_value_can_be_discarded(fake: Backend) -> None:
    volume = made(fake, "Volume")
    volume._ovo.group_id = "g"
    with pytest.raises(InvalidRequest):
        volume.extend(2)
    volume.refresh()
    assert volume.extend(2) == 2 * 1024**3


def test_saving_a_deleted_volume_is_refused(fake: Backend) -> None:
    volume = made(fake, "Volume")
    volume.delete()
    volume._ovo.deleted, volume._ovo.status = False, "available"
    with pytest.raises(exception.VolumeNotFound):
        volume.save()
