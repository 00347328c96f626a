"""`list_supported_drivers`, in both of its forms."""

from __future__ import annotations

import sys

import pytest

from csi_cinderlib.cinderlib import list_supported_drivers


def drivers_loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("cinder.volume.drivers.")}


def test_for_programs_options_keep_their_types() -> None:
    before = drivers_loaded()
    found = list_supported_drivers(2)
    assert drivers_loaded() == before, "more than a hundred modules that this process has no use for"
    rbd = found["RBDDriver"]
    assert rbd["class_fqn"] == "cinder.volume.drivers.rbd.RBDDriver"
    assert set(rbd) >= {"class_name", "desc", "version", "ci_wiki_name", "supported", "driver_options"}
    options = {one["dest"]: one for one in rbd["driver_options"]}
    assert options["rbd_max_clone_depth"]["default"] == 5
    assert options["rbd_flatten_volume_from_snapshot"]["default"] is False
    assert options["rbd_keyring_conf"]["default"] == ""
    assert type(options["rbd_max_clone_depth"]["type"]["type_class"]).__name__ == "Integer"
    assert {"LVMVolumeDriver", "LoopFileDriver", "FibreChannelVolumeDriver"} <= set(found)
    assert len(found) >= 99  # two of Cinder's 101 share their names with two others


def test_for_people_all_values_are_text() -> None:
    options = list_supported_drivers()["LVMVolumeDriver"]["driver_options"]
    assert all(isinstance(value, str) for one in options for value in one.values())
    with pytest.raises(ValueError, match="1 and 2"):
        list_supported_drivers(3)


def test_warnings_of_the_drivers_libraries_are_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    list_supported_drivers()
    assert capfd.readouterr().err == ""
