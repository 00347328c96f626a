"""Group snapshots: what is asked for, compared and refused before a back end hears of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_cinderlib.errors import (
    AlreadyExists,
    BackendUnavailable,
    InvalidRequest,
    NotFound,
    OperationPending,
    PreconditionFailed,
)
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.provisioning import locking
from csi_cinderlib.provisioning.comparison import check_same_group_snapshot
from csi_cinderlib.provisioning.groups import Groups, check_members, member

from .conftest import Site

RECORD = GroupSnapshot(
    id="g",
    name="together",
    backend="array",
    volume_ids=("a", "b"),
    snapshot_ids=("s", "t"),
    parameters={"tier": "1"},
    created_at="2026-05-01T00:00:00.000000Z",
)


def test_a_member_is_named_after_the_group_and_the_volume() -> None:
    volume = Volume(id="v", name="pvc-1", backend="array", size=GiB(3))
    assert member("s", RECORD, volume) == Snapshot(
        id="s",
        name="together/pvc-1",
        backend="array",
        volume_id="v",
        size=GiB(3),
        group_snapshot_id="g",
        created_at=RECORD.created_at,
    )


def test_the_same_in_another_order_is_the_same() -> None:
    check_same_group_snapshot(RECORD, replace(RECORD, volume_ids=("b", "a")))
    check_members(RECORD, ["t", "s"])
    check_members(RECORD, [])


@pytest.mark.parametrize(
    ("wanted", "differs"),
    [
        (replace(RECORD, volume_ids=("a",)), "it is a snapshot of volumes a, b"),
        (replace(RECORD, volume_ids=("a", "b", "c")), "it is a snapshot of volumes a, b"),
        (replace(RECORD, parameters={"tier": "2"}), "parameters differ in .*tier"),
    ],
)
def test_what_differs_is_named(wanted: GroupSnapshot, differs: str) -> None:
    with pytest.raises(AlreadyExists, match=f"group snapshot 'together'.*{differs}"):
        check_same_group_snapshot(RECORD, wanted)


@pytest.mark.parametrize("given", [["s"], ["s", "t", "u"], ["s", "u"]])
def test_other_members_are_refused(given: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="snapshot_ids: must be exactly the members of group snapshot 'g'"):
        check_members(RECORD, given)


@pytest.fixture
def driver(site: Site) -> Any:
    return site.add_backend("groups", driver="tests.support.fakes.nothing.GroupDriver")


@pytest.fixture
def groups(site: Site, driver: Any) -> Groups:
    return site.groups


@pytest.fixture
def volume(site: Site, driver: Any) -> Volume:
    return site.create(parameters={"backend": "groups"})


def test_a_group_snapshot_is_as_it_was_asked_for(site: Site, volume: Volume) -> None:
    site.clock = lambda: datetime(2026, 5, 1, 12, tzinfo=UTC)
    groups = site.groups
    state = groups.create("together", [volume.id, volume.id], {"tier": "1"})
    record = state.record
    (taken,) = state.members
    assert record == GroupSnapshot(
        id=site.ids.group_snapshot_id("together"),
        name="together",
        backend="groups",
        group_id=record.group_id,
        snapshot_ids=(taken.id,),
        volume_ids=(volume.id,),
        status=Status.AVAILABLE,
        parameters={"tier": "1"},
        created_at="2026-05-01T12:00:00.000000Z",
        revision=record.revision,
    )
    assert (taken.volume_id, taken.size, taken.created_at) == (volume.id, volume.size, record.created_at)
    assert groups.get(record.id, [taken.id]) == state
    site.backends.get("groups").stop()
    assert groups.create("together", [volume.id], {"tier": "1"}) == state, (
        "what exists is answered without its back end"
    )
    with pytest.raises(AlreadyExists, match="parameters differ"):
        groups.create("together", [volume.id], {"tier": "2"})


@pytest.mark.parametrize(
    ("status", "error", "problem"),
    [
        (Status.CREATING, OperationPending, "is creating"),
        (Status.EXTENDING, OperationPending, "is extending"),
        (Status.DELETING, NotFound, "is being deleted"),
        (Status.ERROR, PreconditionFailed, "is error: it broke"),
    ],
)
def test_only_whole_volumes_are_snapshotted(
    site: Site, groups: Groups, volume: Volume, status: Status, error: type[Exception], problem: str
) -> None:
    site.store.replace(replace(volume, status=status, message="it broke"))
    with pytest.raises(error, match=f"volume '{volume.id}' {problem}"):
        groups.create("together", [volume.id], {})
    assert site.store.page(GroupSnapshot, where={}).records == ()


@pytest.mark.parametrize("resumed", [False, True])
def test_no_final_answer_while_a_group_snapshot_is_left_to_clean_up(
    site: Site, groups: Groups, driver: Any, volume: Volume, resumed: bool
) -> None:
    if resumed:
        made = groups.create("together", [volume.id], {}).record
        site.store.replace(replace(made, status=Status.ERROR))

    def fail(*_arguments: Any) -> Any:
        raise RuntimeError("stuck")

    driver.create_group_snapshot = driver.delete_group_snapshot = fail
    with pytest.raises(BackendUnavailable, match=r"stuck \(a retry cleans up first\)"):
        groups.create("together", [volume.id], {})
    (left,) = site.store.page(GroupSnapshot, where={}).records
    assert left.status is Status.ERROR


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.DELETING])
def test_an_interrupted_group_snapshot_is_not_taken_anew_while_a_member_is_read(
    site: Site, groups: Groups, driver: Any, volume: Volume, status: Status
) -> None:
    """A volume may be being made from the member, whose own record does not show what happened to the group snapshot."""
    state = groups.create("together", [volume.id], {})
    site.store.replace(replace(state.record, status=status, owner="gone"))
    member = locking.snapshot(state.members[0].id)
    with site.locks.hold(shared=[member]), pytest.raises(OperationPending, match=member):
        groups.create("together", [volume.id], {})
    assert driver.snapshots.keys() == {state.members[0].id}
    assert driver.calls["delete_group_snapshot"] == 0
    assert groups.create("together", [volume.id], {}).record.status is Status.AVAILABLE


def test_what_never_was_is_deleted_already_and_cannot_be_looked_at(groups: Groups) -> None:
    groups.delete("nowhere", ["s"])
    with pytest.raises(NotFound, match="nowhere"):
        groups.get("nowhere", [])
