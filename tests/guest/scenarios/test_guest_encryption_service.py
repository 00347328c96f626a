"""Encrypted volumes through the real program and its socket, on files and on LVM over iSCSI: create, snapshot, restore, clone, grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.demo.life import Life
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.demo.report import Report, view
from tests.guest.inside.backends import OPTIONS
from tests.guest.inside.encrypted import KEY, mappings
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.shell import modprobe

pytestmark = pytest.mark.guest("luks-service")
LOOP_FILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


def started(folder: Path, backend: Mapping[str, object]) -> DriverProcess:
    state = folder / "state"
    state.mkdir()
    (state / "config.yaml").write_text(yaml.safe_dump({"backends": {"array": backend}}))
    process = DriverProcess(state, ["--config", str(state / "config.yaml")])
    process.wait_until_ready()
    return process


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DriverProcess]:
    folder = tmp_path / "files"
    folder.mkdir()
    options = {"loopfile_directories": [f"one:{folder}"], "max_over_subscription_ratio": 1000}
    process = started(tmp_path, {"driver": LOOP_FILE, "options": options})
    yield process
    process.stop()


@pytest.fixture
def lvm(thin_group: str, lio_target: None, initiator: str, tmp_path: Path) -> Iterator[DriverProcess]:
    driver, options = OPTIONS["lvm-thin"]
    process = started(tmp_path, {"driver": driver, "options": dict(options)})
    yield process
    process.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["ext4", "block"])
@pytest.mark.parametrize("backend", ["files", "lvm"])
def test_the_whole_life_of_an_encrypted_volume(
    request: pytest.FixtureRequest, tmp_path: Path, backend: str, kind: str
) -> None:
    modprobe("dm_crypt", "loop")
    driver: DriverProcess = request.getfixturevalue(backend)
    before = Footprint.now()
    root = tmp_path / "kubelet"
    root.mkdir()
    try:
        Life(driver.channel, root, Report(view(as_json=True)), kind=kind, grows_in_use=True, passphrase=KEY).live()
    except Exception:
        print(driver.log())
        raise
    assert mappings() == []
    assert Footprint.now().left_since(before) == {}
