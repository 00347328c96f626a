"""Rights, devices, udev, mounts, clock and security modules of a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_cinderlib.commands.examination import machine
from csi_cinderlib.commands.examination.findings import Finding, Level
from csi_cinderlib.commands.examination.host import Host, View
from tests.support.hosts import host

DEVTMPFS = "22 1 0:5 / /dev rw - devtmpfs udev rw\n"
TMPFS = "22 1 0:9 / /dev rw - tmpfs tmpfs rw\n"
ROOT_SHARED = "1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
ROOT_PRIVATE = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
KUBELET = "/var/lib/kubelet"
PODS = {"var/lib/kubelet/pods/x": ""}
MAP = {"proc/self/uid_map": f"0 0 {2**32 - 1}\n"}


def found(site: Host, *required: str, multipath: bool = False) -> dict[str, list[Finding]]:
    result: dict[str, list[Finding]] = {}
    for finding in machine.examine(site, frozenset(required), multipath=multipath, kubelet=KUBELET):
        result.setdefault(finding.what, []).append(finding)
    return result


def only(site: Host, what: str, *required: str, multipath: bool = False) -> Finding:
    (finding,) = found(site, *required, multipath=multipath)[what]
    return finding


def capabilities(*missing: int) -> dict[str, str]:
    held = (1 << 41) - 1 - sum(1 << number for number in missing)
    return {**MAP, "proc/self/status": f"Name:\tx\nCapEff:\t{held:016x}\n"}


@pytest.mark.skipif(os.geteuid() != 0, reason="root with fewer rights")
@pytest.mark.parametrize(
    ("files", "view", "levels"),
    [
        (capabilities(), View.DIRECT, {Level.OK}),
        (capabilities(24), View.DIRECT, {Level.NOTE}),
        (capabilities(21), View.DIRECT, {Level.BAD}),
        (capabilities(21, 24), View.DIRECT, {Level.BAD, Level.NOTE}),
        (capabilities(18, 19), View.DIRECT, {Level.OK}),
        (capabilities(19), View.FROM_POD, {Level.NOTE}),
        ({**capabilities(), "proc/self/uid_map": "0 100000 65536\n"}, View.DIRECT, {Level.BAD}),
        (MAP, View.DIRECT, {Level.UNKNOWN}),
    ],
)
def test_roots_rights_are_told_by_its_capabilities(
    tmp_path: Path, files: dict[str, str], view: View, levels: set[Level]
) -> None:
    assert {finding.level for finding in found(host(tmp_path, files, view=view))["privileges"]} == levels


@pytest.mark.parametrize(
    ("table", "view", "level"),
    [
        (ROOT_PRIVATE + DEVTMPFS, View.DIRECT, Level.OK),
        (ROOT_PRIVATE + DEVTMPFS, View.HIDDEN, Level.OK),
        (ROOT_PRIVATE + TMPFS, View.FROM_POD, Level.BAD),
        (ROOT_PRIVATE + TMPFS, View.DIRECT, Level.NOTE),
        (ROOT_PRIVATE, View.HIDDEN, Level.BAD),
        (ROOT_PRIVATE + TMPFS + DEVTMPFS, View.FROM_POD, Level.OK),
        ("", View.DIRECT, Level.UNKNOWN),
    ],
)
def test_dev_is_the_hosts_when_the_kernel_makes_devices_in_it(
    tmp_path: Path, table: str, view: View, level: Level
) -> None:
    assert only(host(tmp_path, {"proc/self/mountinfo": table}, view=view), "/dev").level is level


@pytest.mark.parametrize(
    ("table", "view", "level"),
    [
        (ROOT_SHARED, View.DIRECT, Level.OK),
        (ROOT_PRIVATE, View.DIRECT, Level.NOTE),
        (ROOT_PRIVATE, View.FROM_POD, Level.BAD),
        (ROOT_PRIVATE + f"9 1 8:1 /p {KUBELET}/pods rw shared:7 - ext4 /dev/sda1 rw\n", View.FROM_POD, Level.OK),
        (ROOT_SHARED + f"9 1 8:1 /p {KUBELET}/pods rw master:7 - ext4 /dev/sda1 rw\n", View.FROM_POD, Level.BAD),
        (ROOT_SHARED + f"9 1 8:1 /p {KUBELET}/pods-2 rw - ext4 /dev/sda1 rw\n", View.FROM_POD, Level.OK),
    ],
)
def test_mounts_below_the_kubelets_directory_must_reach_other_namespaces(
    tmp_path: Path, table: str, view: View, level: Level
) -> None:
    site = host(tmp_path, {**PODS, "proc/self/mountinfo": table}, view=view)
    assert only(site, "mount propagation").level is level


def test_a_host_without_a_kubelet_is_noted(tmp_path: Path) -> None:
    assert only(host(tmp_path), "mount propagation").level is Level.NOTE


@pytest.mark.parametrize(
    ("files", "view", "level"),
    [
        ({"run/udev/control": ""}, View.DIRECT, Level.OK),
        ({"proc/9/comm": "systemd-udevd\n"}, View.FROM_POD, Level.OK),
        ({}, View.DIRECT, Level.BAD),
        ({}, View.HIDDEN, Level.UNKNOWN),
    ],
)
def test_udev_is_required_by_fibre_channel_and_multipath(
    tmp_path: Path, files: dict[str, str], view: View, level: Level
) -> None:
    site = host(tmp_path, files, view=view)
    assert only(site, "udev", "fibre_channel").level is level
    assert only(site, "udev", multipath=True).level is level
    assert only(site, "udev").level is (Level.NOTE if level is Level.BAD else level)


@pytest.mark.parametrize(
    ("files", "level", "words"),
    [
        ({"sys/kernel/security/lockdown": "[none] integrity confidentiality\n"}, Level.OK, "is off"),
        ({"sys/kernel/security/lockdown": "none [integrity] confidentiality\n"}, Level.NOTE, "integrity"),
        ({"sys/kernel/security/lsm": "capability,yama\n"}, Level.OK, "not supported"),
        ({}, Level.UNKNOWN, "not mounted"),
    ],
)
def test_kernel_lockdown_is_read(tmp_path: Path, files: dict[str, str], level: Level, words: str) -> None:
    finding = only(host(tmp_path, files), "kernel lockdown")
    assert finding.level is level
    assert words in finding.detail


@pytest.mark.parametrize(
    ("enforce", "label", "level"),
    [
        ("1", "system_u:system_r:container_t:s0:c1,c2", Level.BAD),
        ("1", "system_u:system_r:spc_t:s0", Level.OK),
        ("1", "unconfined_u:unconfined_r:unconfined_t:s0", Level.OK),
        ("0", "system_u:system_r:container_t:s0", Level.OK),
        ("", "", Level.OK),
        ("", "unconfined", Level.OK),
        ("", "system_u:system_r:container_t:s0:c1,c2", Level.UNKNOWN),
        ("", "system_u:system_r:spc_t:s0", Level.OK),
    ],
)
def test_selinux_confines_containers_that_are_not_privileged(
    tmp_path: Path, enforce: str, label: str, level: Level
) -> None:
    files = {"sys/fs/selinux/enforce": enforce} if enforce else {}
    assert only(host(tmp_path, {**files, "proc/self/attr/current": f"{label}\0\n"}), "SELinux").level is level


@pytest.mark.parametrize(
    ("enabled", "label", "level"),
    [
        ("Y", "cri-containerd.apparmor.d (enforce)", Level.NOTE),
        ("Y", "unconfined", Level.OK),
        ("", "", Level.OK),
    ],
)
def test_an_apparmor_profile_that_confines_the_process_is_noted(
    tmp_path: Path, enabled: str, label: str, level: Level
) -> None:
    files = {"sys/module/apparmor/parameters/enabled": enabled, "proc/self/attr/current": f"{label}\n"}
    assert only(host(tmp_path, files), "AppArmor").level is level


def test_loop_devices_in_use_are_counted(tmp_path: Path) -> None:
    assert only(host(tmp_path), "loop devices").level is Level.NOTE
    files = {"dev/loop-control": "", "sys/block/loop0/loop/backing_file": "/x", "sys/block/loop1/size": "0"}
    assert only(host(tmp_path, files), "loop devices").detail == "/dev/loop-control; 1 in use"


def test_a_host_that_cannot_be_seen_is_unknown_not_good(tmp_path: Path) -> None:
    assert only(host(tmp_path, view=View.HIDDEN), "host").level is Level.UNKNOWN
