"""iSCSI, Fibre Channel and NVMe: what `doctor` says of names, daemons, ports and links."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from csi_cinderlib.commands.examination import fibre_channel, iscsi, nvme
from csi_cinderlib.commands.examination.findings import Finding, Level
from csi_cinderlib.commands.examination.host import Host, View
from tests.support.hosts import host, put

NAME = "iqn.2026-01.org.debian:01:abcdef"
INITIATOR = {"etc/iscsi/initiatorname.iscsi": f"# made\nInitiatorName={NAME}\n"}
LISTENING = {
    "proc/net/unix": "Num RefCount\n0000: 00000002 00000000 00010000 0001 01 99 @ISCSIADM_ABSTRACT_NAMESPACE\n"
}
UUID = "4c4c4544-0042-3610-8054-b7c04f504833"
IDENTITY = {"etc/nvme/hostnqn": f"nqn.2014-08.org.nvmexpress:uuid:{UUID}\n", "etc/nvme/hostid": f"{UUID}\n"}


def of(findings: Iterable[Finding], what: str) -> list[Finding]:
    return [finding for finding in findings if finding.what == what]


def only(findings: Iterable[Finding], what: str) -> Finding:
    (finding,) = of(findings, what)
    return finding


def of_iscsi(site: Host, *required: str) -> list[Finding]:
    return list(iscsi.examine(site, frozenset(required)))


def test_an_initiator_name_is_shown(tmp_path: Path) -> None:
    finding = only(of_iscsi(host(tmp_path, INITIATOR), "iscsi"), "iscsi name")
    assert (finding.level, finding.detail) == (Level.OK, NAME)


def test_a_missing_initiator_name_is_bad_only_when_iscsi_is_required(tmp_path: Path) -> None:
    site = host(tmp_path)
    assert only(of_iscsi(site), "iscsi name").level is Level.NOTE
    assert only(of_iscsi(site, "iscsi"), "iscsi name").level is Level.BAD
    assert only(of_iscsi(site, "iser"), "iscsi name").level is Level.BAD


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([NAME], ""),
        ([NAME, NAME], ""),
        (["eui.0123456789abcdef"], ""),
        (["naa.0123456789abcdef0123456789abcdef"], ""),
        ([NAME, "iqn.2026-01.org.debian:02"], "has 2 names"),
        (["host1"], "is not an iSCSI name"),
        (["iqn.26-1.org.debian"], "is not an iSCSI name"),
        (["naa.0123"], "is not an iSCSI name"),
        (["iqn.2026-01.com.example:host1"], "placeholder"),
        (["iqn.1993-08.org.debian:01:000000000000"], "placeholder"),
    ],
)
def test_a_name_that_other_hosts_may_have_is_refused(names: list[str], words: str) -> None:
    complaint = iscsi.judge_names(names)
    assert words in complaint
    assert bool(complaint) is bool(words)


def test_a_name_from_a_disk_image_is_noted(tmp_path: Path) -> None:
    site = host(tmp_path, {**INITIATOR, "etc/machine-id": "abc\n"})
    assert only(of_iscsi(site), "iscsi name").level is Level.OK
    os.utime(tmp_path / iscsi.NAME_FILE, (1, 1))
    finding = only(of_iscsi(site, "iscsi"), "iscsi name")
    assert finding.level is Level.NOTE
    assert "disk image" in finding.detail


def test_sessions_under_another_name_are_noted(tmp_path: Path) -> None:
    session = {"sys/class/iscsi_session/session1/initiatorname": "iqn.2020-01.org.old:x\n"}
    finding = only(of_iscsi(host(tmp_path, {**INITIATOR, **session})), "iscsi name")
    assert finding.level is Level.NOTE
    assert "sessions use iqn.2020-01.org.old:x" in finding.detail


@pytest.mark.parametrize(
    ("files", "view", "level", "words"),
    [
        ({**LISTENING, "proc/7/comm": "iscsid\n"}, View.DIRECT, Level.OK, "is running"),
        (LISTENING, View.DIRECT, Level.OK, "started by systemd at the first connection"),
        (LISTENING, View.HIDDEN, Level.OK, "started by systemd at the first connection"),
        ({"proc/7/comm": "iscsid\n"}, View.FROM_POD, Level.BAD, "does not listen in this network namespace"),
        ({}, View.DIRECT, Level.BAD, "is not running"),
        ({}, View.FROM_POD, Level.BAD, "is not running"),
        ({}, View.HIDDEN, Level.UNKNOWN, "does not see the host"),
    ],
)
def test_iscsid_is_looked_for_by_its_socket_and_its_process(
    tmp_path: Path, files: dict[str, str], view: View, level: Level, words: str
) -> None:
    finding = only(of_iscsi(host(tmp_path, files, view=view), "iscsi"), "iscsid")
    assert finding.level is level
    assert words in finding.detail


def test_a_socket_of_another_name_is_not_iscsids(tmp_path: Path) -> None:
    other = LISTENING["proc/net/unix"].replace("NAMESPACE", "NAMESPACE_2")
    assert only(of_iscsi(host(tmp_path, {"proc/net/unix": other}), "iscsi"), "iscsid").level is Level.BAD


def test_a_container_with_a_network_of_its_own_cannot_use_iscsi(tmp_path: Path) -> None:
    site = host(tmp_path, LISTENING, view=View.FROM_POD)
    for process, inode in (("self", 2), ("1", 1)):
        (tmp_path / f"proc/{process}/ns").mkdir(parents=True)
        (tmp_path / f"proc/{process}/ns/net").symlink_to(f"net:[{inode}]")
    assert only(of_iscsi(site, "iscsi"), "iscsi network").level is Level.BAD
    (tmp_path / "proc/self/ns/net").unlink()
    (tmp_path / "proc/self/ns/net").symlink_to("net:[1]")
    assert of(of_iscsi(site, "iscsi"), "iscsi network") == []


def test_a_session_that_is_not_logged_in_is_noted(tmp_path: Path) -> None:
    folder = "sys/class/iscsi_session"
    states = {"session1": "LOGGED_IN", "session2": "FAILED"}
    site = host(tmp_path, {f"{folder}/{name}/state": f"{state}\n" for name, state in states.items()})
    assert "session2 to an unknown target is FAILED" in only(of_iscsi(site), "iscsi session").detail


def ports(**states: str) -> dict[str, str]:
    files = {f"sys/class/fc_host/{name}/port_state": f"{state}\n" for name, state in states.items()}
    return files | {f"sys/class/fc_host/{name}/port_name": "0x10000090fa1b2c3d\n" for name in states}


@pytest.mark.parametrize(
    ("files", "levels"),
    [
        ({}, [Level.BAD]),
        (ports(host1="Online"), [Level.OK]),
        (ports(host1="Online", host2="Linkdown"), [Level.OK, Level.NOTE]),
        (ports(host1="Linkdown", host2="Linkdown"), [Level.NOTE, Level.NOTE, Level.BAD]),
    ],
)
def test_fibre_channel_needs_a_port_that_is_online(tmp_path: Path, files: dict[str, str], levels: list[Level]) -> None:
    found = list(fibre_channel.examine(host(tmp_path, files), frozenset({"fibre_channel"})))
    assert [finding.level for finding in found] == levels
    found = list(fibre_channel.examine(host(tmp_path, files), frozenset()))
    assert not [finding for finding in found if finding.level is Level.BAD]


def test_a_port_is_shown_with_its_wwpn_and_speed(tmp_path: Path) -> None:
    files = {**ports(host1="Online"), "sys/class/fc_host/host1/speed": "32 Gbit\n"}
    (finding,) = fibre_channel.examine(host(tmp_path, files), frozenset())
    assert finding.detail == "host1 0x10000090fa1b2c3d: Online, 32 Gbit"


def of_nvme(site: Host, *required: str, multipath: bool = False) -> list[Finding]:
    return list(nvme.examine(site, frozenset(required), multipath=multipath))


def test_one_nvme_transport_is_enough(tmp_path: Path) -> None:
    assert only(of_nvme(host(tmp_path), "nvmeof"), "nvme modules").level is Level.BAD
    put(tmp_path, {"sys/module/nvme_rdma/refcnt": "0"})
    assert only(of_nvme(host(tmp_path), "nvmeof"), "nvme modules").level is Level.OK


@pytest.mark.parametrize(
    ("nqn", "id", "words"),
    [
        (f"nqn.2014-08.org.nvmexpress:uuid:{UUID}", UUID, ""),
        ("nqn.2020-01.org.example:host", UUID, ""),
        ("", UUID, "hostnqn is missing"),
        ("nqn.2020-01.org.example:host", "", "hostid is missing"),
        ("iqn.2020-01.org.example:host", UUID, "is not an NQN"),
        ("nqn." + "x" * 220, UUID, "is not an NQN"),
        ("nqn.2020-01.org.example:host", "host", "is not a UUID"),
        ("nqn.2020-01.org.example:host", "00000000-0000-0000-0000-000000000000", "all zeros"),
    ],
)
def test_an_nvme_identity_needs_both_files(nqn: str, id: str, words: str) -> None:
    complaint = nvme.judge_identity(nqn, id)
    assert words in complaint
    assert bool(complaint) is bool(words)


@pytest.mark.parametrize(
    ("files", "level"),
    [
        (IDENTITY, Level.OK),
        ({}, Level.NOTE),
        ({**IDENTITY, "etc/nvme/hostid": UUID.replace("4c4c", "5d5d")}, Level.NOTE),
        ({**IDENTITY, "etc/nvme/hostid": "\n"}, Level.BAD),
        ({**IDENTITY, "sys/class/nvme/nvme1/hostnqn": "nqn.2020-01.org.old:x\n"}, Level.NOTE),
    ],
)
def test_an_nvme_identity_is_judged(tmp_path: Path, files: dict[str, str], level: Level) -> None:
    assert only(of_nvme(host(tmp_path, files), "nvmeof"), "nvme host name").level is level


@pytest.mark.parametrize(
    ("files", "level"),
    [
        ({"sys/module/nvme_core/parameters/multipath": "Y\n"}, Level.OK),
        ({"sys/module/nvme_core/parameters/multipath": "N\n"}, Level.BAD),
        ({"sys/module/nvme_core/refcnt": "0"}, Level.BAD),
        ({}, Level.UNKNOWN),
    ],
)
def test_native_multipathing_is_told_by_the_kernels_parameter(
    tmp_path: Path, files: dict[str, str], level: Level
) -> None:
    site = host(tmp_path, files)
    assert only(of_nvme(site, "nvmeof", multipath=True), "nvme multipath").level is level
    if level is Level.BAD:
        assert only(of_nvme(site, "nvmeof"), "nvme multipath").level is Level.NOTE


def test_a_controller_that_reconnects_is_noted(tmp_path: Path) -> None:
    folder = "sys/class/nvme/nvme1"
    files = {
        f"{folder}/state": "connecting\n",
        f"{folder}/transport": "tcp\n",
        f"{folder}/address": "traddr=192.0.2.1\n",
    }
    assert (
        only(of_nvme(host(tmp_path, files)), "nvme controller").detail == "nvme1 (tcp traddr=192.0.2.1) is connecting"
    )
    (tmp_path / folder / "transport").write_text("pcie\n")
    assert of(of_nvme(host(tmp_path)), "nvme controller") == []
