"""Promise 28 for a back end: while clean-up needs the room that is kept on the state directory's disk, nothing new is begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.backend.backend import Backend
from csi_cinderlib.backend.runtime import Runtime
from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from tests.component.backend.conftest import MakeBackend
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore

DEPENDENTS: tuple[Any, ...] = (Snapshot, Attachment, GroupSnapshot)
RESERVED = {str(number): 32 * 1024 for number in range(16)}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime whose state directory belongs to the test."""
    made = Runtime(tmp_path / "own")
    made.start()
    yield made
    made.close()


@pytest.fixture
def backend(make: MakeBackend, own: Runtime) -> Backend:
    return make(driver="tests.support.fakes.nothing.GroupDriver", runtime=own)


def reserved(own: Runtime) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (own.state_dir / "cinder" / "reserve").iterdir()}


BEGINNINGS: dict[str, Callable[[Backend, Volume], object]] = {
    "a volume": lambda backend, _: backend.create_volume(makers.volume()),
    "a growth": lambda backend, volume: backend.extend_volume(volume, GiB(volume.size + 1)),
    "a snapshot": lambda backend, volume: backend.create_snapshot(makers.snapshot(volume)),
    "a group snapshot": lambda backend, volume: backend.create_group_snapshot(
        GroupSnapshot(id=makers.new_id(), name="together", backend="fake"), [makers.snapshot(volume)]
    ),
    "an attachment": lambda backend, volume: backend.connect(volume, makers.attachment(volume)),
}


@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
def test_nothing_is_begun_while_the_reserve_is_not_whole(
    begin: Callable[[Backend, Volume], object], backend: Backend, own: Runtime, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    with own.reserve.released(), pytest.raises(ResourceExhausted, match=f"state directory {own.state_dir} is full"):
        begin(backend, volume)
    assert [store.get(Volume, volume.id)] == [volume] == list(store.page(Volume).records)
    for kind in DEPENDENTS:
        assert store.page(kind).records == ()
    begin(backend, volume)


def test_everything_is_taken_down_while_the_reserve_is_used(
    backend: Backend, own: Runtime, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    attachment = backend.connect(volume, makers.attachment(volume))
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    together = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    together = backend.create_group_snapshot(together, [makers.snapshot(volume)])
    assert reserved(own) == RESERVED
    with own.reserve.released():
        backend.disconnect(attachment)
        backend.delete_snapshot(snapshot)
        backend.delete_group_snapshot(together)
        backend.delete_volume(store.get(Volume, volume.id))
        assert reserved(own) == {}
    for kind in (Volume, *DEPENDENTS):
        assert store.page(kind).records == ()
    assert reserved(own) == RESERVED
