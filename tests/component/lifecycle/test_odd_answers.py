"""Drivers answer other types than Cinder's base class documents. No volume is lost by it, and the error says what was wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from csi_cinderlib.errors import DriverError
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.array import Array
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"


def array(backend: LocalBackend) -> Array:
    driver: Any = backend.driver
    found: Array = driver.array
    return found


@pytest.mark.parametrize("answer", ["pairs", "text"])
def test_a_creation_whose_answer_is_no_mapping_fails_and_leaves_nothing(
    make: MakeBackend, store: ObservedStore, answer: str
) -> None:
    backend = make(driver=ARRAY, nothing_faults=[f"create_volume@after={answer}"])
    with pytest.raises(DriverError, match=r"returned .* from .*; expected a dictionary"):
        backend.create_volume(makers.volume())
    assert store.page(Volume).records == ()
    assert array(backend).luns() == []


@pytest.mark.parametrize("answer", ["pairs", "text"])
def test_a_snapshot_whose_answer_is_no_mapping_fails_and_leaves_nothing(
    make: MakeBackend, store: ObservedStore, answer: str
) -> None:
    backend = make(driver=ARRAY, nothing_faults=[f"create_snapshot@after={answer}"])
    with pytest.raises(DriverError, match=r"returned .* from .*; expected a dictionary"):
        backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    assert store.page(Snapshot).records == ()
    assert array(backend).luns("snapshot") == []


GROUPS = "tests.support.fakes.group_array.GroupArrayDriver"


def without_id(update: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in update.items() if key != "id"}


@pytest.mark.parametrize(
    ("change", "words", "has_ids"),
    [
        (lambda _update, _members: None, "the driver returned an invalid result from create_group_snapshot", False),
        (lambda update, members: (update, [without_id(member) for member in members]), "invalid result", False),
        (lambda _update, members: ("available", members), "invalid result", False),
        (
            lambda update, members: (update, [members[0], {**members[1], "status": "error"}]),
            "reported status 'error'",
            True,
        ),
        (lambda update, members: (update, [{**members[0], "provider_id": {}}, members[1]]), "provider_id", True),
    ],
    ids=["none", "no-ids", "text", "one-failed", "id-is-no-text"],
)
@pytest.mark.parametrize("trait", ["unique-names", "assigned-ids"])
def test_a_group_snapshot_whose_answer_makes_no_sense_fails_and_leaves_nothing_in_secret(
    make: MakeBackend, store: ObservedStore, trait: str, change: Callable[..., Any], words: str, has_ids: bool
) -> None:
    backend = make(driver=GROUPS, nothing_traits=[trait])
    driver: Any = backend.driver
    original = driver.create_group_snapshot
    driver.create_group_snapshot = lambda *arguments: change(*original(*arguments))
    members = [makers.snapshot(backend.create_volume(makers.volume())) for _ in range(2)]
    with pytest.raises(DriverError, match=words):
        backend.create_group_snapshot(GroupSnapshot(id=makers.new_id(), name="together", backend="fake"), members)
    assert (store.page(Snapshot).records, store.page(GroupSnapshot).records) == ((), ())
    assert array(backend).luns("group") == []
    left = {lun.name for lun in array(backend).luns("snapshot")}
    assert left == {leftover.name for _, leftover in leftovers.walk(store) if leftover is not None}
    assert bool(left) is (trait == "assigned-ids" and not has_ids)


def answer_without_text(driver: Any, method: str) -> None:
    """Answer a mapping where Cinder keeps text, once it is done."""
    original = getattr(driver, method)

    def called(*arguments: Any) -> Any:
        return {**(original(*arguments) or {}), "provider_id": {"lun": 7}}

    setattr(driver, method, called)


def test_a_volume_whose_id_is_no_text_fails_and_leaves_nothing(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=ARRAY)
    answer_without_text(backend.driver, "create_volume")
    with pytest.raises(DriverError, match="returned a dict for provider_id"):
        backend.create_volume(makers.volume())
    assert store.page(Volume).records == ()
    assert array(backend).luns() == []


def test_a_snapshot_whose_id_is_no_text_fails_and_leaves_nothing(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=ARRAY)
    answer_without_text(backend.driver, "create_snapshot")
    with pytest.raises(DriverError, match="returned a dict for provider_id"):
        backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    assert store.page(Snapshot).records == ()
    assert array(backend).luns("snapshot") == []


@pytest.mark.parametrize("answer", ["pairs", "text", "none"])
@pytest.mark.parametrize("method", ["create_export", "initialize_connection"])
def test_a_connection_whose_answer_is_no_mapping_fails_and_leaves_nothing(
    make: MakeBackend, store: ObservedStore, method: str, answer: str
) -> None:
    backend = make(driver=ARRAY, nothing_faults=[f"{method}@after={answer}"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(DriverError):
        backend.connect(volume, makers.attachment(volume))
    assert store.page(Attachment).records == ()
    assert [lun.hosts for lun in array(backend).luns()] == [set()]
    backend.delete_volume(store.get(Volume, volume.id))
    assert array(backend).luns() == []


@pytest.mark.parametrize("answer", ["none", "text", "pairs", "nameless-pools"])
def test_a_report_that_makes_no_sense_keeps_the_back_end_from_starting(make: MakeBackend, answer: str) -> None:
    backend = make(driver=ARRAY, nothing_faults=[f"get_volume_stats@after={answer}"], start=False)
    with pytest.raises(DriverError):
        backend.start()
    assert not backend.ready
    assert backend.failure


def test_a_report_without_pools_is_one_pool(make: MakeBackend) -> None:
    backend = make(driver=ARRAY, nothing_faults=["get_volume_stats@after=no-pools"])
    assert [pool.name for pool in backend.stats().pools] == ["fake"]
    assert backend.create_volume(makers.volume()).status is Status.AVAILABLE


def test_capacities_may_be_text_or_unknown(make: MakeBackend) -> None:
    pools = make(driver=ARRAY, nothing_faults=["get_volume_stats@after=text-capacities"]).stats().pools
    assert [(pool.name, pool.total, pool.free) for pool in pools] == [
        ("a", float("inf"), None),
        ("b", 1000.0, 1000.5),
        ("c", None, None),
    ]
