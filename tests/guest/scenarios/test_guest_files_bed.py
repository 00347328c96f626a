"""NFS, RBD and failing devices, each used with nothing of ours in between."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.inside import ceph as ceph_cluster
from tests.guest.inside import faults
from tests.guest.inside.shell import CommandFailed, modprobe, run, settle

pytestmark = pytest.mark.guest("files")


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    modprobe("loop")
    image = tmp_path / "image"
    image.touch()
    run("truncate", "-s", "64M", image)
    device = run("losetup", "--find", "--show", image).strip()
    yield device
    run("losetup", "--detach", device)


def readable(device: str, *, skip: int = 0) -> bool:
    try:
        run("dd", f"if={device}", "of=/dev/null", "bs=1M", "count=1", f"skip={skip}", "iflag=direct")
    except CommandFailed:
        return False
    return True


def test_a_mapped_device_fails_on_demand_and_heals(loop: str) -> None:
    with faults.faulty("faulty", loop) as device:
        assert readable(device.path)
        device.fail_all()
        assert not readable(device.path)
        device.fail_tail()
        assert readable(device.path)
        assert not readable(device.path, skip=63)
        device.fail_head()
        assert not readable(device.path)
        assert readable(device.path, skip=63)
        device.heal()
        assert readable(device.path)


def test_a_device_can_refuse_writes_only(loop: str) -> None:
    with faults.faulty("faulty", loop) as device:
        device.fail_writes()
        assert readable(device.path)
        with pytest.raises(CommandFailed, match="Input/output error"):
            run("dd", "if=/dev/zero", f"of={device.path}", "bs=4096", "count=1", "oflag=direct")


def test_the_kernels_debug_disk_comes_and_goes() -> None:
    with faults.debug_disk() as disk:
        assert readable(disk)
    settle()
    assert not Path(disk).exists()


def test_nfs_stores_and_locks(nfs_share: str, tmp_path: Path) -> None:
    run("mount", "-t", "nfs", "-o", "vers=4.2", nfs_share, tmp_path)
    try:
        (tmp_path / "file").write_text("over NFS")
        assert run("flock", tmp_path / "file", "cat", tmp_path / "file") == "over NFS"
    finally:
        run("umount", tmp_path)


def test_the_kernel_maps_an_rbd_image(ceph: ceph_cluster.Ceph) -> None:
    modprobe("rbd")
    ceph.run("rbd", "create", "--size", "64M", "bed")
    device = ceph.run("rbd", "map", "bed", "-o", "noshare").strip()
    try:
        run("mkfs.ext4", "-q", device)
        assert "ext4" in run("blkid", "-p", "-o", "value", device)
    finally:
        settle()
        ceph.run("rbd", "unmap", device)
        ceph.run("rbd", "rm", "--no-progress", "bed")


def test_the_manager_reports_capacity(ceph: ceph_cluster.Ceph) -> None:
    assert '"total_bytes"' in ceph.run("ceph", "df", "--format", "json")


def test_librbd_works_in_this_python(ceph: ceph_cluster.Ceph, tmp_path: Path) -> None:
    ceph_cluster.python_bindings(tmp_path / "bindings")
    rados, rbd = importlib.import_module("rados"), importlib.import_module("rbd")
    with rados.Rados(conffile=str(ceph.config)) as connection, connection.open_ioctx(ceph.pool) as pool:
        assert rbd.RBD().list(pool) == []
