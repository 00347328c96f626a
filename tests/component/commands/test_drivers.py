"""`csi-cinderlib drivers`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from csi_cinderlib import cli


def test_all_drivers_are_listed_without_loading_cinder() -> None:
    code = "import sys; from csi_cinderlib import cli; cli.main(['drivers']); assert 'cinder' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 104
    assert lines[0].split() == ["DRIVER", "SUPPORTED", "OPTIONS", "MISSING", "HERE"]


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


def test_who_reads_the_output_may_stop_reading() -> None:
    done = subprocess.run(
        [f"{sys.executable} -m csi_cinderlib drivers RBDDriver | head -1"],
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("cinder.volume.drivers.rbd.RBDDriver\n", "")
