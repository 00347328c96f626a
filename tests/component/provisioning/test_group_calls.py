"""CreateVolumeGroupSnapshot, DeleteVolumeGroupSnapshot, GetVolumeGroupSnapshot, on loop files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    InUse,
    InvalidRequest,
    NotFound,
    OperationPending,
    Unsupported,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.answers import GroupSnapshotState
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.provisioning.groups import Groups

from .conftest import Site, driver_of

LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


@pytest.fixture
def disks(empty_site: Site, files: Path) -> Site:
    """A site on loop files, whose driver takes group snapshots."""
    settings = BackendSettings(name="files", driver=LOOPFILE, options={"loopfile_directories": str(files)})
    backend = LocalBackend(settings, store=empty_site.store, runtime=empty_site.runtime, owner="here")
    empty_site.backends.add(backend)
    backend.start()
    return empty_site


@pytest.fixture
def groups(disks: Site) -> Groups:
    return Groups(disks.store, disks.backends, disks.locks, ids=disks.ids)


@pytest.fixture
def volumes(disks: Site) -> list[Volume]:
    return [disks.create(name) for name in "ab"]


@pytest.fixture
def taken(groups: Groups, volumes: list[Volume]) -> GroupSnapshotState:
    return groups.create("together", [volume.id for volume in volumes], {})


def count(site: Site, files: Path) -> tuple[int, int, int, int]:
    """Snapshots, group snapshots and groups in the store, and files of snapshots."""
    kinds: tuple[Any, ...] = (Snapshot, GroupSnapshot, Group)
    stored = [len(site.store.page(kind, where={}).records) for kind in kinds]
    return stored[0], stored[1], stored[2], len(list(files.glob("snapshot-*")))


def test_each_volume_gets_a_member_and_the_same_again_is_the_same(
    disks: Site, groups: Groups, volumes: list[Volume], taken: GroupSnapshotState, files: Path
) -> None:
    assert taken.record.status is Status.AVAILABLE
    assert {one.volume_id for one in taken.members} == {volume.id for volume in volumes}
    assert {one.status for one in taken.members} == {Status.AVAILABLE}
    again = groups.create("together", [volume.id for volume in reversed(volumes)], {})
    assert again == taken
    assert groups.get(taken.record.id, []).record == taken.record
    assert count(disks, files)[0::3] == (2, 2)


def test_a_volume_is_restored_from_a_member(disks: Site, taken: GroupSnapshotState) -> None:
    source = Source(SourceKind.SNAPSHOT, taken.members[0].id)
    assert disks.create("restored", source=source).source == source


def test_delete_takes_all_members_along_and_is_fine_again(
    disks: Site, groups: Groups, taken: GroupSnapshotState, files: Path
) -> None:
    with pytest.raises(InvalidRequest, match="member of group snapshot"):
        disks.snapshots.delete(taken.members[0].id)
    for _ in range(2):
        groups.delete(taken.record.id, [one.id for one in taken.members])
    assert count(disks, files) == (0, 0, 0, 0)
    with pytest.raises(NotFound):
        groups.get(taken.record.id, [])


def test_a_list_that_is_not_the_members_is_refused(groups: Groups, taken: GroupSnapshotState) -> None:
    for wrong in ([taken.members[0].id], ["else"], [*(one.id for one in taken.members), "else"]):
        with pytest.raises(InvalidRequest, match="snapshot_ids"):
            groups.get(taken.record.id, wrong)
        with pytest.raises(InvalidRequest, match="snapshot_ids"):
            groups.delete(taken.record.id, wrong)


def test_the_name_of_other_volumes_is_taken(groups: Groups, volumes: list[Volume], taken: GroupSnapshotState) -> None:
    with pytest.raises(AlreadyExists):
        groups.create("together", [volumes[0].id], {})


def test_a_volume_that_does_not_exist_is_named_and_nothing_is_left(
    disks: Site, groups: Groups, volumes: list[Volume], files: Path
) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        groups.create("together", [volumes[0].id, "nowhere"], {})
    assert count(disks, files) == (0, 0, 0, 0)


def test_volumes_of_several_back_ends_have_no_common_moment(disks: Site, groups: Groups, volumes: list[Volume]) -> None:
    disks.add_backend("other")
    elsewhere = disks.create("c", parameters={"backend": "other"})
    with pytest.raises(InvalidRequest, match="are on different back ends"):
        groups.create("together", [volumes[0].id, elsewhere.id], {})


def test_a_back_end_that_cannot_do_it_at_one_moment_says_so(disks: Site, groups: Groups, files: Path) -> None:
    disks.add_backend("other")
    elsewhere = disks.create("c", parameters={"backend": "other"})
    with pytest.raises(Unsupported, match="'other'"):
        groups.create("together", [elsewhere.id], {})
    assert count(disks, files) == (0, 0, 0, 0)


def test_a_failure_takes_back_all_members(disks: Site, groups: Groups, volumes: list[Volume], files: Path) -> None:
    (files / f"volume-{volumes[1].id}").rename(files / "away")
    with pytest.raises(BackendError):
        groups.create("together", [volume.id for volume in volumes], {})
    assert count(disks, files) == (0, 0, 0, 0)
    (files / "away").rename(files / f"volume-{volumes[1].id}")
    assert groups.create("together", [volume.id for volume in volumes], {}).record.status is Status.AVAILABLE


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.DELETING])
def test_one_that_died_in_the_middle_is_taken_anew(
    disks: Site, groups: Groups, volumes: list[Volume], taken: GroupSnapshotState, files: Path, status: Status
) -> None:
    disks.store.replace(replace(taken.record, status=status, owner="gone"))
    again = groups.create("together", [volume.id for volume in volumes], {})
    assert (again.record.id, again.record.status, len(again.members)) == (taken.record.id, Status.AVAILABLE, 2)
    groups.delete(taken.record.id, [])
    assert count(disks, files) == (0, 0, 0, 0)


def test_one_that_died_before_all_members_were_written_down_is_taken_anew(
    disks: Site, groups: Groups, volumes: list[Volume], taken: GroupSnapshotState, files: Path
) -> None:
    disks.store.remove(taken.members[0])
    disks.store.replace(replace(taken.record, status=Status.CREATING, owner="gone"))
    (files / f"snapshot-{taken.members[0].id}").unlink()
    (files / f"snapshot-{taken.members[1].id}").unlink()
    disks.store.remove(disks.store.get(Group, taken.record.group_id))
    again = groups.create("together", [volume.id for volume in volumes], {})
    assert (again.record.status, len(again.members)) == (Status.AVAILABLE, 2)


def test_a_member_that_is_in_use_keeps_the_record_until_all_members_are_deleted(
    disks: Site, groups: Groups, taken: GroupSnapshotState, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cinder import exception

    def busy(*_arguments: Any) -> None:
        raise exception.SnapshotIsBusy(snapshot_name="one")

    with monkeypatch.context() as patched:
        patched.setattr(driver_of(disks, "files"), "delete_group_snapshot", busy)
        with pytest.raises(InUse):
            groups.delete(taken.record.id, [])
    assert groups.get(taken.record.id, []).record.status is Status.DELETING
    disks.orphans.settle()
    with pytest.raises(NotFound):
        groups.get(taken.record.id, [])


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING])
def test_one_that_nobody_asks_for_any_more_is_removed(
    disks: Site, taken: GroupSnapshotState, files: Path, status: Status
) -> None:
    disks.store.replace(replace(taken.record, status=status, owner="gone", created_at="2020-01-01T00:00:00.000000Z"))
    assert [(settled.orphan.kind, settled.error) for settled in disks.orphans.settle()] == [("group snapshot", "")]
    assert count(disks, files) == (0, 0, 0, 0)


def test_of_two_group_snapshots_that_share_a_volume_one_waits(
    disks: Site, groups: Groups, volumes: list[Volume]
) -> None:
    with disks.locks.hold(f"grouping of volume {volumes[0].id}"), pytest.raises(OperationPending):
        groups.create("together", [volume.id for volume in volumes], {})
