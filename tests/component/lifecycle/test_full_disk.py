"""Promise 28 for a back end: while clean-up needs the room that is kept on the state directory's disk, nothing new is begun."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.lifecycle import room
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

DEPENDENTS: tuple[Any, ...] = (Snapshot, Attachment, GroupSnapshot)
NOW = "2026-01-01T00:00:00Z"
RESERVED = {str(number): 32 * 1024 for number in range(16)}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime whose state directory belongs to the test."""
    made = Runtime(tmp_path / "own")
    made.start()
    yield made
    made.close()


@pytest.fixture
def backend(make: MakeBackend, own: Runtime) -> LocalBackend:
    return make(driver="tests.support.fakes.nothing.GroupDriver", runtime=own)


def reserved(own: Runtime) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (own.state_dir / "cinder" / "reserve").iterdir()}


BEGINNINGS: dict[str, Callable[[LocalBackend, Volume], object]] = {
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
    begin: Callable[[LocalBackend, Volume], object], backend: LocalBackend, own: Runtime, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    with (
        room.of(own.state_dir).released(),
        pytest.raises(ResourceExhausted, match=f"state directory {own.state_dir} is full"),
    ):
        begin(backend, volume)
    assert [store.get(Volume, volume.id)] == [volume] == list(store.page(Volume).records)
    for kind in DEPENDENTS:
        assert store.page(kind).records == ()
    begin(backend, volume)


INTERRUPTED: dict[str, Callable[[Volume], Any]] = {
    "a volume": lambda volume: replace(makers.volume(), host=volume.host, pool=volume.pool),
    "a snapshot": makers.snapshot,
    "a group snapshot": lambda volume: GroupSnapshot(
        id=makers.new_id(), name="together", backend="fake", volume_ids=(volume.id,)
    ),
    "an attachment": makers.attachment,
}


def resume(backend: LocalBackend, volume: Volume, record: Any) -> None:
    if isinstance(record, Volume):
        backend.resume_create_volume(record)
    elif isinstance(record, Snapshot):
        backend.resume_create_snapshot(record)
    elif isinstance(record, GroupSnapshot):
        backend.resume_create_group_snapshot(record)
    else:
        backend.connect(volume, record)


@pytest.mark.parametrize("make_record", INTERRUPTED.values(), ids=INTERRUPTED)
def test_nothing_is_resumed_while_the_reserve_is_not_whole(
    make_record: Callable[[Volume], Any], backend: LocalBackend, own: Runtime, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    record = store.add(replace(make_record(volume), status=Status.CREATING, created_at=NOW))
    with (
        room.of(own.state_dir).released(),
        pytest.raises(ResourceExhausted, match=f"state directory {own.state_dir} is full"),
    ):
        resume(backend, volume, record)
    assert store.get(type(record), record.id) == record


def test_a_growth_is_not_resumed_while_the_reserve_is_not_whole(
    backend: LocalBackend, own: Runtime, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    growing = store.replace(replace(volume, status=Status.EXTENDING, target_size=GiB(volume.size + 1)))
    with room.of(own.state_dir).released(), pytest.raises(ResourceExhausted):
        backend.extend_volume(growing, GiB(volume.size + 1))
    assert store.get(Volume, volume.id) == growing


def test_what_is_done_is_answered_on_a_full_disk(backend: LocalBackend, own: Runtime) -> None:
    volume = backend.create_volume(makers.volume())
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    attachment = backend.connect(volume, makers.attachment(volume))
    with room.of(own.state_dir).released():
        assert backend.resume_create_volume(volume) == volume
        assert backend.extend_volume(volume, volume.size) == volume
        assert backend.resume_create_snapshot(snapshot) == snapshot
        assert backend.connect(volume, attachment) == attachment


def test_everything_is_taken_down_while_the_reserve_is_used(
    backend: LocalBackend, own: Runtime, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    attachment = backend.connect(volume, makers.attachment(volume))
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    together = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    together = backend.create_group_snapshot(together, [makers.snapshot(volume)])
    assert reserved(own) == RESERVED
    with room.of(own.state_dir).released():
        backend.disconnect(attachment)
        backend.delete_snapshot(snapshot)
        backend.delete_group_snapshot(together)
        backend.delete_volume(store.get(Volume, volume.id))
        assert reserved(own) == {}
    for kind in (Volume, *DEPENDENTS):
        assert store.page(kind).records == ()
    assert reserved(own) == RESERVED


START_TWICE = """
import sys
from pathlib import Path
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.errors import HostError

obstacle = Path(sys.argv[1]) / "cinder" / "locks" / "groups"
obstacle.parent.mkdir(parents=True)
obstacle.touch()
runtime = Runtime(Path(sys.argv[1]))
try:
    runtime.start()
except HostError as error:
    print(error)
obstacle.unlink()
runtime.start()
from cinder import coordination
with coordination.COORDINATOR.get_lock("one"):
    print("locked")
runtime.close()
"""


def test_a_start_without_its_lock_directory_fails_and_is_repeated(tmp_path: Path) -> None:
    """As on a disk that was full at that moment: the back end could not be started any more in that process."""
    done = subprocess.run(
        [sys.executable, "-c", START_TWICE, str(tmp_path / "state")], capture_output=True, text=True, check=True
    )
    failed, locked = done.stdout.splitlines()
    assert failed.startswith(f"cannot use the lock directory {tmp_path}/state/cinder/locks: ")
    assert "File exists" in failed
    assert locked == "locked"
