"""The parts that iSCSI tests stand on, each used with nothing of ours in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.inside import iscsi, lvm, multipath, network
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.lio import Target
from tests.guest.inside.shell import CommandFailed, run, settle, wait_until

pytestmark = pytest.mark.guest("iscsi")

IQN = "iqn.2010-10.org.openstack:bed"
CHAP = ("someone", "secret-of-someone")


@pytest.fixture
def volume(group: str) -> Iterator[str]:
    with lvm.logical_volume(group, "bed", "64M") as device:
        yield device


@pytest.fixture
def target(volume: str, initiator: str, addresses: list[str]) -> Iterator[Target]:
    target = Target(IQN, addresses, chap=CHAP)
    try:
        target.map(0, volume, name="bed")
        yield target
    finally:
        target.delete()


def log_in(portal: str, password: str = CHAP[1]) -> None:
    record = ("iscsiadm", "-m", "node", "-T", IQN, "-p", f"{portal}:3260")
    run(*record, "-o", "new")
    values = {"authmethod": "CHAP", "username": CHAP[0], "password": password}
    for name, value in values.items():
        run(*record, "-o", "update", "-n", f"node.session.auth.{name}", "-v", value)
    run(*record, "--login")
    settle()


def log_out() -> None:
    run("iscsiadm", "-m", "node", "-u", ok=(0, 21))
    run("iscsiadm", "-m", "node", "-o", "delete", ok=(0, 21))


def test_chap_lets_the_right_password_in_and_no_other(target: Target) -> None:
    before = Footprint.now()
    with pytest.raises(CommandFailed, match="authorization"):
        log_in(network.address(1), password="wrong-password-1")
    log_in(network.address(1))
    assert iscsi.sessions() == [f"{network.address(1)}:3260 {IQN}"]
    assert Path(iscsi.disk()).is_block_device()
    log_out()
    assert Footprint.now().left_since(before) == {}


def test_a_mounted_file_system_grows_with_its_volume(target: Target, group: str, tmp_path: Path) -> None:
    log_in(network.address(1))
    disk = iscsi.disk()
    run("mkfs.ext4", "-q", disk)
    run("mount", disk, tmp_path)
    run("lvextend", "-qq", "-L", "128M", f"{group}/bed")
    run("iscsiadm", "-m", "session", "-R")
    run("resize2fs", disk)
    assert os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize > 100 << 20
    run("umount", tmp_path)
    log_out()


def flushed(name: str) -> bool:
    run("multipath", "-f", name, ok=(0, 1))
    return name not in multipath.maps()


def test_writing_goes_on_while_one_of_two_paths_is_cut(target: Target, multipathd: None, tmp_path: Path) -> None:
    for number in (1, 2):
        log_in(network.address(number))
    wait_until(multipath.maps, "a map")
    name = multipath.maps().pop()
    wait_until(lambda: multipath.active_paths(name) == 2, "both paths")
    run("mkfs.ext4", "-q", f"/dev/mapper/{name}")
    run("mount", f"/dev/mapper/{name}", tmp_path)
    network.cut(1)
    try:
        run("dd", "if=/dev/zero", f"of={tmp_path}/file", "bs=1M", "count=8", "conv=fsync")
        wait_until(lambda: multipath.active_paths(name) == 1, "the dead path's detection")
    finally:
        network.heal(1)
    wait_until(lambda: multipath.active_paths(name) == 2, "the path's return")
    run("umount", tmp_path)
    wait_until(lambda: flushed(name), "the map's end")  # udev may look at it once more
    log_out()


def test_luks_keeps_what_is_written(target: Target, tmp_path: Path) -> None:
    log_in(network.address(1))
    disk = iscsi.disk()
    key = tmp_path / "key"
    key.write_text("passphrase")
    run("cryptsetup", "luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", disk, key)
    run("cryptsetup", "open", "--key-file", key, disk, "secret")
    run("mkfs.ext4", "-q", "/dev/mapper/secret")
    settle()
    run("cryptsetup", "close", "secret")
    assert "crypto_LUKS" in run("blkid", "-p", "-o", "value", disk)
    log_out()
