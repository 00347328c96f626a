"""A group snapshot that is killed anywhere is carried through by its retry: with the same snapshots in it, and nothing else on the array."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.model.answers import GroupSnapshotState
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot
from csi_cinderlib.persistence.api import R
from csi_cinderlib.persistence.memory import MemoryStore
from tests.support.fakes.array import SNAPSHOT, Array

from .conftest import Site

DRIVER = "tests.support.fakes.group_array.GroupArrayDriver"


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class MortalStore(MemoryStore):
    """Lets so many writes through, and no further one: not those either by which its process would clean up."""

    def __init__(self, writes: int) -> None:
        super().__init__(None)
        self._left = writes
        self.is_armed = False

    def _write(self) -> None:
        if not self.is_armed:
            return
        if self._left == 0:
            raise Killed
        self._left -= 1

    def add(self, record: R) -> R:
        self._write()
        return super().add(record)

    def replace(self, record: R) -> R:
        self._write()
        return super().replace(record)

    def remove(self, record: R) -> None:
        self._write()
        super().remove(record)


def reversing(create: Callable[..., Any]) -> Callable[..., Any]:
    """A driver that answers its members in another order, and with ids and columns that are not its to set."""

    def answer(*arguments: Any, **named: Any) -> Any:
        update, members = create(*arguments, **named)
        theirs = {"group_snapshot_id": "theirs", "volume_id": "theirs", "name": "theirs"}
        return {**update, "id": "theirs", "name": "theirs"}, [{**theirs, **member} for member in reversed(members)]

    return answer


def take(site: Site, store: MortalStore, volumes: list[str]) -> GroupSnapshotState | None:
    """None when it was killed."""
    store.is_armed = True
    try:
        return site.groups.create("together", volumes, {})
    except Killed:
        return None
    finally:
        store.is_armed = False


@pytest.mark.parametrize(("trait", "most_spoilt"), [("", 0), ("unique-names", 0), ("assigned-ids", 1)])
def test_a_kill_before_any_write_changes_no_id_and_leaves_no_snapshot(
    runtime: Runtime, tmp_path: Path, trait: str, most_spoilt: int
) -> None:
    """But for the ids that an array has just answered, and that nobody has written down: operators are told of such snapshots."""
    spoilt = []
    for writes in range(60):
        store = MortalStore(writes)
        site = Site(store, runtime)
        array = Array(tmp_path / f"array-{writes}")
        was_killed = interrupt(site, store, tmp_path / f"array-{writes}", trait)
        left = {lun.name for lun in array.luns(SNAPSHOT)}
        assert left <= {leftover.name for _, leftover in leftovers.walk(store) if leftover is not None}
        spoilt += [writes] if left else []
        assert array.luns("group") == []
        left_over = (store.page(Snapshot), store.page(GroupSnapshot), store.page(Group))
        assert [page.records for page in left_over] == [(), (), ()]
        if not was_killed:
            break
    assert writes > 12
    assert len(spoilt) <= most_spoilt


def interrupt(site: Site, store: MortalStore, file: Path, trait: str) -> bool:
    """Take a group snapshot, again when that was killed, and delete it; whether it was killed."""
    driver = site.add_backend(driver=DRIVER, array_file=str(file), traits=[trait] if trait else [])
    driver.create_group_snapshot = reversing(driver.create_group_snapshot)
    volumes = sorted(site.create(name).id for name in "abc")
    first = take(site, store, volumes)
    before = [record.snapshot_ids for record in store.page(GroupSnapshot).records]
    taken = first or site.groups.create("together", volumes, {})
    ids = tuple(site.ids.member_id(taken.record.id, volume) for volume in volumes)
    assert taken.record.snapshot_ids == ids
    assert before in ([], [ids])
    assert {member.id: member.volume_id for member in taken.members} == dict(zip(ids, volumes, strict=True))
    assert all(member.group_snapshot_id == taken.record.id for member in taken.members)
    assert taken.record.fields.keys() == {"name"}
    site.groups.delete(taken.record.id, ids)
    for backend in site.backends.all():
        backend.stop()
    return first is None
