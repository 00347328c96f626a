"""What `doctor` says where iscsid and multipathd run, with sessions over two portals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.guest.inside import lvm, multipath, network
from tests.guest.inside.lio import Target
from tests.guest.inside.shell import run, settle, wait_until

pytestmark = pytest.mark.guest("iscsi")

IQN = "iqn.2010-10.org.openstack:doctor"


@pytest.fixture
def target(group: str, initiator: str, addresses: list[str], multipathd: None) -> Iterator[Target]:
    """One disk over two paths, in use."""
    with lvm.logical_volume(group, "doctor", "64M") as device:
        target = Target(IQN, addresses)
        try:
            target.map(0, device, name="doctor")
            for number in (1, 2):
                record = ("iscsiadm", "-m", "node", "-T", IQN, "-p", f"{network.address(number)}:3260")
                run(*record, "-o", "new")
                run(*record, "--login")
            settle()
            wait_until(multipath.maps, "a map")
            yield target
            wait_until(lambda: not [run("multipath", "-f", name, ok=(0, 1)) for name in multipath.maps()], "no map")
            run("iscsiadm", "-m", "node", "-u", ok=(0, 21))
            run("iscsiadm", "-m", "node", "-o", "delete", ok=(0, 21))
        finally:
            target.delete()


def doctor(*words: str) -> list[dict[str, str]]:
    argv = [sys.executable, "-m", "csi_cinderlib", "doctor", "-o", "json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def of(found: list[dict[str, str]], what: str) -> list[tuple[str, str]]:
    return [(row["level"], row["detail"]) for row in found if row["what"] == what]


def test_doctor_sees_sessions_and_asks_multipathd(target: Target, initiator: str) -> None:
    (name,) = multipath.maps()
    wait_until(lambda: multipath.active_paths(name) == 2, "both paths")
    found = doctor("--protocol", "iscsi", "--multipath", "--portal", f"{network.address(1)}:3260")
    assert of(found, "iscsi module")[0][0] == "ok"
    assert of(found, "iscsid") == [("ok", "is running")]
    assert of(found, "iscsi name") == [("ok", initiator)]
    assert of(found, "iscsi session") == []
    assert of(found, "multipath module")[0][0] == "ok"
    assert of(found, "multipathd")[0][0] == "ok"
    said = " ".join(detail for _, detail in of(found, "multipath settings"))
    assert "find_multipaths off lets multipathd claim disks" in said  # its word for the "no" of multipath.conf
    assert "skip_kpartx" not in said
    assert "reported by multipathd" in said
    assert of(found, "multipath paths") == [("ok", "2 in use, 0 failed")]
    assert set(of(found, "portal")) >= {
        ("ok", f"{network.address(number)}:3260 accepts connections") for number in (1, 2)
    }


def test_doctor_names_a_path_that_is_cut(target: Target) -> None:
    (name,) = multipath.maps()
    wait_until(lambda: multipath.active_paths(name) == 2, "both paths")
    network.cut(1)
    try:
        wait_until(lambda: multipath.active_paths(name) == 1, "the dead path's detection")
        ((level, detail),) = of(doctor(), "multipath paths")
        assert level == "note"
        assert f"of {name} is " in detail
    finally:
        network.heal(1)
    wait_until(lambda: multipath.active_paths(name) == 2, "the path's return")
