from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from csi_cinderlib.errors import HostError, InvalidRequest
from csi_cinderlib.host import commands, devices, kernel_log, mkfs, mounts, mounttable

pytestmark = pytest.mark.root
Loop = Callable[..., str]


def test_a_mount_is_found_with_its_options(target: str) -> None:
    mounts.mount("none", target, "tmpfs", ("size=1m", "noatime", "nr_inodes=100", "nosuid"))
    found = mounts.find(target)
    assert found
    assert found.fs_type == "tmpfs"
    assert {"noatime", "nosuid"} <= set(found.options)
    assert {"size=1024k", "nr_inodes=100"} <= set(found.super_options)


def test_a_path_that_is_no_mount_point_is_not_found(target: str) -> None:
    assert mounts.find(target) is None
    assert mounts.find(target + "/missing") is None


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_an_unknown_option_is_named(fs_type: str, loop: Loop, target: str) -> None:
    device = loop(320)
    mkfs.plan(device, fs_type).carry_out()
    with pytest.raises(InvalidRequest, match=rf"unsupported mount options for {fs_type}: frobnicate, size=many$"):
        mounts.mount(device, target, fs_type, ("noatime", "frobnicate", "size=many"))
    assert mounts.find(target) is None


def test_mounting_a_device_without_a_file_system_is_a_host_error(loop: Loop, target: str) -> None:
    said = r"Invalid argument \(kernel log: EXT4-fs \(loop\d+\): VFS: Can't find ext4 filesystem\)$"
    with pytest.raises(HostError, match=rf"cannot mount /dev/loop\d+ on .* as ext4: {said}"):
        mounts.mount(loop(64), target, "ext4")


def test_a_feature_that_the_kernel_lacks_is_named_in_its_own_words(loop: Loop, target: str) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    commands.run(["debugfs", "-w", "-R", "feature FEATURE_I31", device], timeout=60)
    devices.flush(device)
    with pytest.raises(HostError, match=r"\(kernel log: EXT4-fs \(loop\d+\): .*unsupported optional features"):
        mounts.mount(device, target, "ext4")


def test_a_failed_mount_is_told_without_the_kernel_log_where_that_cannot_be_read(
    loop: Loop, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_log, "KMSG", "/nowhere/kmsg")
    with pytest.raises(HostError, match=r"as ext4: Invalid argument$"):
        mounts.mount(loop(64), target, "ext4")


def test_what_the_kernel_says_of_other_devices_is_not_told(loop: Loop, target: str) -> None:
    other = loop(64)
    with kernel_log.listening(loop(64, "other.img"), "xfs") as logged:
        with pytest.raises(HostError):
            mounts.mount(other, target, "ext4")
        assert logged() == ""


@pytest.mark.skipif(Path("/sys/fs/selinux").exists(), reason="this kernel has SELinux")
def test_a_context_without_selinux_is_refused_by_its_name(loop: Loop, target: str) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    with pytest.raises(InvalidRequest, match="unsupported mount options for ext4: context; SELinux is not enabled"):
        mounts.mount(device, target, "ext4", ('context="system_u:object_r:container_file_t:s0:c1,c2"',))


def test_a_file_system_that_the_kernel_lacks_is_said_so(target: str) -> None:
    with pytest.raises(HostError, match="this kernel does not support "):
        mounts.mount("none", target, "frobfs")


def test_all_layers_are_unmounted_and_again_is_fine(target: str) -> None:
    for _ in range(3):
        mounts.mount("none", target, "tmpfs")
    assert len(mounts.find_all(target)) == 3
    assert mounts.unmount(target) == 3
    assert mounts.unmount(target) == 0
    assert mounts.unmount(target + "/missing") == 0


def test_a_mount_in_use_is_not_unmounted(target: str) -> None:
    mounts.mount("none", target, "tmpfs")
    with (Path(target) / "open").open("w"), pytest.raises(HostError, match="it is in use"):
        mounts.unmount(target)
    assert mounts.find(target)


