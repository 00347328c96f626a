"""Which place a path means, and whose mounts are taken down there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import (
    AlreadyExists,
    DriverError,
    HostError,
    InvalidRequest,
    NotFound,
    OperationPending,
    PreconditionFailed,
)
from csi_cinderlib.host import mounts
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.node import mounted, paths, publishing
from csi_cinderlib.node.paths import Paths
from csi_cinderlib.node.publishing import Publishing
from csi_cinderlib.node.stage_records import StageRecords
from csi_cinderlib.node.staging import Staging
from tests.component.node.bed import BLOCK, EXT4, Node, Volume
from tests.component.node.conftest import assert_nothing_left, mounted_below


@pytest.mark.parametrize("spelling", ["{0}/a/b", "{0}/a/b/", "{0}//a/./b"])
def test_one_place_has_one_name(tmp_path: Path, spelling: str) -> None:
    assert Paths().resolve(spelling.format(tmp_path), "field") == f"{tmp_path}/a/b"
    assert Paths(str(tmp_path)).resolve(spelling.format(tmp_path), "field") == f"{tmp_path}/a/b"


@pytest.mark.parametrize("path", ["relative/path", "", "/", "//", "/a/../b"])
def test_a_path_that_names_no_fixed_place_is_refused(path: str) -> None:
    with pytest.raises(InvalidRequest, match="must be an absolute path without"):
        Paths().resolve(path, "field")
    with pytest.raises((InvalidRequest, NotFound)):
        Paths().locate(path, "volume_path")


def test_the_directory_may_lie_under_a_link_but_no_path_below_it(tmp_path: Path) -> None:
    real, given = tmp_path / "real", tmp_path / "given"
    (real / "pods").mkdir(parents=True)
    given.symlink_to(real)
    (real / "link").symlink_to("pods")
    known = Paths(f"{given}/")
    assert known.resolve(f"{given}/pods/x", "field") == known.resolve(f"{real}/pods/x", "field") == f"{real}/pods/x"
    for path in (f"{given}/link", f"{given}/link/x"):
        with pytest.raises(InvalidRequest, match=r"field: must not contain a symbolic link .*/link\)"):
            known.resolve(path, "field")
    with pytest.raises(InvalidRequest, match=r"with the link .*/given\)"):
        Paths().resolve(f"{given}/pods", "field")


def test_a_path_beside_the_directory_is_refused(tmp_path: Path) -> None:
    for path in (f"{tmp_path}/kubelet-2/x", f"{tmp_path}/kubelet", "/elsewhere"):
        with pytest.raises(InvalidRequest, match=r"must be below .*/kubelet, the setting kubelet_directory"):
            Paths(f"{tmp_path}/kubelet").resolve(path, "field")


@pytest.mark.parametrize(
    ("one", "other", "do"), [("/a/b", "/a/b", True), ("/a", "/a/b", True), ("/a/b", "/a/bc", False)]
)
def test_paths_overlap_when_one_lies_in_the_other(one: str, other: str, do: bool) -> None:
    assert paths.overlap(one, other) is paths.overlap(other, one) is do


@pytest.mark.parametrize(
    ("target", "note"),
    [
        ("pods/uid/volumes/kubernetes.io~csi/pv/mount", "pods/uid/volumes/kubernetes.io~csi/pv/vol_data.json"),
        ("csi/volumeDevices/publish/pv/uid", "csi/volumeDevices/pv/data/vol_data.json"),
    ],
)
def test_the_kubelets_note_names_the_volume_of_a_target(tmp_path: Path, target: str, note: str) -> None:
    path = tmp_path / note
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", "{}", json.dumps({"volumeHandle": "other"})):
        path.write_text(text)
        assert not paths.is_noted_by_kubelet(str(tmp_path / target), "vol")
    path.write_text(json.dumps({"volumeHandle": "vol"}))
    assert paths.is_noted_by_kubelet(str(tmp_path / target), "vol")
    path.unlink()
    assert not paths.is_noted_by_kubelet(str(tmp_path / target), "vol")


CALLS: dict[str, Callable[[Node, str], object]] = {
    "stage": lambda node, path: node.stage(node.volume(), path=path),
    "unstage": lambda node, path: node.staging.unstage("vol", path),
    "publish": lambda node, path: node.publish(node.volume(), target=path),
    "unpublish": lambda node, path: node.unpublish(node.volume(), path),
    "stats": lambda node, path: node.stats(node.volume(), path),
    "expand": lambda node, path: node.expand(node.volume(), path),
}


@pytest.mark.root
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("inside", ["", "/inside"])
def test_no_call_works_through_a_link(node: Node, call: str, inside: str) -> None:
    node.stage(node.volume())
    foreign = node.base / "foreign"
    (foreign / "inside").mkdir(parents=True)
    mounts.mount("tmpfs", f"{foreign}{inside}", "tmpfs")
    (node.base / "link").symlink_to(foreign)
    before = mounted_below(node.base)
    with pytest.raises(InvalidRequest, match=r"with the link .*/link\)"):
        CALLS[call](node, f"{node.base}/link{inside}")
    assert mounted_below(node.base) == before


@pytest.mark.root
def test_every_call_takes_a_path_with_a_slash_at_its_end(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, path=f"{node.staging_path(volume)}/")
    node.stage(volume)
    target = node.publish(volume, target=f"{node.target()}/")
    assert node.publish(volume)
    assert node.stats(volume, target).usage
    node.expand(volume, target)
    node.unpublish(volume)
    node.staging.unstage("vol", f"{node.staging_path(volume)}//")
    assert_nothing_left(node.base)


@pytest.mark.root
@pytest.mark.parametrize("call", ["stage", "unstage", "publish", "unpublish"])
def test_a_path_that_another_call_works_at_is_busy(node: Node, call: str) -> None:
    node.stage(node.volume())
    path = f"{node.base}/shared"
    with node.locks.hold(mounted.path_key(path)), pytest.raises(OperationPending):
        CALLS[call](node, path)


@pytest.mark.root
def test_a_target_inside_the_staged_file_system_is_refused(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    with pytest.raises(InvalidRequest, match="must not overlap the staging path"):
        node.publish(volume, target=f"{staged}/inside")
    assert not Path(staged, "inside").exists()


@pytest.mark.root
@pytest.mark.parametrize("noted", [False, True])
def test_unpublish_of_an_unknown_volume_keeps_a_foreign_mount(node: Node, noted: bool) -> None:
    volume, target = node.volume(), Path(node.target())
    target.mkdir()
    for source in ("first", "second", "third"):
        mounts.mount(source, str(target), "tmpfs")
    if noted:
        node.note(volume)
    with pytest.raises(PreconditionFailed, match=r"volume vol: cannot unmount .*: tmpfs from third is mounted there"):
        node.unpublish(volume)
    assert [item.source for item in mounts.find_all(str(target))] == ["first", "second", "third"]


@pytest.mark.root
def test_unpublish_of_an_unknown_volume_keeps_a_foreign_disk(node: Node) -> None:
    staged = node.stage(node.volume("other"))
    node.records.remove("other")
    with pytest.raises(PreconditionFailed, match=r"cannot unmount .*: ext4 from /dev/loop"):
        node.unpublish(node.volume(), staged)
    assert mounted_below(node.base) == [staged]


@pytest.mark.root
def test_unpublish_of_an_unknown_volume_keeps_a_directory_of_another_disk(node: Node) -> None:
    staged, target = Path(node.stage(node.volume("other"))), Path(node.target())
    node.records.remove("other")
    for path in (staged / "inside", target):
        path.mkdir()
    mounts.bind(str(staged / "inside"), str(target))
    node.note(node.volume())
    with pytest.raises(PreconditionFailed, match=r"cannot unmount .*: ext4 from /dev/loop"):
        node.unpublish(node.volume())
    assert str(target) in mounted_below(node.base)


@pytest.mark.root
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_unpublish_removes_only_a_target_of_the_volume(node: Node, kind: str) -> None:
    volume, target = node.volume(), Path(node.target())
    if kind == "directory":
        target.mkdir()
    else:
        target.touch()
    node.unpublish(volume)
    assert target.exists()
    node.note(volume)
    node.unpublish(node.volume("other"))
    assert target.exists()
    node.unpublish(volume)
    assert not target.exists()


@pytest.mark.root
def test_a_foreign_mount_on_top_of_a_target_stays_and_keeps_the_volume_published(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume)
    mounts.mount("foreign", target, "tmpfs")
    with pytest.raises(PreconditionFailed, match="tmpfs from foreign"):
        node.unpublish(volume)
    assert [item.fs_type for item in mounts.find_all(target)] == ["ext4", "tmpfs"]
    mounts.unmount_uppermost(target)
    node.unpublish(volume)
    assert not Path(target).exists()


@pytest.mark.root
def test_nothing_is_unmounted_outside_the_kubelets_directory(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume)
    elsewhere = Publishing(node.records, KeyedLocks(), Paths(str(node.base / "kubelet")))
    with pytest.raises(InvalidRequest, match="kubelet_directory"):
        elsewhere.unpublish(volume.id, target)
    assert target in mounted_below(node.base)


@pytest.mark.root
@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_a_target_that_holds_something_is_refused_and_can_be_unpublished(node: Node, capability: object) -> None:
    volume, target = node.volume(), Path(node.target())
    block = capability is BLOCK
    node.stage(volume, BLOCK if block else EXT4)
    if block:
        target.write_text("data")
    else:
        target.mkdir()
        (target / "f").write_text("data")
    with pytest.raises(DriverError, match="exists and is not an empty"):
        node.publish(volume, BLOCK if block else EXT4)
    node.unpublish(volume)
    assert (target if block else target / "f").read_text() == "data"


@pytest.mark.root
def test_a_volume_that_an_earlier_version_staged_under_a_link_is_unpublished_and_unstaged(
    node: Node, tmp_path: Path
) -> None:
    """It recorded paths as they were given. The kubelet's directory lies under a link, and the program was upgraded meanwhile."""
    volume, target = node.volume(), node.target()
    node.stage(volume)
    node.publish(volume)
    link = tmp_path.parent / f"{tmp_path.name}-kubelet"
    link.symlink_to(tmp_path)
    file = next((tmp_path / "state" / "stage").glob("*.json"))
    file.write_text(
        file.read_text().replace(f"{tmp_path}/staging", f"{link}/staging").replace(target, f"{link}/pods/pod1/mount")
    )
    names = Paths(str(link))
    records = StageRecords(tmp_path / "state", names)
    staging = Staging(records, node.initiator, node.sealer, KeyedLocks(), names)
    Publishing(records, KeyedLocks(), names).unpublish(volume.id, f"{link}/pods/pod1/mount")
    staging.unstage(volume.id, f"{link}/staging/{volume.id}")
    link.unlink()
    assert_nothing_left(node.base)


