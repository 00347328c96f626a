"""What is unmounted is what was seen a moment ago: other programs mount and unmount meanwhile, and umount2 takes what a path leads to."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import mounts
from csi_cinderlib.host.mounts import Mount
from csi_cinderlib.host.mounttable import parse_line

pytestmark = pytest.mark.root


def look(path: str) -> Mount:
    found = mounts.find(path)
    assert found
    return found


def sources(path: str) -> list[str]:
    return [item.source for item in mounts.find_all(path)]


def test_one_layer_is_unmounted_at_a_time(target: str) -> None:
    mounts.mount("first", target, "tmpfs")
    mounts.mount("second", target, "tmpfs")
    mounts.unmount_uppermost(target)
    assert sources(target) == ["first"]
    mounts.unmount_uppermost(target)
    with pytest.raises(HostError, match="cannot unmount"):
        mounts.unmount_uppermost(target)


def test_the_answer_is_the_table_without_what_was_unmounted(target: str) -> None:
    for source in ("first", "second"):
        mounts.mount(source, target, "tmpfs")
    table = mounts.unmount_uppermost(target, seen=look(target))
    assert table == mounts.table()
    assert mounts.unmount_uppermost(target, seen=mounts.uppermost(target, table)) == mounts.table()
    assert sources(target) == []


def test_what_was_mounted_on_top_since_the_look_stays(target: str) -> None:
    mounts.mount("ours", target, "tmpfs")
    seen = look(target)
    mounts.mount("theirs", target, "tmpfs")
    said = f"cannot unmount {target}: tmpfs from theirs is now mounted there, expected tmpfs from ours; try again"
    with pytest.raises(HostError, match=f"^{said}$"):
        mounts.unmount_uppermost(target, seen=seen)
    assert sources(target) == ["ours", "theirs"]


def test_what_took_the_place_of_what_was_seen_stays_although_it_has_its_id(target: str) -> None:
    mounts.mount("ours", target, "tmpfs")
    seen = look(target)
    mounts.unmount(target)
    mounts.mount("theirs", target, "tmpfs")
    for item in (seen, replace(seen, id=look(target).id)):  # the kernel gives the lowest free id
        with pytest.raises(HostError, match="tmpfs from theirs is now mounted there, expected tmpfs from ours"):
            mounts.unmount_uppermost(target, seen=item)
    assert sources(target) == ["theirs"]


def test_what_is_no_longer_mounted_is_not_unmounted_again(target: str) -> None:
    mounts.mount("ours", target, "tmpfs")
    seen = look(target)
    mounts.unmount(target)
    with pytest.raises(HostError, match="nothing is mounted there any more, expected tmpfs from ours"):
        mounts.unmount_uppermost(target, seen=seen)


def test_a_mount_whose_options_changed_since_the_look_is_the_same(target: str) -> None:
    mounts.mount("ours", target, "tmpfs")
    seen = look(target)
    mounts.set_propagation(target, "shared")
    assert look(target) != seen
    mounts.unmount_uppermost(target, seen=seen)
    assert sources(target) == []


def test_what_was_mounted_above_the_path_since_the_look_is_named_and_stays(target: str) -> None:
    inner = Path(target) / "inner"
    inner.mkdir()
    mounts.mount("ours", str(inner), "tmpfs")
    seen = look(str(inner))
    mounts.mount("theirs", target, "tmpfs")
    said = f"{inner} is hidden: tmpfs from theirs is mounted over it at {target}; unmount that first"
    with pytest.raises(HostError, match=said):
        mounts.unmount_uppermost(str(inner), seen=seen)
    assert sources(target) == ["theirs"]
    mounts.unmount(target)
    mounts.unmount_uppermost(str(inner), seen=seen)


@pytest.mark.parametrize("above", [False, True])
def test_a_mount_that_came_after_the_look_covers_what_was_seen(target: str, above: bool) -> None:
    """It is in no table that was read before it."""
    inner = Path(target) / "inner"
    inner.mkdir()
    mounts.mount("ours", str(inner), "tmpfs")
    table = mounts.table()
    seen = mounts.uppermost(str(inner), table)
    assert seen
    assert mounts.cover_of(seen, among=table) is None
    mounts.mount("theirs", target if above else str(inner), "tmpfs")
    cover = mounts.cover_of(seen, among=table)
    assert cover
    assert cover.source == "theirs"
    mounts.unmount_uppermost(cover.target)
    assert mounts.cover_of(seen, among=table) is None
    mounts.unmount(str(inner))


def bound_on_itself(base: str) -> str:
    """A directory of a shared mount that is bound on itself, as some programs do it with the kubelet's; what is mounted in it comes twice."""
    mounts.mount("base", base, "tmpfs")
    mounts.set_propagation(base, "shared")
    inner = Path(base) / "kubelet"
    (inner / "volume").mkdir(parents=True)
    mounts.bind(str(inner), str(inner))
    return str(inner / "volume")


