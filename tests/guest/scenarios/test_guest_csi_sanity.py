"""csi-sanity on a real back end: LVM behind LIO over iSCSI, controller and node as two processes with two sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.demo.process import DriverProcess
from tests.guest.inside.backends import OPTIONS
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.lvm import volumes
from tests.program.sanity.conftest import Verdict, csi_sanity, run_sanity
from tests.program.sanity.test_csi_sanity import check

__all__ = ["csi_sanity", "run_sanity"]  # fixtures

pytestmark = pytest.mark.guest("sanity")

UNMODIFIABLE = {
    "ControllerModifyVolume not supported",
    "Modify volume not supported",
    "Modify Volume not supported",
}
"""Why csi-sanity leaves out a case here: Cinder's LVM driver changes nothing about a volume, so the capability is not declared."""


@pytest.fixture
def controller(thin_group: str, lio_target: None, initiator: str, tmp_path: Path) -> Iterator[DriverProcess]:
    driver, options = OPTIONS["lvm-thin"]
    config = {"backends": {"lvm": {"driver": driver, "options": dict(options)}}}
    with ExitStack() as ending:
        yield start("controller", tmp_path, config, ending)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DriverProcess]:
    with ExitStack() as ending:
        yield start("node", tmp_path, {}, ending)


def start(mode: str, folder: Path, config: Mapping[str, object], ending: ExitStack) -> DriverProcess:
    state_dir = folder / mode
    state_dir.mkdir()
    (state_dir / "config.yaml").write_text(yaml.safe_dump({"mode": mode, "max_volumes_per_node": 4, **config}))
    process = DriverProcess(state_dir, ["--config", str(state_dir / "config.yaml")])
    ending.callback(process.stop)
    process.wait_until_ready()
    return process


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_every_case_passes_and_nothing_is_left(
    controller: DriverProcess,
    node: DriverProcess,
    run_sanity: Callable[..., Verdict],
    thin_group: str,
    access_type: str,
    record_property: Callable[[str, object], None],
) -> None:
    before = Footprint.now()
    title = f"LVM and LIO over iSCSI in a guest, controller and node apart, {access_type}"
    verdict = run_sanity(title, node, controller, access_type=access_type, seconds=1100)
    for line in verdict.closing:
        record_property("closing line", line)
    check(verdict, not_claimed=UNMODIFIABLE, passed=87)
    assert Footprint.now().left_since(before) == {}
    assert {name for name in volumes(thin_group) if name.startswith(("volume-", "_snapshot"))} == set()
