"""A copy of a volume that was never formatted is as new as its source. A copy of anything else is not (promise 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import NOTHING, MakeBackend

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
GROUPS = "tests.support.fakes.nothing.GroupDriver"
LOOP_FILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"

Copy = Callable[[LocalBackend, ObservedStore, Volume], Volume]


def clone(backend: LocalBackend, _store: ObservedStore, source: Volume) -> Volume:
    return backend.create_volume(makers.volume(source=source))


def restore(backend: LocalBackend, _store: ObservedStore, source: Volume) -> Volume:
    return backend.create_volume(makers.volume(source=backend.create_snapshot(makers.snapshot(source))))


def restore_member(backend: LocalBackend, store: ObservedStore, source: Volume) -> Volume:
    return backend.create_volume(makers.volume(source=members(backend, store, source)[0]))


def members(backend: LocalBackend, store: ObservedStore, *sources: Volume) -> list[Snapshot]:
    record = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    taken = backend.create_group_snapshot(record, [makers.snapshot(source) for source in sources])
    return [store.get(Snapshot, id) for id in taken.snapshot_ids]


CASES = [
    *((driver, how) for driver in (NOTHING, ARRAY, LOOP_FILE) for how in (clone, restore)),
    *((driver, restore_member) for driver in (GROUPS, LOOP_FILE)),
]
FAKES = [(driver, how) for driver, how in CASES if driver != LOOP_FILE]
DRIVER_CALL: dict[Copy, str] = {
    clone: "create_cloned_volume",
    restore: "create_snapshot",
    restore_member: "create_group_snapshot",
}


@pytest.fixture
def start(make: MakeBackend, tmp_path: Path) -> Callable[[str], LocalBackend]:
    options = {LOOP_FILE: {"loopfile_directories": str(tmp_path)}}
    return lambda driver: make(driver=driver, **options.get(driver, {}))


def again(store: ObservedStore, volume: Volume) -> Volume:
    return store.get(Volume, volume.id)


def use(backend: LocalBackend, store: ObservedStore, volume: Volume, **attachment: Any) -> Attachment:
    """Attach the volume to a node, which may write to it from then on, and take it away."""
    made = backend.connect(again(store, volume), replace(makers.attachment(volume), **attachment))
    backend.disconnect(made)
    return made


def when_called(backend: LocalBackend, method: str, action: Callable[[], object], *, after: bool = False) -> None:
    """Let something happen right before or after the driver's next call of that method."""
    driver: Any = backend.driver
    original = getattr(driver, method)

    def called(*arguments: Any) -> Any:
        setattr(driver, method, original)
        if not after:
            action()
        answer = original(*arguments)
        if after:
            action()
        return answer

    setattr(driver, method, called)


@pytest.mark.parametrize(("driver", "copy"), CASES)
def test_a_copy_of_a_volume_that_was_never_formatted_is_as_new(
    start: Callable[[str], LocalBackend], store: ObservedStore, driver: str, copy: Copy
) -> None:
    backend = start(driver)
    source = backend.create_volume(makers.volume())
    made = copy(backend, store, source)
    assert (made.blank, made.began_empty) == (True, True)
    assert again(store, source).blank
    of_the_copy = clone(backend, store, made)
    assert (of_the_copy.blank, of_the_copy.began_empty) == (True, True)


@pytest.mark.parametrize(("driver", "copy"), FAKES)
@pytest.mark.parametrize("block", [False, True], ids=["mounted", "raw"])
def test_a_copy_of_what_a_node_may_have_written_to_is_not_new(
    start: Callable[[str], LocalBackend], store: ObservedStore, driver: str, copy: Copy, block: bool
) -> None:
    backend = start(driver)
    source = backend.create_volume(makers.volume())
    use(backend, store, source, block=block)
    made = copy(backend, store, source)
    assert (made.blank, made.began_empty) == (False, False)


@pytest.mark.parametrize(("driver", "copy"), FAKES)
@pytest.mark.parametrize("after", [False, True], ids=["before the driver copies", "after the driver copied"])
def test_a_source_that_is_attached_while_it_is_copied_leaves_the_copy_without_the_mark(
    start: Callable[[str], LocalBackend], store: ObservedStore, driver: str, copy: Copy, after: bool
) -> None:
    backend = start(driver)
    source = backend.create_volume(makers.volume())
    when_called(backend, DRIVER_CALL[copy], lambda: use(backend, store, source), after=after)
    made = copy(backend, store, source)
    assert (made.blank, made.began_empty) == (False, False)


@pytest.mark.parametrize("copy", [clone, restore])
def test_a_read_only_attachment_of_the_source_writes_nothing(
    backend: LocalBackend, store: ObservedStore, copy: Copy
) -> None:
    source = backend.create_volume(makers.volume())
    use(backend, store, source, read_only=True)
    assert copy(backend, store, source).blank


def test_a_source_that_is_deleted_while_it_is_copied_proves_nothing(
    backend: LocalBackend, store: ObservedStore
) -> None:
    source = backend.create_volume(makers.volume())
    when_called(backend, DRIVER_CALL[clone], lambda: store.remove(again(store, source)), after=True)
    assert not clone(backend, store, source).blank


