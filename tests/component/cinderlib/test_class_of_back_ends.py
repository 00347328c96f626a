"""What programs do with the class `Backend`: assign to its attributes, set up again, change the store, and derive from it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Library
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, storage

SETTABLE = {
    "fail_on_missing_backend": False,
    "output_all_backend_info": True,
    "project_id": "another",
    "user_id": "another",
    "non_uuid_ids": True,
}


@pytest.mark.parametrize("name", SETTABLE)
def test_an_assignment_on_the_class_changes_the_set_up(process_wide: Any, name: str) -> None:
    process_wide.setup()
    setattr(process_wide.Backend, name, SETTABLE[name])
    assert getattr(process_wide.Backend, name) == SETTABLE[name]
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    assert getattr(backend, name) == SETTABLE[name]
    process_wide.close()
    process_wide.setup()
    assert getattr(process_wide.Backend, name) != SETTABLE[name]


def test_an_assignment_has_the_effect_of_the_argument(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING, nothing_port=7)
    process_wide.Backend.output_all_backend_info = True
    assert backend.config == {"volume_backend_name": "fake", "volume_driver": NOTHING, "nothing_port": 7}
    process_wide.Backend.project_id = "p"
    assert backend.create_volume(1).project_id == "p"
    process_wide.Backend.fail_on_missing_backend = False
    assert process_wide.Backend.load_backend({"volume_backend_name": "missing"}) == "missing"


def test_an_attribute_can_be_replaced_for_a_while(process_wide: Any) -> None:
    process_wide.setup()
    with mock.patch.object(process_wide.Backend, "project_id", "patched"):
        assert process_wide.Backend.project_id == "patched"
    process_wide.Backend.anything = 1
    assert process_wide.Backend.anything == 1
    del process_wide.Backend.anything


def test_back_ends_can_be_forgotten(process_wide: Any) -> None:
    first = process_wide.Backend("fake", volume_driver=NOTHING)
    process_wide.Backend.backends = {}
    second = process_wide.Backend("fake", volume_driver=NOTHING, nothing_port=7)
    assert process_wide.Backend.backends == {"fake": second}
    volume = first.create_volume(1)
    assert [found.id for found in second.volumes] == [volume.id]
    process_wide.close()
    assert not first.core.ready


# --- setting up again


def test_the_library_can_be_set_up_again(process_wide: Any) -> None:
    """As cinderlib's functional tests do it."""
    process_wide.setup(persistence_config={"storage": "memory_db"}, debug=True)
    with pytest.raises(RuntimeError, match="Already setup"):
        process_wide.setup()
    process_wide.Backend.global_initialization = False
    assert process_wide.Backend.global_initialization is False
    process_wide.setup(persistence_config={"storage": "memory"}, debug=False, project_id="p")
    assert (process_wide.Backend.global_initialization, process_wide.Backend.project_id) == (True, "p")
    with pytest.raises(RuntimeError, match="Already setup"):
        process_wide.setup()


def test_back_ends_and_objects_outlive_another_set_up(process_wide: Any, tmp_path: Path) -> None:
    process_wide.setup()
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1)
    process_wide.Backend.global_initialization = False
    process_wide.setup(persistence_config=storage("db", tmp_path))
    assert process_wide.Backend.backends == {"fake": backend}
    assert process_wide.Backend("fake", volume_driver=NOTHING) is backend
    volume.extend(2)
    assert process_wide.Volume.get_by_id(volume.id).size == 2
    volume.delete()
    assert backend.volumes == []


def test_another_set_up_cannot_move_loaded_back_ends(process_wide: Any, tmp_path: Path) -> None:
    process_wide.setup(host="one")
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    process_wide.Backend.global_initialization = False
    with pytest.raises(
        RuntimeError, match=r"cannot change host, my_ip while back ends are loaded; call close\(\) first"
    ):
        process_wide.setup(host="two", my_ip="192.0.2.1", persistence_config=storage("db", tmp_path))
    assert not (tmp_path / "volumes.db").exists()
    assert backend.create_volume(1).host == "one@fake#one"


def test_a_failed_second_set_up_leaves_the_first(process_wide: Any) -> None:
    process_wide.setup()
    volume = process_wide.Backend("fake", volume_driver=NOTHING).create_volume(1)
    process_wide.Backend.global_initialization = False
    with pytest.raises(process_wide.exception.InvalidPersistence):
        process_wide.setup(persistence_config={"storage": "memry"})
    assert process_wide.Volume.get_by_id(volume.id) is volume


# --- the store