@pytest.fixture
def twice(target: str) -> Iterator[str]:
    path = bound_on_itself(target)
    yield path
    for one in (path, str(Path(path).parent)):
        mounts.unmount(one)


def test_a_copy_of_a_mount_hides_nothing_and_goes_with_it(twice: str) -> None:
    mounts.mount("ours", twice, "tmpfs")
    assert sources(twice) == ["ours", "ours"]
    seen = look(twice)
    assert mounts.cover_of(seen) is None
    assert mounts.unmount_uppermost(twice, seen=seen) == mounts.table()
    assert sources(twice) == []


def test_layers_that_come_twice_are_unmounted_from_the_newest_on(twice: str) -> None:
    for source in ("first", "second"):
        mounts.mount(source, twice, "tmpfs")
    table = mounts.table()
    unmounted = []
    while here := mounts.uppermost(twice, table):
        table = mounts.unmount_uppermost(twice, seen=here)
        unmounted.append(here.source)
        assert sources(twice).count("first") == (0 if here.source == "first" else 2)
    assert unmounted == ["second", "first"]


@contextmanager
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_mount_cannot_be_verified_without_file_descriptors(target: str) -> None:
    mounts.mount("ours", target, "tmpfs")
    seen = look(target)
    mounts.mount("theirs", target, "tmpfs")
    with (
        no_more_files(),
        pytest.raises(HostError, match=f"cannot determine the mount at {target}: Too many open files"),
    ):
        mounts.cover_of(seen, among=(seen,))


def test_without_file_descriptors_no_device_is_taken_for_gone(loop: Callable[..., str]) -> None:
    item = replace(parse_line(LINE), device=Path(loop()).stat().st_rdev)
    assert not mounts.is_dead(item)
    with no_more_files(), pytest.raises(HostError, match="cannot find the device of /mnt: Too many open files"):
        mounts.is_dead(item)


LINE = "36 35 8:16 /part /mnt rw,noatime shared:1 - ext4 /dev/sdb rw,errors=continue"


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        (LINE, True),
        (LINE.replace("rw,", "ro,"), True),
        (LINE.replace("shared:1 ", ""), True),
        (LINE.replace(" 35 ", " 34 "), True),
        (LINE.replace("36 ", "37 "), False),
        (LINE.replace("8:16", "8:32"), False),
        (LINE.replace("/part", "/"), False),
        (LINE.replace("/mnt", "/other"), False),
        (LINE.replace("ext4", "xfs"), False),
        (LINE.replace("/dev/sdb", "/dev/sdc"), False),
    ],
)
def test_a_mount_is_the_same_when_all_but_its_options_and_its_parent_are(changed: str, is_same: bool) -> None:
    assert parse_line(LINE).is_same(parse_line(changed)) is is_same
    assert not parse_line(LINE).is_same(None)
