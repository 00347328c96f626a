"""What is read again while a process runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.config import live
from csi_cinderlib.config.settings import BackendSettings, SealingKey, Settings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.sealing import Sealer, generate_key

DRIVER = "tests.support.fakes.nothing.NothingDriver"


def settings(tmp_path: Path, **more: object) -> Settings:
    return Settings(state_dir=tmp_path, backends_directory=str(tmp_path / "d"), **more)  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


def test_back_ends_of_all_files_join_those_of_the_settings(tmp_path: Path, directory: Path) -> None:
    (directory / "b.yaml").write_text(f"two: {{driver: {DRIVER}}}\nthree: {{driver: {DRIVER}, options: {{a: 1}}}}\n")
    (directory / "a.yaml").write_text(f"one: {{driver: {DRIVER}}}\n")
    (directory / "README").write_text("not a back end")
    own = BackendSettings(name="own", driver=DRIVER)
    found = live.backends(settings(tmp_path, backends=(own,)))
    assert [back_end.name for back_end in found.backends] == ["own", "one", "two", "three"]
    assert found.backends[3].options == {"a": "1"}
    assert found.broken == ()


def test_a_broken_file_is_named_and_hides_no_other(tmp_path: Path, directory: Path) -> None:
    (directory / "a.yaml").write_text("one: {driver: x.Y, optoins: {}}\n")
    (directory / "b.yaml").write_text(f"two: {{driver: {DRIVER}}}\n")
    (directory / "c.yaml").write_text("three: [\n")
    found = live.backends(settings(tmp_path))
    assert [back_end.name for back_end in found.backends] == ["two"]
    first, second = map(str, found.broken)
    assert "a.yaml" in first
    assert "optoins" in first
    assert "options" in first
    assert "c.yaml" in second


def test_a_name_that_is_used_twice_is_refused_and_the_first_one_goes_on(tmp_path: Path, directory: Path) -> None:
    (directory / "a.yaml").write_text(f"one: {{driver: {DRIVER}, options: {{size: 1}}}}\n")
    (directory / "b.yaml").write_text(f"one: {{driver: {DRIVER}, options: {{size: 2}}}}\n")
    found = live.backends(settings(tmp_path))
    assert [back_end.options for back_end in found.backends] == [{"size": "1"}]
    assert "already configured in another file" in str(found.broken[0])


def test_keys_of_the_file_write_and_those_of_the_settings_still_read(tmp_path: Path) -> None:
    old = SealingKey(id="old", key=generate_key())
    sealed = Sealer([old]).seal(b"secret")
    (tmp_path / "keys.yaml").write_text(f"- {{id: new, key: {generate_key()}}}\n")
    keys = live.sealing_keys(settings(tmp_path, sealing_keys=(old,), sealing_keys_file=str(tmp_path / "keys.yaml")))
    assert [key.id for key in keys] == ["new", "old"]
    sealer = Sealer(keys)
    assert sealer.open(sealed) == b"secret"
    assert sealer.seal(b"x").startswith("k:new:")


@pytest.mark.parametrize("text", ["", "[]", "- {id: a}", "a: b", "- {id: , key: x}"])
def test_a_file_without_a_usable_key_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="sealing_keys_file"):
        live.sealing_keys(settings(tmp_path, sealing_keys_file=str(tmp_path / "keys.yaml")))


def test_a_sealer_that_is_given_a_bad_key_goes_on_with_the_old_ones() -> None:
    sealer = Sealer([SealingKey(id="a", key=generate_key())])
    sealed = sealer.seal(b"secret")
    with pytest.raises(ConfigurationError):
        sealer.rotate([SealingKey(id="b", key="short")])
    assert sealer.open(sealed) == b"secret"
    sealer.rotate([SealingKey(id="b", key=generate_key())])
    assert sealer.seal(b"x").startswith("k:b:")


def test_topology_keys_of_the_directory_get_the_drivers_prefix_as_well(tmp_path: Path, directory: Path) -> None:
    (directory / "a.yaml").write_text(f"one: {{driver: {DRIVER}, topology: {{rack: r1, example.org/zone: z1}}}}\n")
    (found,) = live.backends(settings(tmp_path, driver_name="csi.example.org")).backends
    assert found.topology == {"topology.csi.example.org/rack": "r1", "example.org/zone": "z1"}