def test_objects_stay_in_use_after_a_change_of_the_store(library: Library, tmp_path: Path) -> None:
    backend = library.backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1, name="kept")
    snapshot, connection = volume.create_snapshot(), volume.connect(CONNECTOR)
    (tmp_path / "new").mkdir()
    library.set_persistence(storage("db", tmp_path / "new"))
    assert library.backends == {"fake": backend}
    assert backend.volumes_filtered() == []
    volume.extend(2)
    (found,) = backend.volumes_filtered()
    assert (found.name, found.size) == ("kept", 2)
    assert ([one.id for one in found.snapshots], [one.id for one in found.connections]) == (
        [snapshot.id],
        [connection.id],
    )
    snapshot.delete()
    connection.disconnect()
    volume.delete()
    assert backend.volumes_filtered() == []


def test_a_deleted_object_is_not_stored_in_another_store(library: Library) -> None:
    volume = library.backend("fake", volume_driver=NOTHING).create_volume(1)
    volume.delete()
    library.set_persistence({"storage": MemoryStore})
    with pytest.raises(Exception, match=volume.id):
        volume.extend(2)
    assert library.persistence.get_volumes() == []


@pytest.mark.parametrize(
    "config",
    [
        {"storage": "memry"},
        {"storage": "db"},
        {"storage": "db", "connection": "sqlite:////dev/null/volumes.db"},
        {"storage": "sql", "url": "sqlite:////x/y.db", "colour": "red"},
    ],
)
def test_a_wrong_store_leaves_the_one_in_use(library: Library, config: dict[str, str]) -> None:
    backend = library.backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1)
    with pytest.raises(Exception, match=r"persistence|url|colour|database|unable|cannot"):
        library.set_persistence(config)
    volume.extend(2)
    assert [found.id for found in backend.volumes_filtered()] == [volume.id]
    assert library.persistence.get_key_values() == []


def test_the_same_configuration_keeps_the_store(library: Library, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    config = storage("db", tmp_path / "again")
    library.set_persistence(config)
    volume = library.backend("fake", volume_driver=NOTHING).create_volume(1)
    library.set_persistence(dict(config))
    assert library.volume(volume.id).id == volume.id


def test_a_change_of_the_store_waits_for_operations(library: Library, tmp_path: Path) -> None:
    held = tmp_path / "held"
    backend = library.backend("fake", volume_driver=NOTHING, nothing_held=str(held))
    volume, store = backend.create_volume(1), MemoryStore()
    began = threading.Event()
    held.touch()

    def extend() -> None:
        began.set()
        volume.extend(2)

    extending = threading.Thread(target=extend)
    changing = threading.Thread(target=lambda: library.set_persistence({"storage": store}))
    before = library.store.current
    with library.busy("another"):  # an operation in this thread
        extending.start()
        began.wait(60)
        changing.start()
        assert library.store.current is before
        volume.snapshots  # noqa: B018  # reading goes on
    held.unlink()
    extending.join(60)
    changing.join(60)
    assert library.store.current is store
    assert volume.size == 2


def test_the_persistence_of_the_class_can_be_replaced(process_wide: Any) -> None:
    process_wide.setup()
    held, store = process_wide.Backend.persistence, MemoryStore()
    process_wide.Backend.persistence = held
    process_wide.Backend.persistence = store
    process_wide.Backend("fake", volume_driver=NOTHING).create_volume(1)
    assert len(held.get_volumes()) == 1, "the object that a program holds follows"
    other = Library(persistence_config={"storage": store}, fail_on_missing_backend=False)
    assert len(other.persistence.get_volumes()) == 1
    other.close()


# --- derived classes


def test_a_derived_class_is_used(process_wide: Any) -> None:
    class Mine(process_wide.Backend):  # type: ignore[misc]  # of a fixture
        def __init__(self, volume_backend_name: str, **driver_cfg: Any) -> None:
            super().__init__(volume_backend_name, nothing_port=9, **driver_cfg)
            self.seen: list[int] = []

        def create_volume(self, size: int, *arguments: Any, **named: Any) -> Any:
            self.seen.append(size)
            return super().create_volume(size, *arguments, **named)

    backend = Mine("mine", volume_driver=NOTHING)
    backend.create_volume(3)
    assert (type(backend), backend.seen, backend.configuration.nothing_port) == (Mine, [3], 9)
    assert isinstance(backend, process_wide.Backend)
    assert Mine("mine", volume_driver=NOTHING) is backend
    assert process_wide.Backend("mine", volume_driver=NOTHING) is backend
    assert process_wide.Backend.backends == {"mine": backend}
    with pytest.raises(ValueError, match="already exists with a different configuration"):
        Mine("mine", volume_driver=NOTHING, nothing_mode="slow")


def test_a_failed_derived_class_leaves_no_back_end(process_wide: Any) -> None:
    class Failing(process_wide.Backend):  # type: ignore[misc]  # of a fixture
        def __init__(self, volume_backend_name: str, **driver_cfg: Any) -> None:
            super().__init__(volume_backend_name, **driver_cfg)
            raise LookupError

    with pytest.raises(LookupError):
        Failing("mine", volume_driver=NOTHING)
    assert process_wide.Backend.backends == {}
    assert process_wide.Backend("mine", volume_driver=NOTHING).id == "mine"


def test_json_loads_back_ends_of_the_class(process_wide: Any) -> None:
    class Mine(process_wide.Backend):  # type: ignore[misc]  # of a fixture
        pass

    process_wide.setup(output_all_backend_info=True)
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    backend.create_volume(1)
    text, volume_text = backend.jsons, backend.volumes[0].jsons
    process_wide.close()
    loaded = Mine.load(text, save=True)
    assert (type(loaded), len(loaded.volumes)) == (Mine, 1)
    process_wide.close()
    Mine.global_setup(fail_on_missing_backend=False)
    assert type(process_wide.load(volume_text).backend) is Mine
    assert process_wide.Volume.backend_class is process_wide.Backend


def test_the_set_up_is_a_method_of_the_class(process_wide: Any) -> None:
    assert process_wide.setup == process_wide.Backend.global_setup


# --- references in options


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$my_ip:1", "192.0.2.9:1"),
        ("${nothing_mode}!", "slow!"),
        ("$nothing_mode", "slow"),
        ("${backend_defaults.reserved_percentage} %", "0 %"),
        ("$volume_name_template", "volume-%s"),
        ("$nothing_like_it ${neither} $no.group $backend_defaults.nothing", "$nothing_like_it ${neither} $no.group $backend_defaults.nothing"),
        ("a$b$$c 5$ $7 $", "a$b$$c 5$ $7 $"),
        (r"\$my_ip", r"\192.0.2.9"),
    ],
)  # fmt: skip
def test_an_option_refers_to_options_and_other_dollars_are_literal(value: str, expected: str) -> None:
    library = Library(my_ip="192.0.2.9")
    try:
        backend = library.backend("fake", volume_driver=NOTHING, nothing_mode="slow", nothing_error=value)
        assert backend.configuration.nothing_error == expected
    finally:
        library.close()


