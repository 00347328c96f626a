"""What on a host takes what tenants wrote on raw volumes for its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.commands.examination.activation import examine, lvm_advice, md_advice
from csi_cinderlib.commands.examination.findings import Level
from csi_cinderlib.commands.examination.host import View
from tests.support.hosts import host, put


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
    site = host(tmp_path, dict.fromkeys(("usr/sbin/lvm", "sbin/mdadm", "usr/libexec/udisks2/udisksd"), ""))
    found = {finding.what: finding for finding in examine(site)}
    for what in ("LVM", "md", "udisks"):
        assert found[what].level is Level.NOTE
        assert found[what].advice.startswith("see docs/how-to/harden-a-host.md#")


def test_a_hardened_host_and_one_without_these_programs_are_good(tmp_path: Path) -> None:
    site = host(tmp_path)
    assert [finding.detail for finding in examine(site)] == ["is not installed on the host"] * 3
    files = {
        "usr/sbin/lvm": "",
        "usr/sbin/mdadm": "",
        "etc/lvm/lvm.conf": "devices {\n# use_devicesfile = 0\n}\n",
        "etc/lvm/lvmlocal.conf": "devices { \n use_devicesfile = 1\n}\n",
        "etc/lvm/devices/system.devices": "",
        "etc/mdadm/mdadm.conf": "AUTO -all\n",
    }
    put(tmp_path, files)
    assert [finding.level for finding in examine(site)] == [Level.OK] * 3


def test_a_container_that_does_not_see_the_host_says_so(tmp_path: Path) -> None:
    (finding,) = examine(host(tmp_path, view=View.HIDDEN))
    assert finding.level is Level.UNKNOWN