def test_a_mount_that_is_in_use_for_a_moment_is_unmounted(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts.mount("none", target, "tmpfs")
    waited: list[float] = []
    with (Path(target) / "open").open("w") as file:

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            if sum(waited) > 0.03:
                file.close()

        monkeypatch.setattr(mounts, "time", SimpleNamespace(sleep=sleep))
        assert mounts.unmount(target) == 1
    assert 0.03 < sum(waited) < 0.1, "it is tried again soon"


def test_a_path_that_cannot_be_unmounted_is_a_host_error(target: str) -> None:
    with pytest.raises(HostError, match=r"cannot unmount .*: File name too long"):
        mounts.unmount(f"{target}/{'x' * 300}")


def test_a_mount_that_the_kernel_keeps_is_not_reported_as_unmounted(target: str) -> None:
    """A user namespace cannot take away what was mounted outside."""
    mounts.mount("none", target, "tmpfs")
    code = "import sys; from csi_cinderlib.host import mounts; mounts.unmount(sys.argv[1])"
    namespace = ("unshare", "--user", "--map-root-user", "--mount")
    argv = [*namespace, sys.executable, "-c", code, target]
    said = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert said.stderr.endswith(f"HostError: cannot unmount {target}: the kernel does not release the mount\n")
    assert mounts.unmount(target) == 1


def test_lazily_a_mount_in_use_goes_out_of_sight(target: str) -> None:
    mounts.mount("none", target, "tmpfs")
    with (Path(target) / "open").open("w"):
        assert mounts.unmount(target, lazy=True) == 1
    assert mounts.find(target) is None


def test_a_symbolic_link_in_the_way_is_resolved_but_not_the_last_part(target: str, tmp_path: Path) -> None:
    mounts.mount("none", target, "tmpfs")
    (tmp_path / "way").symlink_to(tmp_path)
    (tmp_path / "last").symlink_to(target)
    assert mounts.find(str(tmp_path / "way" / "target dir"))
    assert mounts.find(str(tmp_path / "last")) is None
    assert mounts.unmount(str(tmp_path / "last")) == 0
    assert mounts.unmount(str(tmp_path / "way" / "target dir")) == 1


def test_a_bound_directory_shows_the_same_files(target: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("here")
    mounts.bind(str(tmp_path / "source"), target)
    assert (Path(target) / "file").read_text() == "here"


@pytest.mark.parametrize("recursive", [False, True])
def test_a_recursive_bind_shows_what_is_mounted_below(target: str, tmp_path: Path, recursive: bool) -> None:
    below = tmp_path / "source" / "below"
    below.mkdir(parents=True)
    mounts.mount("none", str(below), "tmpfs")
    if recursive:
        mounts.bind(str(tmp_path / "source"), target, recursive=True)
    else:
        mounts.bind(str(tmp_path / "source"), target)
    assert (mounts.find(f"{target}/below") is not None) is recursive
    if recursive:
        mounts.unmount(f"{target}/below")
    mounts.unmount(target)
    mounts.unmount(str(below))


@pytest.mark.parametrize(
    "flags", [("nosuid", "nodev"), ("noexec", "noatime"), ("nodiratime", "relatime"), ("nosymfollow",)]
)
def test_a_read_only_bind_refuses_writes_and_keeps_the_sources_flags(
    target: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    mounts.mount("none", str(source), "tmpfs", flags)
    try:
        mounts.bind_with(str(source), target, ("ro",))
        with pytest.raises(OSError, match="Read-only"):
            (Path(target) / "file").touch()
        (source / "file").touch()
        found = mounts.find(target)
        assert found
        assert found.read_only
        assert set(flags) <= set(found.options)
        assert {"nosuid", "nodev", "noexec"} & set(found.options) == {"nosuid", "nodev", "noexec"} & set(flags)
        mounts.unmount(target)
    finally:
        mounts.unmount(str(source))


def test_a_bind_has_options_of_its_own(target: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    mounts.mount("none", str(source), "tmpfs", ("strictatime",))
    try:
        mounts.bind_with(str(source), target, ("noexec", "nodiratime", "nosymfollow"))
        found = mounts.find(target)
        assert found
        assert set(found.options) == {"rw", "noexec", "nodiratime", "nosymfollow"}
        mounts.unmount(target)
    finally:
        mounts.unmount(str(source))


@pytest.mark.parametrize(
    ("shown", "asked", "flags"),
    [
        (("rw", "relatime"), 0, 1 << 21),
        (("ro", "noatime", "nosymfollow"), 8, 1 | 1024 | 256 | 8),
        (("rw", "nodiratime"), 1, 1 | 2048 | 1 << 24),
        (("rw", "noatime"), 1 << 21, 1 << 21),
        (("rw", "relatime"), 16 | 1 << 24, 1 << 24),
    ],
)
def test_a_remount_keeps_what_a_mount_shows_and_adds_what_is_asked_for(
    shown: tuple[str, ...], asked: int, flags: int
) -> None:
    assert mounts.bind_flags(shown, asked) == flags


def test_options_of_the_whole_file_system_are_told_from_those_of_a_mount() -> None:
    given = ("ro,noexec", "sync", "commit=7", "strictatime", "_netdev")
    assert mounts.of_file_system(given) == ("sync", "commit=7")


def test_a_bind_that_cannot_be_made_read_only_is_undone(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(HostError, match="cannot read the mount table"):
        patched.setattr(mounttable, "MOUNTINFO", tmp_path / "missing")
        mounts.bind_with("/etc", target, ("ro",))
    assert mounts.find(target) is None


def test_a_device_node_is_bound_on_a_file(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    file = tmp_path / "volume"
    file.touch()
    mounts.bind(device, str(file))
    assert file.is_block_device()
    assert file.stat().st_rdev == Path(device).stat().st_rdev
    assert [item.target for item in mounts.by_device(device)] == [str(file)]
    assert mounts.unmount(str(file)) == 1
    assert file.is_file()


def test_mounts_of_a_device_are_looked_for_among_those_given(
    loop: Loop, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = loop(64)
    (tmp_path / "tmpfs").symlink_to(device)
    monkeypatch.chdir(tmp_path)  # where the source of a tmpfs is no file, whatever its name
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    here = mounts.find(target)
    assert here
    gone = mounttable.parse_line("36 35 0:49 / /mnt/x rw - btrfs /dev/loop987654 rw")
    without_a_device = mounttable.parse_line("36 35 0:50 / /mnt/y rw - tmpfs tmpfs rw")
    assert mounts.by_device(device, among=(gone, here, without_a_device)) == (here,)
    assert mounts.by_device(device, among=()) == ()
    renamed = replace(here, source="/dev/missing")
    assert mounts.by_device(device, among=(renamed,)) == (renamed,)
    with pytest.raises(HostError, match="cannot list the mounts of /dev/missing"):
        mounts.by_device("/dev/missing")


@pytest.mark.parametrize("fs_type", ["ext4", "btrfs"])
def test_mounts_are_found_by_their_device(fs_type: str, loop: Loop, target: str, tmp_path: Path) -> None:
    device = loop(128)
    other = tmp_path / "other"
    other.mkdir()
    mkfs.plan(device, fs_type).carry_out()
    mounts.mount(device, target, fs_type)
    mounts.bind(target, str(other))
    assert [item.target for item in mounts.by_device(device)] == [target, str(other)]


def test_propagation_to_a_bound_copy_can_be_had_and_refused(target: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    mounts.bind(target, target)
    mounts.set_propagation(target, "shared", recursive=True)
    mounts.bind(target, str(copy))
    inner = Path(target) / "inner"
    inner.mkdir()
    mounts.mount("none", str(inner), "tmpfs")
    found = mounts.find(target)
    assert found
    assert found.shared
    assert mounts.find(str(copy / "inner"))
    mounts.unmount(str(inner))
    assert mounts.find(str(copy / "inner")) is None
    mounts.unmount(str(copy))


def test_propagation_is_set_below_a_mount_only_when_asked(target: str) -> None:
    mounts.bind(target, target)
    (Path(target) / "inner").mkdir()
    mounts.mount("none", f"{target}/inner", "tmpfs")
    mounts.set_propagation(target, "shared")
    alone = mounts.find(f"{target}/inner")
    mounts.set_propagation(target, "shared", recursive=True)
    inner = mounts.find(f"{target}/inner")
    assert alone
    assert inner
    assert (alone.shared, inner.shared) == (False, True)
    mounts.set_propagation(target, "private", recursive=True)
    outer = mounts.find(target)
    assert outer
    assert not outer.shared
    mounts.unmount(f"{target}/inner")
    with pytest.raises(HostError, match="cannot make /missing shared"):
        mounts.set_propagation("/missing", "shared")


def test_binding_what_is_missing_names_both_paths(target: str) -> None:
    with pytest.raises(HostError, match=r"cannot bind-mount /missing on .*No such file"):
        mounts.bind("/missing", target)


def test_root_tests_run_in_a_mount_namespace_of_their_own() -> None:
    mount_namespace = Path("/proc/thread-self/ns/mnt").readlink()
    parents = Path(f"/proc/{os.getppid()}/ns/mnt").readlink()
    assert mount_namespace != parents
    assert not any(item.shared for item in mounts.table())


def test_a_mount_is_dead_when_its_device_is_gone_or_empty(loop: Callable[..., str], target: str) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    here = mounts.find(target)
    assert here
    assert not mounts.is_dead(here)
    for path in ("/proc", "/dev"):
        assert not any(mounts.is_dead(item) for item in mounts.find_all(path))
    assert mounts.is_dead(replace(here, device=os.makedev(7, 987654)))
    mounts.unmount(target)
    devices.detach_file(device, expected=devices.identity(device))
    assert mounts.is_dead(here), "the loop device is there and shows nothing"


def test_a_btrfs_and_a_bound_node_are_dead_when_their_device_is(loop: Loop, target: str, tmp_path: Path) -> None:
    device = loop(128)
    mkfs.plan(device, "btrfs").carry_out()
    mounts.mount(device, target, "btrfs")
    node = tmp_path / "node"
    node.touch()
    mounts.bind(device, str(node))
    found = [mounts.find(target), mounts.find(str(node))]
    assert [item and mounts.is_dead(item) for item in found] == [False, False]
    mounts.unmount(target)
    devices.detach_file(device, expected=devices.identity(device))
    assert [item and mounts.is_dead(item) for item in found] == [True, True]
    mounts.unmount(str(node))


def test_a_dead_btrfs_is_told_by_its_device() -> None:
    line = "36 35 0:49 / /mnt/x rw - btrfs /dev/loop987654 rw"
    assert mounts.is_dead(mounttable.parse_line(line))
