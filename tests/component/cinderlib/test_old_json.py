"""JSON of every version of cinderlib loads with all values (see json/README.md); wrong JSON is refused with the path of the value."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Backend, Library, exception
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import records, times
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, storage

FILES = sorted((Path(__file__).parent / "json").glob("*.json"))
WHOLE = "11111111-1111-4111-8111-111111111111"
CONNECTOR_THERE = {"host": "box", "ip": "192.0.2.1", "initiator": "iqn.2010-10.test:box", "multipath": False}
_OWN_CLASSES = frozenset({"volume_type", "volume", "snapshots", "volume_attachment"})


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(persistence_config=storage("db", tmp_path))
    yield made
    made.close()


@pytest.fixture
def lvm(library: Library) -> Backend:
    return library.backend("lvm", volume_driver=NOTHING)


@pytest.fixture(params=FILES, ids=[path.stem for path in FILES])
def recorded(request: pytest.FixtureRequest) -> Any:
    return json.loads(request.param.read_text())


def data_of(source: Any) -> Any:
    return source["ovo"]["versioned_object.data"]


def comparable(name: str, value: Any) -> Any:
    """Versions before 1.0 have no microseconds."""
    if name.endswith("_at") and value:
        return times.parse(value)
    return value


def assert_equal(loaded: Any, expected: Any) -> None:
    """All values of the JSON, except related objects."""
    now = data_of(loaded.json)
    for name in expected.keys() - _OWN_CLASSES:
        assert comparable(name, now[name]) == comparable(name, expected[name]), name


def test_the_recorded_versions_are_complete() -> None:
    versions = {path.stem.removeprefix("cinderlib-").partition(".")[0] for path in FILES}
    assert versions == {"0", "1", "2", "3", "4", "5"}


@pytest.mark.parametrize("name", ["whole", "clone", "copy", "failed"])
def test_a_volume_is_loaded_and_stored_with_all_values(
    library: Library, lvm: Backend, recorded: Any, name: str
) -> None:
    loaded = library.load(recorded[name], save=True)
    stored = library.volume(loaded.id)
    for volume in (loaded, stored):
        assert_equal(volume, data_of(recorded[name]))
    assert stored._record.status is records.Status.AVAILABLE
    kind = data_of(recorded[name])["volume_type"]
    if kind:
        specs = kind["versioned_object.data"]
        assert stored.volume_type.extra_specs == specs["extra_specs"]
        assert stored.volume_type.qos_specs.specs == specs["qos_specs"]["versioned_object.data"]["specs"]


def test_snapshots_and_connections_are_loaded_and_stored(library: Library, lvm: Backend, recorded: Any) -> None:
    library.load(recorded["whole"], save=True)
    stored = library.volume(WHOLE)
    (snapshot,), (connection,) = stored.snapshots, stored.connections
    assert_equal(snapshot, data_of(recorded["snapshot"]))
    assert (connection.connector_info, connection.path) == (CONNECTOR_THERE, "/dev/sdx")
    assert connection.conn_info["data"]["auth_password"] == "p"
    assert stored.status == "in-use"


@pytest.mark.parametrize("name", ["snapshot", "connection"])
def test_a_part_is_loaded_with_its_volume(library: Library, lvm: Backend, recorded: Any, name: str) -> None:
    loaded = library.load(recorded[name])
    assert loaded.volume.id == WHOLE
    if name == "snapshot":
        assert_equal(loaded, data_of(recorded[name]))


def test_a_back_end_is_loaded_with_its_volumes(library: Library, lvm: Backend, recorded: Any) -> None:
    library.load(json.dumps([recorded["backend"]]), save=True)
    ids = {data_of(item)["id"] for item in recorded["backend"].get("volumes", [])}
    assert {volume.id for volume in library.persistence.get_volumes()} == ids


def test_a_volume_of_cinderlib_can_be_worked_with(library: Library, lvm: Backend, recorded: Any) -> None:
    volume = library.load(recorded["clone"])
    lvm.driver.volumes[volume.id] = volume.size
    assert volume.extend(5) == 5 * 1024**3
    volume.connect(CONNECTOR).disconnect()
    assert volume.status == "available"
    volume.delete()
    assert library.persistence.get_volumes() == []


def test_a_deleted_volume_stays_deleted(library: Library, lvm: Backend, recorded: Any) -> None:
    loaded = library.load(recorded["deleted"], save=True)
    assert (loaded.status, loaded.deleted) == ("deleted", True)
    assert loaded.deleted_at == times.parse(data_of(recorded["deleted"])["deleted_at"])
    assert library.persistence.get_volumes() == []
    for call in (loaded.save, lambda: loaded.extend(9), lambda: loaded.connect(CONNECTOR), loaded.create_snapshot):
        with pytest.raises(exception.VolumeNotFound):
            call()
    loaded.delete()
    assert (loaded.status, library.persistence.get_volumes()) == ("deleted", [])


# --- our own


def test_a_volume_that_was_deleted_here_is_dumped_as_deleted(lvm: Backend, library: Library) -> None:
    volume = lvm.create_volume(1)
    snapshot = volume.create_snapshot()
    snapshot.delete()
    volume.delete()
    for handle in (volume, snapshot):
        loaded = library.load(handle.dumps, save=True)
        assert (loaded.status, loaded.deleted, loaded.deleted_at) == ("deleted", True, handle.deleted_at)
    assert (library.persistence.get_volumes(), library.persistence.get_snapshots()) == ([], [])


def test_json_of_a_soft_deleted_volume_is_that_of_a_live_one(lvm: Backend, library: Library) -> None:
    """Ember-CSI sets this status for a volume that has snapshots."""
    volume = lvm.create_volume(1)
    volume._ovo.status = "deleted"
    volume.save()
    loaded = library.load(volume.dumps)
    assert (loaded.status, loaded.deleted) == ("deleted", False)
    loaded.delete()
    assert library.persistence.get_volumes() == []


def test_json_does_not_replace_a_newer_volume_of_the_same_id(lvm: Backend, library: Library) -> None:
    volume = lvm.create_volume(1, name="old")
    text = volume.dumps
    volume.delete()
    newer = lvm.create_volume(7, id=volume.id, name="new")
    calls: list[Callable[[], Any]] = [
        lambda: library.load(text, save=True),
        lambda: library.load(text).delete(),
        lambda: library.load(text).extend(8),
        lambda: library.load(text).save(),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest, match="created_at: differs"):
            call()
    assert library.volume(newer.id).name == "new"


# --- wrong JSON


def wrong(change: Any) -> Any:
    source = copy.deepcopy(json.loads(FILES[-1].read_text())["whole"])
    change(source)
    return source


CASES: list[tuple[str, Any]] = [
    ("class", lambda it: it.pop("class")),
    ("class", lambda it: it.update({"class": "Object"})),
    ("backend", lambda it: it.pop("backend")),
    ("backend.volume_backend_name", lambda it: it.update(backend={})),
    ("ovo.versioned_object.data", lambda it: it.pop("ovo")),
    ("ovo.versioned_object.data.id", lambda it: data_of(it).pop("id")),
    ("ovo.versioned_object.data.size", lambda it: data_of(it).update(size="two")),
    ("ovo.versioned_object.data.created_at", lambda it: data_of(it).update(created_at="yesterday")),
    ("ovo.versioned_object.data.metadata", lambda it: data_of(it).update(metadata=[1])),
    ("ovo.versioned_object.data.group_id", lambda it: data_of(it).update(group_id="g")),
    (
        "ovo.versioned_object.data.volume_type.extra_specs[e]",
        lambda it: data_of(it)["volume_type"]["versioned_object.data"].update(extra_specs={"e": None}),
    ),
    (
        "ovo.versioned_object.data.snapshots.versioned_object.data.objects[0].versioned_object.data.volume_size",
        lambda it: data_of(it)["snapshots"]["versioned_object.data"]["objects"][0]["versioned_object.data"].update(
            volume_size=None
        ),
    ),
    (
        "ovo.versioned_object.data.volume_attachment.versioned_object.data.objects[0].versioned_object.data."
        "connection_info.connector",
        lambda it: data_of(it)["volume_attachment"]["versioned_object.data"]["objects"][0][
            "versioned_object.data"
        ].update(connection_info={"connector": "box"}),
    ),
    ("ovo.versioned_object.data.snapshots.versioned_object.data", lambda it: data_of(it).update(snapshots={"x": 1})),
]


@pytest.mark.parametrize(("path", "change"), CASES, ids=[f"{n}-{path[-20:]}" for n, (path, _) in enumerate(CASES)])
def test_a_wrong_value_is_named_by_its_path(library: Library, lvm: Backend, path: str, change: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        library.load(wrong(change), save=True)
    assert refused.value.field == path
    assert library.persistence.get_volumes() == []


def test_nothing_of_a_list_is_stored_if_one_element_is_wrong(library: Library, lvm: Backend) -> None:
    good = json.loads(FILES[-1].read_text())
    bad = wrong(lambda it: data_of(it).update(size=0))
    with pytest.raises(InvalidRequest) as refused:
        library.load([good["clone"], good["backend"], bad], save=True)
    assert refused.value.field == "[2].ovo.versioned_object.data.size"
    assert library.persistence.get_volumes() == []


@pytest.mark.parametrize("text", ["", "{", "[1", "[" * 100_000])
def test_text_that_is_not_json_is_refused(library: Library, text: str) -> None:
    with pytest.raises(InvalidRequest, match="json_src: not valid JSON"):
        library.load(text)


def test_volumes_of_a_back_end_that_is_not_loaded_are_stored(tmp_path: Path) -> None:
    library = Library(persistence_config=storage("db", tmp_path), fail_on_missing_backend=False)
    try:
        recorded = json.loads(FILES[-1].read_text())["backend"]
        assert library.load(recorded, save=True) == "lvm"
        assert {volume.backend for volume in library.persistence.get_volumes()} == {"lvm"}
    finally:
        library.close()


def test_a_field_that_cinder_does_not_know_is_kept(library: Library, lvm: Backend) -> None:
    volume = library.load(wrong(lambda it: data_of(it).update(of_the_future={"a": 1})), save=True)
    assert library.store.get(records.Volume, volume.id).fields["of_the_future"] == {"a": 1}