@pytest.mark.parametrize("copy", [clone, restore])
def test_a_source_whose_record_cannot_be_read_any_more_proves_nothing(
    backend: LocalBackend, store: ObservedStore, copy: Copy
) -> None:
    source = backend.create_volume(makers.volume())
    when_called(backend, DRIVER_CALL[copy], lambda: store._put_raw(Volume, source.id, "9", "damaged"), after=True)
    made = backend.create_snapshot(makers.snapshot(source)) if copy is restore else clone(backend, store, source)
    assert (made.status, made.blank) == (Status.AVAILABLE, False)


def test_a_snapshot_of_an_empty_volume_stays_one_whatever_becomes_of_the_volume(
    backend: LocalBackend, store: ObservedStore
) -> None:
    source = backend.create_volume(makers.volume())
    empty = backend.create_snapshot(makers.snapshot(source))
    use(backend, store, source)
    full = backend.create_snapshot(makers.snapshot(source))
    assert backend.create_volume(makers.volume(source=empty)).blank
    assert not backend.create_volume(makers.volume(source=full)).blank


def test_each_member_of_a_group_snapshot_is_judged_by_its_own_volume(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=GROUPS)
    used, empty = (backend.create_volume(makers.volume()) for _ in range(2))
    use(backend, store, used)
    assert [member.blank for member in members(backend, store, again(store, used), empty)] == [False, True]


def test_a_snapshot_that_is_taken_anew_is_judged_anew(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["create_snapshot:1", "delete_snapshot:1"])
    source = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.create_snapshot(makers.snapshot(source))
    (left,) = store.page(Snapshot).records
    assert (left.status, left.blank) == (Status.ERROR, False)
    use(backend, store, source)
    assert not backend.resume_create_snapshot(left).blank


def test_a_copy_that_is_made_anew_is_judged_anew(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["create_cloned_volume:1", "delete_volume:1"])
    source = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        clone(backend, store, source)
    left = next(volume for volume in store.page(Volume).records if volume.id != source.id)
    assert (left.status, left.blank) == (Status.ERROR, False)
    use(backend, store, source)
    assert not backend.resume_create_volume(left).blank


def test_a_member_that_is_taken_anew_is_not_blank_meanwhile(make: MakeBackend, store: ObservedStore) -> None:
    """Another process may be copying it at that time, and reads the mark when its copy is done."""
    backend = make(driver=GROUPS)
    source = backend.create_volume(makers.volume())
    (member,) = members(backend, store, source)
    record = store.get(GroupSnapshot, member.group_snapshot_id)
    store.replace(replace(record, status=Status.CREATING, owner="dead"))
    use(backend, store, source)
    seen: list[bool] = []
    when_called(backend, "create_group_snapshot", lambda: seen.append(store.get(Snapshot, member.id).blank))
    backend.resume_create_group_snapshot(store.get(GroupSnapshot, record.id))
    assert seen == [False]
    assert not store.get(Snapshot, member.id).blank


def test_of_a_new_copy_too_one_attachment_takes_the_mark(backend: LocalBackend, store: ObservedStore) -> None:
    copy = clone(backend, store, backend.create_volume(makers.volume()))
    assert use(backend, store, copy).blank
    assert not backend.connect(again(store, copy), makers.attachment(copy, "node-2")).blank
    assert again(store, copy).began_empty


def test_a_new_volume_is_known_to_have_begun_empty(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    assert volume.began_empty
    use(backend, store, volume)
    assert again(store, volume).began_empty


def test_the_mark_of_an_earlier_version_becomes_the_proof_when_it_is_taken(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = store.replace(replace(backend.create_volume(makers.volume()), began_empty=False))
    assert use(backend, store, volume).blank
    assert again(store, volume).began_empty


def test_an_attachment_proves_nothing_about_a_volume_without_the_mark(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = store.replace(replace(backend.create_volume(makers.volume()), began_empty=False, blank=False))
    use(backend, store, volume)
    assert not again(store, volume).began_empty


@pytest.mark.parametrize("gone", [False, True], ids=["attached still", "detached since"])
@pytest.mark.parametrize("block", [False, True], ids=["mounted", "raw"])
def test_the_mark_is_not_given_back_after_another_node_could_write(
    backend: LocalBackend, store: ObservedStore, gone: bool, block: bool
) -> None:
    """The first attachment died before it was answered, and is taken away after a second node has written."""
    volume = backend.create_volume(makers.volume(multiattach=True))
    died = backend.connect(volume, replace(makers.attachment(volume, "node-1"), block=block))
    died = store.replace(replace(died, status=Status.CREATING, owner="dead"))
    second = backend.connect(again(store, volume), replace(makers.attachment(volume, "node-2"), block=block))
    if gone:
        backend.disconnect(second)
    backend.disconnect(died)
    assert (again(store, volume).blank, again(store, volume).raw) == (False, block)
    assert not clone(backend, store, again(store, volume)).blank