@pytest.mark.root
@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_a_link_that_comes_after_the_look_leads_no_publication_astray(
    node: Node, capability: Capability, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody swaps the pod's directory for a link while the volume is published."""
    volume, target, foreign = node.volume(), Path(node.target()), node.base / "foreign"
    node.stage(volume, capability)
    (foreign / "mount").mkdir(parents=True)
    before = mounted_below(node.base)

    def swap(point: str) -> None:
        if point == "node-publish.target-made":
            target.parent.rename(target.parent.with_name("aside"))
            target.parent.symlink_to(foreign)

    monkeypatch.setattr(publishing, "reach", swap)
    with pytest.raises(DriverError, match="Too many levels of symbolic links"):
        node.publish(volume, capability)
    assert mounted_below(node.base) == before
    assert [path.name for path in foreign.iterdir()] == ["mount"]
    assert list((foreign / "mount").iterdir()) == []


@pytest.mark.root
def test_a_staging_path_that_becomes_a_link_is_not_shown_to_a_pod(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, foreign = node.volume(), node.base / "foreign"
    (foreign / "vol").mkdir(parents=True)
    node.stage(volume)
    staging = node.base / "staging"

    def swap(point: str) -> None:
        if point == "node-publish.target-made":
            staging.rename(node.base / "aside")
            staging.symlink_to(foreign)

    with monkeypatch.context() as patch, pytest.raises(HostError, match="Too many levels of symbolic links"):
        patch.setattr(publishing, "reach", swap)
        node.publish(volume)
    staging.unlink()
    (node.base / "aside").rename(staging)
    assert not Path(node.target()).exists()
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.root
def test_two_volumes_at_one_path_at_once_end_with_one_of_them(node: Node) -> None:
    volumes = [node.volume(name) for name in ("one", "two")]
    for volume in volumes:
        node.stage(volume)
    target = node.target()

    def publish(volume: Volume) -> str:
        try:
            node.publish(volume, target=target)
        except (OperationPending, AlreadyExists, PreconditionFailed) as error:
            return type(error).__name__
        return volume.id

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(publish, volumes))
    winners = [volume for volume in volumes if volume.id in ended]
    assert len(winners) == 1, ended
    shown = mounts.find_all(target)
    record = node.records.find(winners[0].id)
    assert record
    assert record.device
    assert [item.source for item in shown] == [record.device.path]
    loser = next(volume for volume in volumes if volume not in winners)
    node.unpublish(loser, target)
    assert [item.source for item in mounts.find_all(target)] == [record.device.path]
    node.unpublish(winners[0], target)
    for volume in volumes:
        node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.root
def test_a_volume_is_not_staged_where_something_else_is_mounted(node: Node) -> None:
    volume = node.volume()
    path = node.staging_path(volume)
    mounts.mount("foreign", path, "tmpfs")
    with pytest.raises(AlreadyExists, match="another mount is there"):
        node.stage(volume, path=path)
    with contextlib.suppress(PreconditionFailed):
        node.unstage(volume)
    assert [item.source for item in mounts.find_all(path)] == ["foreign"]


@pytest.mark.root
def test_unstage_of_an_unknown_volume_keeps_what_is_mounted_there(node: Node) -> None:
    path = node.stage(node.volume("other"))
    with pytest.raises(PreconditionFailed, match=r"volume vol: .* no stage record of the volume there; not unmounted"):
        node.staging.unstage("vol", f"{path}/")
    assert mounted_below(node.base) == [path]
