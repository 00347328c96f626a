"""cinderlib's functional suite, unmodified, on LVM behind LIO over iSCSI and on NFS: volumes are devices of this kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from csi_cinderlib.host import mounts
from tests.component.cinderlib.suites import launch
from tests.guest.inside.backends import OPTIONS
from tests.guest.inside.footprint import Footprint
from tests.guest.scenarios import contract

pytestmark = pytest.mark.guest("contract-thin")

MORE: Mapping[str, Mapping[str, object]] = {"nfs": {"max_over_subscription_ratio": 100}}
"""The suite keeps a dozen sparse volumes, and the share of a guest is small."""


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    ("names", "storage"),
    [(("lvm-thin", "nfs"), "memory"), (("lvm-thin",), "SQLite"), (("nfs",), "memory_db")],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_the_functional_suite_passes(
    names: tuple[str, ...],
    storage: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    for name in names:
        contract.set_up(name, request)
    before = Footprint.now()
    verdict = launch.run_functional([backend(name) for name in names], tmp_path, storage=storage)
    line = f"cinderlib's functional suite, {' and '.join(names)}, {storage}: {verdict.closing_line}"
    record_property("closing line", line)
    assert verdict.exceptions == {}, verdict.output
    assert len(verdict.outcomes) == launch.expected_number(len(names))
    unmount_shares()
    assert Footprint.now().left_since(before) == {}


def unmount_shares() -> None:
    """Cinder's driver leaves the share mounted for the next process."""
    base = OPTIONS["nfs"][1]["nfs_mount_point_base"]
    for mount in list(mounts.table()):
        if mount.target.startswith(f"{base}/"):
            mounts.unmount(mount.target)


def backend(name: str) -> Mapping[str, object]:
    driver, options = OPTIONS[name]
    return {"volume_backend_name": name, "volume_driver": driver, **options, **MORE.get(name, {})}
