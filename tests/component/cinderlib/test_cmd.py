"""The converters of a cinder.conf in `cinderlib.cmd`, and `cinderlib.utils`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from csi_cinderlib.cinderlib import utils
from csi_cinderlib.cinderlib.cmd import cinder_cfg_to_python, cinder_to_yaml
from csi_cinderlib.errors import ConfigurationError
from tests.component.cinderlib.conftest import NOTHING

TEXT = f"""\
[DEFAULT]
enabled_backends = lvm-1, ceph 2, 3
my_ip = 192.0.2.7
[lvm-1]
volume_backend_name = lvm one
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_group = vg"1
target_ip_address = $my_ip
target_secondary_ip_addresses = a, b
target_port = 3261
use_multipath_for_image_xfer = true
no_such_option = 1
replication_device = backend_id:x,y:z
[ceph 2]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
rbd_pool = volumes
volume_backend_name = ceph
[3]
volume_driver = {NOTHING}
nothing_password = a'b%c
[another]
volume_driver = not.enabled
"""
LVM = {
    "volume_backend_name": "lvm one",
    "volume_driver": "cinder.volume.drivers.lvm.LVMVolumeDriver",
    "volume_group": 'vg"1',
    "target_ip_address": "192.0.2.7",
    "target_secondary_ip_addresses": ["a", "b"],
    "target_port": 3261,
    "use_multipath_for_image_xfer": True,
    "replication_device": [{"backend_id": "x", "y": "z"}],
}
"""As cinderlib 5.2.0 converts it."""
CEPH = {
    "volume_backend_name": "ceph",
    "volume_driver": "cinder.volume.drivers.rbd.RBDDriver",
    "rbd_pool": "volumes",
}
OWN = {"volume_backend_name": "3", "volume_driver": NOTHING, "nothing_password": "a'b%c"}


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "cinder.conf").write_text(TEXT)
    return str(tmp_path / "cinder.conf")


def test_back_ends_are_converted_to_arguments_and_yaml(source: str, tmp_path: Path) -> None:
    target = tmp_path / "backends.yaml"
    result = cinder_to_yaml.convert(source, str(target))
    assert result == {"backends": [LVM, CEPH, OWN]}
    assert yaml.safe_load(target.read_text()) == result
    assert target.stat().st_mode & 0o777 == 0o600, "it contains passwords"


def test_the_arguments_set_up_a_back_end(process_wide: Any, source: str) -> None:
    backend = process_wide.Backend(**cinder_to_yaml.convert(source)["backends"][2])
    assert (backend.id, backend.configuration.nothing_password) == ("3", "a'b%c")


def test_back_ends_are_converted_to_python(source: str, tmp_path: Path) -> None:
    target = tmp_path / "backends.py"
    cinder_cfg_to_python.convert(source, str(target))
    assert calls(target.read_text()) == {"lvm_one": LVM, "ceph": CEPH, "_3": OWN}


def calls(code: str) -> dict[str, dict[str, Any]]:
    """The arguments of each call of `cl.Backend`, by the variable that gets its result."""
    found = {}
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            assert ast.unparse(statement.value.func) == "cl.Backend"
            arguments = {str(word.arg): ast.literal_eval(word.value) for word in statement.value.keywords}
            found[ast.unparse(statement.targets[0])] = arguments
    return found


def test_the_program_writes_to_standard_output(source: str) -> None:
    program = [sys.executable, "-W", "ignore", "-m", "csi_cinderlib.cinderlib.cmd.cinder_cfg_to_python", source]
    done = subprocess.run(
        program, capture_output=True, text=True, check=True, timeout=240, cwd=Path(__file__).parents[3]
    )
    assert done.stdout.startswith("import csi_cinderlib.cinderlib as cl\n\nlvm_one = cl.Backend(")
    assert calls(done.stdout)["ceph"] == CEPH


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[DEFAULT]\n", "enabled_backends: must name at least one back end"),
        ("[DEFAULT]\nenabled_backends = a\n", "enabled_backends: names 'a', which has no section"),
        ("[DEFAULT]\nenabled_backends = a\n[a]\n", r"\[a\] volume_driver: is missing"),
        ("[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = cinder.volume.drivers.no.No\n", "there is no driver"),
        (
            f"[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = {NOTHING}\nnothing_port = x\n",
            "nothing_port: invalid value",
        ),
        ("no section\n", "is not a cinder.conf"),
    ],
)
def test_a_problem_is_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "cinder.conf").write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        cinder_to_yaml.convert(str(tmp_path / "cinder.conf"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Cinder config file .*/none\.conf doesn't exist"):
        cinder_to_yaml.convert(str(tmp_path / "none.conf"))


def test_objects_are_found_and_added_by_id() -> None:
    first, second, again = (SimpleNamespace(id=id) for id in ("a", "b", "b"))
    assert utils.find_by_id("b", [first, second]) == (1, second)
    assert utils.find_by_id("c", [first]) == utils.find_by_id("c", None) == (None, None)
    known = [first]
    utils.add_by_id(second, known)
    utils.add_by_id(again, known)
    utils.add_by_id(first, None)
    assert known == [first, again]
    assert known[1] is again


def test_the_import_provides_the_configuration_of_logging() -> None:
    """oVirt's client calls `logging.config.fileConfig` and imports `logging` only."""
    code = "import logging, csi_cinderlib.cinderlib; logging.config.fileConfig"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240, cwd=Path(__file__).parents[3])
