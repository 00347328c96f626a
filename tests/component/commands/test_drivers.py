"""`csi-cinderlib drivers`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from csi_cinderlib import cli
from csi_cinderlib.backend import catalogue, search
from csi_cinderlib.commands import drivers


def test_all_drivers_are_listed_without_loading_cinder() -> None:
    code = "import sys; from csi_cinderlib import cli; cli.main(['drivers']); assert 'cinder' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 104
    assert lines[0].split() == ["DRIVER", "PROTOCOLS", "SUPPORTED", "MISSING", "HERE"]


def test_one_driver_is_described_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["drivers", "pureiscsidriver"]) == 0
    told = capsys.readouterr().out
    assert "cinder.volume.drivers.pure.PureISCSIDriver" in told
    assert "needs the Python library 'pypureclient': pip install py-pure-client" in told
    assert "pure_api_token  (text, secret)" in told
    assert "file: /run/secrets/pure_api_token" in told


def test_one_driver_is_described_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["drivers", "rbd.RBDDriver", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    options = {option["name"]: option for option in told["options"]}
    assert options["rbd_max_clone_depth"]["default"] == 5
    assert options["rbd_store_chunk_size"]["type"] == "whole number"
    assert {library["module"] for library in told["libraries"]} == {"rados", "rbd"}
    assert told["example"]["rbd_pool"] == "volumes"


def test_an_unknown_driver_is_an_error_with_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["drivers", "LVMDriver"]) == 2
    assert "'LVMVolumeDriver'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("pure", "PureFCDriver PureISCSIDriver PureNVMEDriver"),
        ("PURE iScsi", "PureISCSIDriver"),
        ("fc pure", "PureFCDriver"),
        ("flasharray nvme", "PureNVMEDriver"),
        ("rbd", "RBDISCSIDriver RBDDriver"),
        ("ceph", "RBDISCSIDriver RBDDriver"),
        ("--protocol fc vmware", ""),
        ("--protocol fibre_channel powermax", "PowerMaxFCDriver"),
        ("--protocol FC netapp", "NetAppDriver NetAppCmodeFibreChannelDriver"),
        ("vmware", "VMwareVStorageObjectDriver VMwareVcVmdkDriver"),
        ("--missing storpool", "StorPoolDriver"),
        ("--missing lvm", ""),
    ],
)
def test_drivers_are_found_by_words_of_vendor_product_and_protocol(
    words: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(["drivers", *words.split(), "-o", "name"])
    assert [path.rpartition(".")[2] for path in capsys.readouterr().out.split()] == names.split()
    assert code == (2 if words == "--protocol fc vmware" else 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("puer", "no driver matches 'puer'; did you mean 'pure'"),
        ("qwxz", "no driver matches 'qwxz'; see `csi-cinderlib drivers`"),
        ("dell zfs", "no driver matches 'zfs' and the other words"),
        ("--protocol iscs", "unknown protocol 'iscs'; did you mean 'iscsi'"),
    ],
)
def test_words_that_no_driver_matches_are_bad_input(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["drivers", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_one_match_of_a_search_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["drivers", "dell", "powermax", "iscsi"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("cinder.volume.drivers.dell_emc.powermax.iscsi.PowerMaxISCSIDriver\n")
    assert 'powermax_array: "000123456789"' in told, "a reader of YAML takes it for a number"


def test_every_drivers_protocols_are_known() -> None:
    unknown = {driver.path for driver in catalogue.load().drivers if not search.protocols(driver)}
    assert unknown == set()


@pytest.mark.parametrize("text", ["012345", "1e3", "12:30:45", "5.50", "0x1F", "-1", "1_000", ".5", "yes", "null", "~"])
def test_example_values_stay_text_in_every_reader_of_yaml(text: str) -> None:
    driver = catalogue.Driver(path="csi_cinderlib.drivers.loopfile.LoopFileDriver")
    written = drivers.block(driver, text)
    assert yaml.safe_load(written)["backends"].keys() == {text}
    assert f'"{text}":' in written or f"'{text}':" in written
