"""What `doctor` says about a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_cinderlib.commands.doctor import FILE_SYSTEMS, Finding, Level, examine, lvm_advice, md_advice, multipath_advice
from csi_cinderlib.host import mkfsoptions
from csi_cinderlib.model import capability
from csi_cinderlib.node import formatting

GOOD = """
defaults {
    find_multipaths strict   # only what has two paths
    recheck_wwid "yes"
    skip_kpartx yes
}
blacklist {
    device {
        vendor "X"
    }
}
"""


def host(tmp_path: Path, **files: str) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/filesystems").write_text("nodev\tproc\n\text4\n")
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def findings(root: Path, *required: str, multipath: bool = False) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(required=frozenset(required), multipath=multipath, root=root)}


def test_every_supported_file_system_can_be_made_mounted_and_examined() -> None:
    supported = set(capability.FILE_SYSTEMS)
    assert {name for name, _ in FILE_SYSTEMS} == set(mkfsoptions.TOOLS) == supported
    assert supported <= formatting.MOUNTABLE


def test_a_good_multipath_conf_gets_no_advice() -> None:
    assert multipath_advice(GOOD) == ()


@pytest.mark.parametrize("value", ["no", "off", "greedy"])
def test_a_multipathd_that_takes_single_disks_is_found(value: str) -> None:
    (clause,) = multipath_advice(GOOD.replace("strict", value))
    assert clause.startswith(f"find_multipaths {value}")


def test_missing_protections_are_named() -> None:
    clauses = multipath_advice("defaults {\n}\n")
    assert [clause.split()[0] for clause in clauses] == ["recheck_wwid", "skip_kpartx"]


def test_settings_of_other_sections_do_not_count() -> None:
    text = GOOD + "overrides {\n    find_multipaths no\n}\n"
    assert multipath_advice(text) == ()


def test_a_section_written_on_one_line_is_named_by_its_line() -> None:
    assert "line 1: only one keyword a line is understood" in multipath_advice("defaults { find_multipaths no }")


def test_a_host_without_an_initiator_name_is_bad_only_when_iscsi_is_needed(tmp_path: Path) -> None:
    root = host(tmp_path)
    assert findings(root)["iscsi name"].level is Level.NOTE
    assert findings(root, "iscsi")["iscsi name"].level is Level.BAD


def test_the_initiator_name_is_shown(tmp_path: Path) -> None:
    root = host(tmp_path, etc__iscsi__initiatorname_dot_iscsi="# made\nInitiatorName=iqn.2026-01.org.example:x\n")
    finding = findings(root, "iscsi")["iscsi name"]
    assert (finding.level, finding.detail) == (Level.OK, "InitiatorName=iqn.2026-01.org.example:x")


def test_no_loop_control_is_said(tmp_path: Path) -> None:
    assert "modprobe loop" in findings(host(tmp_path))["loop devices"].detail


def test_multipathing_that_must_work_needs_its_configuration(tmp_path: Path) -> None:
    finding = findings(host(tmp_path), multipath=True)["multipath.conf"]
    assert (finding.level, finding.detail) == (Level.BAD, "does not exist: no multipathing")


def test_multipathing_that_must_work_needs_its_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = host(tmp_path)
    programs(monkeypatch, tmp_path / "bin", multipath="", multipathd="exit 1")
    assert findings(root, multipath=True)["multipathd"] == Finding(
        Level.BAD, "multipathd", "does not answer, so it does not run (multipathd show daemon: exit code 1)"
    )
    programs(monkeypatch, tmp_path / "bin", multipathd="echo pid 4711 idle")
    assert findings(root, multipath=True)["multipathd"] == Finding(Level.OK, "multipathd", "pid 4711 idle")


def test_a_program_that_fails_is_not_taken_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, tmp_path / "bin", nvme="echo cannot enter >&2; exit 1")
    found = findings(host(tmp_path), "nvmeof")["nvmeof"]
    assert (found.level, found.detail) == (Level.BAD, "nvme --version: exit code 1: cannot enter")


def test_where_multipath_is_the_hosts_so_is_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = host(tmp_path, etc__multipath_dot_conf=GOOD, hosts__etc__multipath_dot_conf=GOOD.replace("strict", "no"))
    assert findings(root)["multipath.conf"].detail == "nothing in it hurts"
    programs(monkeypatch, tmp_path / "bin", **{"host-tool": ""})
    (tmp_path / "bin/multipath").symlink_to("host-tool")
    monkeypatch.setattr("csi_cinderlib.brick.tools.HOST_ROOT", tmp_path / "hosts")
    assert findings(root)["multipath.conf"].detail.startswith("find_multipaths no")


@pytest.mark.parametrize(
    ("text", "has_devices_file", "is_safe"),
    [
        ("", False, False),
        ("devices {\n\tuse_devicesfile = 1\n}", True, True),
        ("devices {\n\tuse_devicesfile = 1\n}", False, False),
        ("devices {\n\tuse_devicesfile = 0\n}", True, False),
        ("\t# use_devicesfile = 1", True, True),
        ("\t# use_devicesfile = 0", True, False),
        ("\t# use_devicesfile = 1\n\tuse_devicesfile=0", True, False),
        ("devices/use_devicesfile=1", True, True),
        ('devices {\n  global_filter = [ "a|^/dev/nvme0n1$|", "r|.*|" ]\n}', False, True),
        ('global_filter = [\n  "a|^/dev/sda$|",\n  "r/.*/"\n]', False, True),
        ('global_filter = "r|.*|"', False, True),
        ('global_filter = [ "a|.*|" ]', False, False),
        ('global_filter = [ "r|.*|", "a|.*|" ]', False, False),
        ('global_filter = [ "a|.*|", "r|/dev/cdrom|" ]', False, False),
        ('# global_filter = [ "r|.*|" ]', False, False),
        ('filter = [ "r|.*|" ]', False, False),
        ('global_filter = [ "r|.*|" ]\nglobal_filter = [ "a|.*|" ]', False, False),
    ],
)
def test_lvm_leaves_volumes_alone_only_where_it_uses_named_devices(
    text: str, has_devices_file: bool, is_safe: bool
) -> None:
    """`filter` is not asked by what activates volume groups when disks appear."""
    assert (lvm_advice(text, has_devices_file=has_devices_file) == "") is is_safe


@pytest.mark.parametrize(
    ("text", "is_safe"),
    [
        ("", False),
        ("AUTO -all\n", True),
        ("auto -all", True),
        ("AUT -all", True),
        ("# AUTO -all", False),
        ("AUTO +imsm -all", False),
        ("AUTO homehost -all", False),
        ("AUTO +all", False),
        ("AUTO +all\nAUTO -all", False),
        ("HOMEHOST <system>\nAUTO -all\n", True),
    ],
)
def test_md_leaves_volumes_alone_only_where_nothing_is_assembled_by_itself(text: str, is_safe: bool) -> None:
    """A homehost can be forged, and of several lines the first counts."""
    assert (md_advice(text) == "") is is_safe


def test_what_would_activate_tenants_volumes_is_named_with_the_page(tmp_path: Path) -> None:
    programs = dict.fromkeys(("usr__sbin__lvm", "sbin__mdadm", "usr__libexec__udisks2__udisksd"), "")
    found = findings(host(tmp_path, **programs))
    for what in ("LVM", "md", "udisks"):
        assert found[what].level is Level.NOTE
        assert ": see docs/how-to/harden-a-host.md#" in found[what].detail


def test_a_hardened_host_and_one_without_these_programs_are_good(tmp_path: Path) -> None:
    found = findings(host(tmp_path))
    assert [found[what].detail for what in ("LVM", "md", "udisks")] == ["is not installed on the host"] * 3
    for name, text in {
        "usr/sbin/lvm": "",
        "usr/sbin/mdadm": "",
        "etc/lvm/lvm.conf": "devices {\n# use_devicesfile = 0\n}\n",
        "etc/lvm/lvmlocal.conf": "devices { \n use_devicesfile = 1\n}\n",
        "etc/lvm/devices/system.devices": "",
        "etc/mdadm/mdadm.conf": "AUTO -all\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {item.what: item for item in examine(required=frozenset(), multipath=False, root=tmp_path)}
    assert [found[what].level for what in ("LVM", "md", "udisks")] == [Level.OK] * 3


def programs(monkeypatch: pytest.MonkeyPatch, folder: Path, **scripts: str) -> None:
    """Put them first in PATH."""
    folder.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
