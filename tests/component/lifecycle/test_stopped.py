"""A back end that is not started, or not any more, changes no record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

KINDS: tuple[Any, ...] = (Volume, Snapshot, Attachment, GroupSnapshot, Group)


@dataclass(frozen=True)
class Site:
    """A back end, and a record of each kind on it."""

    backend: LocalBackend
    volume: Volume
    snapshot: Snapshot
    attachment: Attachment
    together: GroupSnapshot


@pytest.fixture
def site(make: MakeBackend, store: ObservedStore) -> Site:
    backend = make(driver="tests.support.fakes.nothing.GroupDriver")
    volume = backend.create_volume(makers.volume(multiattach=True))
    together = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    together = backend.create_group_snapshot(together, [makers.snapshot(volume)])
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    attachment = backend.connect(store.get(Volume, volume.id), makers.attachment(volume))
    return Site(backend, store.get(Volume, volume.id), snapshot, attachment, together)


def unfinished(record: Any) -> Any:
    return replace(record, status=Status.ERROR)


OPERATIONS: dict[str, Callable[[Site], object]] = {
    "create a volume": lambda site: site.backend.create_volume(replace(makers.volume(), host="h", pool="one")),
    "resume a volume": lambda site: site.backend.resume_create_volume(unfinished(site.volume)),
    "delete a volume": lambda site: site.backend.delete_volume(site.volume),
    "extend a volume": lambda site: site.backend.extend_volume(site.volume, GiB(2)),
    "resume a growth": lambda site: site.backend.extend_volume(
        replace(site.volume, status=Status.EXTENDING, target_size=GiB(1)), GiB(1)
    ),
    "revert a volume": lambda site: site.backend.revert_volume(site.volume, site.snapshot),
    "create a snapshot": lambda site: site.backend.create_snapshot(makers.snapshot(site.volume)),
    "resume a snapshot": lambda site: site.backend.resume_create_snapshot(unfinished(site.snapshot)),
    "delete a snapshot": lambda site: site.backend.delete_snapshot(site.snapshot),
    "create a group snapshot": lambda site: site.backend.create_group_snapshot(
        replace(site.together, id=makers.new_id()), [makers.snapshot(site.volume)]
    ),
    "resume a group snapshot": lambda site: site.backend.resume_create_group_snapshot(unfinished(site.together)),
    "delete a group snapshot": lambda site: site.backend.delete_group_snapshot(site.together),
    "connect": lambda site: site.backend.connect(site.volume, makers.attachment(site.volume, "node-2")),
    "disconnect": lambda site: site.backend.disconnect(site.attachment),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_stopped_back_end_changes_no_record(
    site: Site, store: ObservedStore, operation: Callable[[Site], object]
) -> None:
    before = [store.page(kind).records for kind in KINDS]
    site.backend.stop()
    with pytest.raises(BackendUnavailable, match="stopped"):
        operation(site)
    assert [store.page(kind).records for kind in KINDS] == before


def test_a_back_end_that_was_never_started_writes_no_record(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(start=False)
    with pytest.raises(BackendUnavailable, match="not started"):
        backend.create_volume(replace(makers.volume(), host="h", pool="one"))
    assert store.page(Volume).records == ()