def test_an_option_refers_to_the_state_directory(library: Library) -> None:
    backend = library.backend("fake", volume_driver=NOTHING, nothing_error="$state_path/x")
    assert backend.configuration.nothing_error == f"{library.runtime.state_dir}/cinder/x"


def test_a_password_is_literal_whatever_it_contains(library: Library) -> None:
    backend = library.backend(
        "fake", volume_driver=NOTHING, nothing_password="$my_ip${nothing_mode}$$", nothing_mode="slow"
    )
    assert backend.configuration.nothing_password == "$my_ip${nothing_mode}$$"


def test_lists_and_options_of_the_set_up_refer_to_options_too() -> None:
    library = Library(
        my_ip="192.0.2.9", san_ip="unused", target_ip_address="unused", glance_api_servers="http://$my_ip:1"
    )
    try:
        backend = library.backend("fake", volume_driver=NOTHING, target_secondary_ip_addresses=["$my_ip", "$x"])
        assert backend.configuration.safe_get("target_secondary_ip_addresses") == ["192.0.2.9", "$x"]
    finally:
        library.close()


# --- directories


def test_missing_directories_are_created(tmp_path: Path) -> None:
    locks, directory = tmp_path / "no" / "locks", tmp_path / "no" / "state"
    library = Library(file_locks_path=str(locks), state_dir=directory)
    library.close()
    assert locks.is_dir()
    assert directory.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(
        errors.ConfigurationError, match=r"file_locks_path: cannot create .*/file/locks: Not a directory"
    ):
        Library(file_locks_path=str(tmp_path / "file" / "locks"))


def test_the_directory_of_an_sqlite_file_is_created(tmp_path: Path) -> None:
    """As the tutorial's first snippet needs it."""
    for number, name in enumerate(("connection", "url")):
        place = tmp_path / str(number) / "volumes.db"
        config = {"storage": "db" if name == "connection" else "sql", name: f"sqlite:///{place}"}
        Library(persistence_config=config).close()
        assert place.exists()
        assert place.parent.stat().st_mode & 0o777 == 0o700


def test_more_than_one_directory_of_an_sqlite_file_is_not_created(tmp_path: Path) -> None:
    """It would hide a wrong path."""
    with pytest.raises(errors.ConfigurationError, match=r"cannot open .*/wrong/path/volumes\.db.*No such file"):
        Library(persistence_config={"storage": "db", "connection": f"sqlite:///{tmp_path}/wrong/path/volumes.db"})
    assert not (tmp_path / "wrong").exists()
