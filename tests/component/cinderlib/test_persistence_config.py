"""What `persistence_config` accepts, and the errors for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Library, exception, persistence
from csi_cinderlib.cinderlib.persistence import dbms, memory, opening
from tests.component.cinderlib.conftest import NOTHING
from tests.support.fakes.cinderlib_plugins import Remembering


class WithArguments(memory.MemoryPersistence):
    def __init__(self, location: str, user: str = "") -> None:
        self.location, self.user = location, user
        super().__init__()


class OtherDatabase(dbms.DBPersistence):
    def get_volumes(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_volumes(*args, **kwargs)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("memory", r"persistence_config: must be a dictionary, for example \{.storage.: .memory.\} \(got str\)"),
        ([], r"persistence_config: must be a dictionary"),
        ({"storage": "memory", "x": 1}, r"persistence_config\.x: unknown option"),
        ({"storage": "memory_db", "connection": "x"}, r"persistence_config\.connection: unknown option"),
        ({"storage": "db", "connection": "nonsense"}, r"persistence_config\.connection: must be a database URL"),
        ({"storage": "db", "connection": "oracle://x"}, r"persistence_config\.connection: unsupported dialect"),
        (
            {"storage": "db", "connection": "sqlite:////tmp/x", "pool_size": "y"},
            r"persistence_config\.pool_size: must be",
        ),
        ({"storage": "sql", "url": "nonsense"}, r"persistence_config\.url: must be a database URL"),
        ({"storage": WithArguments}, r"persistence_config\.location: is missing for WithArguments"),
        (
            {"storage": WithArguments, "location": "x", "colour": 1},
            r"persistence_config\.colour: is not an argument of",
        ),
        ({"storage": WithArguments("x"), "user": "y"}, r"persistence_config\.user: is not allowed with an instance"),
        ({"storage": dbms.DBPersistence}, r"persistence_config\.connection: is missing for DBPersistence"),
        (
            {"storage": OtherDatabase, "connection": "sqlite://"},
            r"storage: OtherDatabase\.get_volumes would not be called",
        ),
        ({"storage": Remembering, "sealing_keys": []}, r"persistence_config\.sealing_keys: is not an argument"),
    ],
)
def test_a_wrong_configuration_names_its_key(config: Any, problem: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=problem):
        Library(persistence_config=config)


@pytest.mark.parametrize("storage", ["nothing-like-it", 7, dict, Path("x")])
def test_what_is_no_storage_is_refused_with_the_choices(storage: Any) -> None:
    with pytest.raises(
        exception.InvalidPersistence, match=r"persistence_config\.storage must be one of db, .*memory_db"
    ):
        Library(persistence_config={"storage": storage})


def test_the_persistence_of_a_set_up_is_no_storage(process_wide: Any) -> None:
    process_wide.setup()
    with pytest.raises(exception.InvalidPersistence):
        Library(persistence_config={"storage": process_wide.Backend.persistence})


@pytest.mark.parametrize(
    ("config", "store"),
    [
        ({"storage": dbms.MemoryDBPersistence}, "MemoryStore"),
        ({"storage": dbms.MemoryDBPersistence()}, "MemoryStore"),
        ({"storage": dbms.DBPersistence, "connection": "sqlite:///FILE", "soft_deletes": True}, "SqlStore"),
        ({"storage": memory.MemoryPersistence}, "PluginStore"),
        ({"storage": WithArguments, "location": "x"}, "PluginStore"),
    ],
)
def test_the_classes_of_cinderlibs_plugins_are_storages(config: dict[str, Any], store: str, tmp_path: Path) -> None:
    given = {
        key: value.replace("FILE", str(tmp_path / "v.db")) if key == "connection" else value
        for key, value in config.items()
    }
    library = Library(persistence_config=given)
    assert type(library.store.current).__name__ == store
    library.close()


def test_setup_of_the_module_returns_the_plugin() -> None:
    assert isinstance(persistence.setup(None), memory.MemoryPersistence)
    assert isinstance(persistence.setup({"storage": "memory_db"}), dbms.MemoryDBPersistence)
    opened = persistence.setup({"storage": WithArguments, "location": "there"})
    assert isinstance(opened, WithArguments)
    assert opened.location == "there"
    assert persistence.setup({"storage": opened}) is opened
    with pytest.raises(exception.InvalidPersistence):
        persistence.setup({"storage": "sql"})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with entry points of cinderlib's group."""
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    where = "tests.support.fakes.cinderlib_plugins"
    lines = [f"files = {where}:JsonFiles", "broken = cinderlib_plugin_that_is_not_installed:Plugin"]
    (info / "entry_points.txt").write_text("\n".join([f"[{opening.GROUP}]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_a_plugin_is_found_by_the_name_of_its_entry_point(tmp_path: Path) -> None:
    library = Library(persistence_config={"storage": "files", "directory": str(tmp_path / "files")})
    library.backend("here", volume_driver=NOTHING).create_volume(1)
    assert len(list((tmp_path / "files" / "volumes").iterdir())) == 1
    library.close()
    with pytest.raises(errors.ConfigurationError, match=r"persistence_config\.directory: is missing for JsonFiles"):
        Library(persistence_config={"storage": "files"})
    with pytest.raises(
        errors.ConfigurationError, match=r"cannot load the plugin 'broken' .* call install_as_cinderlib"
    ):
        Library(persistence_config={"storage": "broken"})
    with pytest.raises(exception.InvalidPersistence, match="files"):
        Library(persistence_config={"storage": "absent"})
