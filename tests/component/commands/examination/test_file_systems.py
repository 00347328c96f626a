"""The features that mkfs makes against those that the running kernel mounts, and clients of shares."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from csi_cinderlib.commands.examination import file_systems, shares
from csi_cinderlib.commands.examination.file_systems import PROGRAMS, features, is_backported, version, xfs_features
from csi_cinderlib.commands.examination.findings import Level
from csi_cinderlib.commands.examination.host import View
from csi_cinderlib.host import mkfsoptions
from csi_cinderlib.model import capability
from csi_cinderlib.node import formatting
from tests.support.hosts import host

ALL = "nodev\tproc\n\text4\n\txfs\n\tbtrfs\n"


def test_every_supported_file_system_can_be_made_mounted_and_examined() -> None:
    supported = set(capability.FILE_SYSTEMS)
    assert {name for name, _ in PROGRAMS} == set(mkfsoptions.TOOLS) == supported
    assert supported <= formatting.MOUNTABLE


def levels(tmp_path: Path, release: str, files: dict[str, str] | None = None) -> dict[str, Level]:
    given = {"proc/filesystems": ALL, "proc/sys/kernel/osrelease": f"{release}\n", **(files or {})}
    return {finding.what: finding.level for finding in file_systems.examine(host(tmp_path, given))}


def test_a_kernel_that_is_younger_than_all_features_is_good(tmp_path: Path) -> None:
    assert set(levels(tmp_path, "99.0").values()) == {Level.OK}


def test_a_kernel_that_is_too_old_for_what_mkfs_makes_is_told_with_the_option_that_helps(tmp_path: Path) -> None:
    given = {"proc/filesystems": ALL, "proc/sys/kernel/osrelease": "4.6.0-1-amd64\n"}
    found = {finding.what: finding for finding in file_systems.examine(host(tmp_path, given))}
    assert found["xfs"].level is Level.NOTE
    assert "reflink (Linux 4.9)" in found["xfs"].detail
    assert "-m reflink=0" in found["xfs"].advice


def test_a_kernel_with_features_taken_over_from_later_ones_is_not_judged_by_its_number(tmp_path: Path) -> None:
    assert levels(tmp_path, "4.6.0-553.el8.x86_64")["xfs"] is Level.UNKNOWN


def test_what_the_kernel_itself_lists_is_believed(tmp_path: Path) -> None:
    assert levels(tmp_path, "3.13.0")["btrfs"] is Level.NOTE
    listed = {f"sys/fs/btrfs/features/{name}": "" for name in ("no_holes", "free_space_tree", "block_group_tree")}
    assert levels(tmp_path, "3.13.0", listed)["btrfs"] is Level.OK


def test_a_file_system_that_the_kernel_does_not_have_is_noted_and_unknown_from_a_container(tmp_path: Path) -> None:
    site = host(tmp_path)
    found = {finding.what: finding for finding in file_systems.examine(site)}
    assert found["xfs"].level is Level.NOTE
    assert "not supported by the kernel" in found["xfs"].detail
    hidden = {finding.what: finding.level for finding in file_systems.examine(host(tmp_path, view=View.HIDDEN))}
    assert hidden["xfs"] is Level.UNKNOWN


def test_a_feature_that_is_switched_off_does_not_count() -> None:
    text = "  =  crc=1 finobt=1, sparse=1, rmapbt=0\n = reflink=1 bigtime=0 inobtcount=1 nrext64=0\n"
    assert set(xfs_features(text)) == {"finobt", "sparse", "reflink", "inobtcount"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ext4", "metadata_csum"), ("xfs", "reflink"), ("btrfs", "no_holes")],
)
def test_features_are_those_of_a_file_system_that_this_hosts_mkfs_makes(name: str, expected: str) -> None:
    assert expected in features(name)


def test_ext4s_features_are_read_as_dumpe2fs_reads_them(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    subprocess.run(["truncate", "--size", "64M", image], check=True)
    subprocess.run([*mkfsoptions.command("ext4", ()), image], check=True, capture_output=True)
    shown = subprocess.run(["dumpe2fs", "-h", image], check=True, capture_output=True, text=True).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("Filesystem features:")]
    known = {row[0] for row in (*file_systems.EXT4_INCOMPATIBLE.values(), *file_systems.EXT4_READ_ONLY.values())}
    assert set(features("ext4")) == set(line.partition(":")[2].split()) & known


@pytest.mark.parametrize(
    ("release", "number"), [("6.1.0-28-amd64", (6, 1)), ("5.14", (5, 14)), ("6.18.44-fc-v657", (6, 18)), ("x", (0, 0))]
)
def test_a_release_begins_with_its_version(release: str, number: tuple[int, int]) -> None:
    assert version(release) == number


@pytest.mark.parametrize(
    ("release", "is_so"),
    [
        ("4.18.0-553.el8_10.x86_64", True),
        ("5.14.0-70.13.1.el9_0.x86_64", True),
        ("5.14.21-150400.24.100-default", True),
        ("5.10.223-211.872.amzn2.x86_64", True),
        ("6.1.0-28-amd64", False),
        ("5.15.0-91-generic", False),
    ],
)
def test_vendors_kernels_are_known_by_their_names(release: str, is_so: bool) -> None:
    assert is_backported(release) is is_so


def of_shares(tmp_path: Path, files: dict[str, str], *required: str, view: View = View.DIRECT) -> dict[str, Level]:
    site = host(tmp_path, files, view=view)
    return {finding.what: finding.level for finding in shares.examine(site, frozenset(required))}


def test_nfs_is_in_the_kernel_when_the_kernel_lists_it(tmp_path: Path) -> None:
    listed = {"proc/filesystems": "nodev\tnfs\nnodev\tnfs4\n"}
    found = of_shares(tmp_path, listed, "nfs")
    assert (found["nfs in the kernel"], found["nfs 4 in the kernel"]) == (Level.OK, Level.OK)
    assert of_shares(tmp_path, {"proc/filesystems": ""}, "nfs")["nfs in the kernel"] is Level.BAD


def test_daemons_and_configuration_of_shares_are_unknown_where_the_host_is_not_seen(tmp_path: Path) -> None:
    found = of_shares(tmp_path, {}, "rbd", view=View.HIDDEN)
    assert {found["rpc.statd"], found["ceph.conf"], found["rbd module"]} == {Level.UNKNOWN}


@pytest.mark.parametrize(
    ("protocol", "what", "files"),
    [
        ("rbd", "rbd module", {"sys/module/rbd/refcnt": "0"}),
        ("quobyte", "fuse in the kernel", {"sys/module/fuse/refcnt": "0"}),
        ("scaleio", "scaleio module", {"sys/module/scini/refcnt": "0"}),
        ("gpfs", "gpfs mounts", {"proc/mounts": "gpfs0 /gpfs gpfs rw 0 0\n"}),
    ],
)
def test_a_client_that_is_required_is_bad_until_it_is_there(
    tmp_path: Path, protocol: str, what: str, files: dict[str, str]
) -> None:
    assert of_shares(tmp_path, {}, protocol)[what] is Level.BAD
    assert of_shares(tmp_path, files, protocol)[what] is Level.OK
