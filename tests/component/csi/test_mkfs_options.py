"""mkfsOptions that cannot work are refused by CreateVolume, in one sentence; those that can are accepted and used."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.host import devices, mkfs, mounts
from csi_cinderlib.model.records import Volume
from tests.component.csi.harness import code, failed
from tests.component.csi.site import GIB, Site, block, creation, mount
from tests.component.csi.test_whole_life import Machine, driver  # noqa: F401  # a fixture

ON_FILES = " for a volume of 1 GiB with sectors of 4096 bytes: "
"""The driver of files tells its sectors."""

BAD = [
    ("ext4", "-b 512", "'-b 512'", "invalid block size - 512"),
    ("ext4", "-b 1024", "'-b 1024'", "Invalid argument while setting blocksize; too small for device"),
    ("ext4", "-i 65536 -I 8192", "'-I 8192'", "invalid inode size 8192 (min 128/max 4096)"),
    ("ext4", "-i 512", "'-i 512'", "invalid inode ratio 512 (min 1024/max 67108864)"),
    ("ext4", "-m 60", "'-m 60'", "invalid reserved blocks percent - 60"),
    ("ext4", "-J size=900", "'-J size=900'", "Total journal size too big for filesystem"),
    (
        "ext4",
        "-J size=2",
        "'-J size=2'",
        "The total requested journal size is 512 blocks; it must be between 1024 and 10240000 blocks",
    ),
    ("ext4", "-J speed=1", "'-J speed=1'", "Bad journal options specified"),
    ("ext4", "-O nonsense", "'-O nonsense'", "Invalid filesystem option set: nonsense"),
    (
        "ext4",
        "-O resize_inode,meta_bg",
        "'-O resize_inode,meta_bg'",
        "The resize_inode and meta_bg features are not compatible",
    ),
    ("ext4", "-C 65536", "'-C 65536'", "specifying a cluster size requires the bigalloc feature"),
    (
        "ext4",
        "-O orphan_file,^has_journal",
        "'-O orphan_file,^has_journal'",
        "cannot set orphan_file feature without a journal",
    ),
    ("ext4", "-E nonsense", "'-E nonsense'", "Bad option(s) specified: nonsense"),
    ("ext4", "-O journal_dev", "'-O journal_dev'", "it would create jbd instead of ext4"),
    ("ext4", "-E offset=1048576", "'-E offset=1048576'", "it would create no known file system instead of ext4"),
    ("xfs", "-b size=512", "'-b size=512'", "Minimum block size for CRC enabled filesystems is 1024 bytes"),
    ("xfs", "-b size=1024", "'-b size=1024'", "block size 1024 cannot be smaller than sector size 4096"),
    (
        "xfs",
        "-s size=512",
        "'-s size=512'",
        "the sector size of 512 bytes is smaller than that of the device (4096 bytes)",
    ),
    ("xfs", "-l size=2g", "'-l size=2g'", "Invalid value 2g for -l size option. Value is too large"),
    ("xfs", "-d agcount=100000", "'-d agcount=100000'", "agsize (3 blocks) too small, need at least 4096 blocks"),
    (
        "xfs",
        "-d size=10g",
        "'-d size=10g'",
        "size 10g specified for data subvolume is too large, maximum is 262144 blocks",
    ),
    ("xfs", "-m crc=0 -m reflink=1", "'-m crc=0 -m reflink=1'", "reflink not supported without CRC support"),
    ("xfs", "-m speed=1", "'-m speed=1'", "unknown option -m speed=1"),
    ("btrfs", "-n 1000", "'-n 1000'", "illegal nodesize 1000 (smaller than 4096)"),
    ("btrfs", "-s 512", "'-s 512'", "invalid sectorsize 512, expected range is [4K, 64K]"),
    (
        "btrfs",
        "-d raid1",
        "'-d raid1'",
        "unable to create FS with data profile RAID1 (have 1 devices but 2 devices are required)",
    ),
    ("btrfs", "-n 16k --csum speedy", "'--csum speedy'", "unknown csum type speedy"),
    ("btrfs", "-O nonsense", "'-O nonsense'", "unrecognized filesystem feature 'nonsense'"),
    ("btrfs", "-O list-all", "'-O list-all'", "it would create no known file system instead of btrfs"),
    (
        "btrfs",
        "-b 2G",
        "'-b 2G'",
        "the device is smaller than requested size, expected 2147483648, found 1073741824",
    ),
]


def refusal(site: Site, request: pb.CreateVolumeRequest) -> str:
    error = failed(site.client.controller.CreateVolume, request)
    assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
    return str(error.details())


@pytest.mark.parametrize(("fs_type", "options", "named", "reason"), BAD, ids=[f"{row[0]} {row[1]}" for row in BAD])
def test_options_that_cannot_work_are_refused_when_the_volume_is_created(
    site: Site, tmp_path: Path, fs_type: str, options: str, named: str, reason: str
) -> None:
    site.add_loop_files([tmp_path / "files"])
    request = creation(parameters={"mkfsOptions": options}, capability=mount(fs_type))
    assert refusal(site, request) == f"parameters[mkfsOptions]: mkfs.{fs_type} cannot use {named}{ON_FILES}{reason}"
    assert (site.store.page(Volume).records, list((tmp_path / "files").glob("volume-*"))) == ((), [])


def test_the_file_system_may_come_from_the_class_or_be_the_default(site: Site, tmp_path: Path) -> None:
    site.add_loop_files([tmp_path / "files"])
    for parameters, tool in (({}, "mkfs.ext4"), ({"csi.storage.k8s.io/fstype": "btrfs"}, "mkfs.btrfs")):
        request = creation(parameters={"mkfsOptions": "-O nonsense", **parameters}, capability=mount())
        assert f"{tool} cannot use '-O nonsense'" in refusal(site, request)


def test_what_fits_into_a_larger_volume_is_refused_for_a_small_one_only(site: Site, tmp_path: Path) -> None:
    site.add_loop_files([tmp_path / "files"])
    options = {"mkfsOptions": "-l size=1g"}
    request = creation(parameters=options, capability=mount("xfs"))
    assert "for a volume of 1 GiB" in refusal(site, request)
    assert site.create(parameters=options, capability=mount("xfs"), required=8 * GIB).capacity_bytes == 8 * GIB


def test_a_back_end_that_does_not_tell_its_sectors_is_taken_to_have_the_usual_ones(site: Site) -> None:
    site.add_nothing()
    assert site.create("small", parameters={"mkfsOptions": "-b 1024"}, capability=mount("ext4"))
    told = refusal(site, creation(parameters={"mkfsOptions": "-b 512"}))
    assert told.endswith("mkfs.ext4 cannot use '-b 512' for a volume of 1 GiB: invalid block size - 512")


def test_raw_volumes_and_copies_are_created_whatever_mkfs_would_say(site: Site, tmp_path: Path) -> None:
    """Nothing is ever formatted there."""
    site.add_loop_files([tmp_path / "files"])
    parameters = {"mkfsOptions": "-b 1024"}
    assert site.create("raw", parameters=parameters, capability=block())
    source = site.create("source")
    assert site.create("copy", parameters=parameters, clone=source.volume_id)


def test_a_volume_that_exists_is_answered_whatever_mkfs_says_now(site: Site) -> None:
    site.add_nothing()
    options = {"mkfsOptions": "-b 1024"}
    volume = site.create(parameters=options)
    assert site.create(parameters=options) == volume


GOOD = [
    ("ext4", "-b 4096 -i 65536 -m 1 -L 'my disk' -J size=8"),
    ("ext4", "-O ^has_journal -E lazy_itable_init=0,nodiscard"),
    ("ext4", "-O bigalloc -C 65536 -T largefile"),
    ("ext4", "-I 512 -g 16384 -G 8 -N 2000 -U random -v"),
    ("xfs", "-s size=4k -b size=4k -i size=1024,maxpct=10 -L disk"),
    ("xfs", "-l size=100m -d agcount=8 -n size=8192"),
    ("xfs", "-d su=64k,sw=4 -m rmapbt=1,reflink=1"),
    ("btrfs", "-n 32k -s 4096 --csum xxhash -L disk"),
    ("btrfs", "-m single -d single -O ^no-holes"),
    ("btrfs", "--mixed --nodesize 4096"),
]


@pytest.mark.root
@pytest.mark.parametrize(("fs_type", "options"), GOOD, ids=[f"{row[0]} {row[1]}" for row in GOOD])
def test_options_that_can_work_are_accepted_and_the_volume_is_staged_with_them(
    fs_type: str,
    options: str,
    tmp_path: Path,
    driver: object,  # noqa: F811  # the fixture
) -> None:
    machine = Machine(tmp_path, driver, mount(fs_type))  # type: ignore[arg-type]  # a DriverProcess
    volume = machine.create(f"{fs_type} {options}", parameters={"mkfsOptions": options})
    path = machine.attach(volume)
    found = [item for item in mounts.table() if item.target == str(path)]
    assert [item.fs_type for item in found] == [fs_type]
    (path / "file").write_text("used")
    machine.detach(volume)
    machine.delete(volume)


@pytest.mark.root
def test_a_device_with_larger_sectors_than_thought_is_told_in_one_sentence_when_it_is_staged(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("xb") as file:
        file.truncate(GIB)
    device = devices.attach_file(str(tmp_path / "disk"), block_size=4096)
    try:
        with pytest.raises(Exception, match="failed") as refused:
            mkfs.plan(device, "ext4", ("-b", "1024")).carry_out()
    finally:
        devices.detach_file(device, expected=devices.identity(device))
    assert str(refused.value) == (
        f"mkfs.ext4 with the StorageClass's mkfsOptions '-b 1024' on {device} (sectors of 4096 bytes) failed: "
        "Invalid argument while setting blocksize; too small for device"
    )
