"""What each call costs at the metadata store: with a database over the network each of these is a round trip, and each write a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.errors import PreconditionFailed, ResourceExhausted
from csi_cinderlib.model.records import Snapshot, Source, SourceKind
from tests.component.provisioning.conftest import BLOCK, Site, snapshotting
from tests.support.fakes.stores import ObservedStore

Cost = Callable[[Callable[[], object]], list[str]]
WRITES = {"add", "replace", "remove"}


@pytest.fixture
def observed() -> ObservedStore:
    return ObservedStore()


@pytest.fixture
def counted(observed: ObservedStore, runtime: Runtime) -> Iterator[Site]:
    site = Site(observed, runtime)
    site.add_backend("array")
    for name in ("n1", "n2"):
        site.node(name)
    site.registrations.look()
    yield site
    for backend in site.backends.all():
        backend.stop()


@pytest.fixture
def cost(observed: ObservedStore) -> Cost:
    """What a call asks of the store, in order."""

    def measure(call: Callable[[], object]) -> list[str]:
        observed.calls.clear()
        call()
        return list(observed.calls)

    return measure


def test_a_volume_is_created_with_one_look_and_two_writes(counted: Site, cost: Cost) -> None:
    assert cost(lambda: counted.create("v")) == ["get", "add", "replace"]


def test_a_repeated_creation_is_one_look(counted: Site, cost: Cost) -> None:
    counted.create("v")
    assert cost(lambda: counted.create("v")) == ["get"]


def test_a_volume_is_deleted_with_two_writes_and_a_look_at_each_kind_of_dependent(counted: Site, cost: Cost) -> None:
    """At attachments twice: before the intent, too."""
    volume = counted.create("v")
    assert cost(lambda: counted.volumes.delete(volume.id)) == [
        "get",
        "page",
        "replace",
        "page",
        "page",
        "page",
        "remove",
    ]
    assert cost(lambda: counted.volumes.delete(volume.id)) == ["get"]


def test_publishing_writes_no_more_than_its_intent_its_exports_and_its_result(counted: Site, cost: Cost) -> None:
    volume = counted.create("v")
    first = cost(lambda: counted.publish(volume, "n1", BLOCK))
    assert len([call for call in first if call in WRITES]) <= 4
    assert len(first) <= 10
    again = cost(lambda: counted.publish(volume, "n1", BLOCK))
    assert WRITES & set(again) == set()
    assert len(again) <= 4


@pytest.mark.parametrize(("name", "node", "error"), [("v", "n2", PreconditionFailed), ("w", "n1", ResourceExhausted)])
def test_refusing_to_publish_writes_nothing(
    counted: Site, cost: Cost, name: str, node: str, error: type[Exception]
) -> None:
    counted.max_per_node = 1
    counted.publish(counted.create("v"), "n1", BLOCK)
    volume = counted.create(name)

    def refuse() -> None:
        with pytest.raises(error):
            counted.publish(volume, node, BLOCK)

    assert WRITES.isdisjoint(cost(refuse))


def test_taking_a_volume_away_is_two_writes_and_nothing_when_it_is_gone(counted: Site, cost: Cost) -> None:
    volume = counted.create("v")
    counted.publish(volume, "n1", BLOCK)
    first = cost(lambda: counted.attachments.unpublish(volume.id, "n1"))
    assert len([call for call in first if call in WRITES]) <= 2
    assert len(first) <= 6, "the attachments once more before the export goes"
    assert cost(lambda: counted.attachments.unpublish(volume.id, "n1")) == ["page"]


def test_a_snapshot_and_its_restore_are_two_writes_each(counted: Site, cost: Cost) -> None:
    volume = counted.create("v")
    taken = cost(lambda: counted.snapshots.create(snapshotting(volume)))
    (snapshot,) = counted.store.page(Snapshot).records
    restored = cost(lambda: counted.create("w", source=Source(SourceKind.SNAPSHOT, snapshot.id)))
    for calls, most in (
        (taken, 9),
        (restored, 11),
    ):  # the source once more, after the intent, and after the copy; the volume of the snapshot
        assert len([call for call in calls if call in WRITES]) == 2
        assert len(calls) <= most


def test_a_list_of_no_volumes_is_one_question(counted: Site, cost: Cost) -> None:
    assert cost(counted.volumes.list) == ["page"]


@pytest.mark.parametrize("count", [1, 40])
def test_a_page_of_volumes_is_two_questions_however_many_there_are(counted: Site, cost: Cost, count: int) -> None:
    for number in range(count):
        counted.publish(counted.create(f"v{number}"), "n1", BLOCK)
    assert cost(counted.volumes.list) == ["page", "page"]
