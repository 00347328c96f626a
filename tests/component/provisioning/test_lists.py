"""ListVolumes, ControllerGetVolume, ListSnapshots, GetCapacity."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest

from csi_cinderlib.errors import (
    BackendUnavailable,
    CorruptRecord,
    DriverError,
    InvalidRequest,
    NotFound,
    OperationPending,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.records import Attachment, Volume
from csi_cinderlib.model.requests import ClassParameters, GetCapacity, ListSnapshots
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.memory import MemoryStore

from .conftest import GIB, SHARED, Configure, Damaged, Site, snapshotting


def everything(site: Site, limit: int) -> list[tuple[str, tuple[str, ...]]]:
    found: list[tuple[str, tuple[str, ...]]] = []
    token = ""
    while True:
        page = site.volumes.list(token, limit)
        assert len(page.records) <= limit
        found += [(state.record.id, state.nodes) for state in page.records]
        token = page.next
        if not token:
            return found


def test_all_volumes_are_listed_once_with_their_nodes_whatever_the_page(site: Site) -> None:
    nodes = [site.node("n1"), site.node("n2")]
    volumes = [site.create(f"v{number}", capability=SHARED) for number in range(7)]
    site.publish(volumes[3], nodes[0], SHARED)
    for node in nodes:
        site.publish(volumes[5], node, SHARED)
    expected = sorted((volume.id, ()) for volume in volumes)
    published = {volumes[3].id: ("n1",), volumes[5].id: ("n1", "n2")}
    for limit in (1, 2, 3, 7, 100):
        assert everything(site, limit) == [(id, published.get(id, ())) for id, _ in expected]


def test_a_page_is_never_larger_than_the_server_allows(site: Site) -> None:
    site.page_limit = 2
    for number in range(3):
        site.create(f"v{number}")
    page = site.volumes.list()
    assert len(page.records) == 2
    assert len(site.volumes.list(page.next, 50).records) == 1


def test_a_token_that_is_not_ours_means_start_over(site: Site) -> None:
    with pytest.raises(OperationPending):
        site.volumes.list("bogus")
    with pytest.raises(OperationPending):
        site.snapshots.list(ListSnapshots(token="bogus"))


def test_a_volume_is_shown_with_its_nodes_and_its_condition(site: Site, configure: Configure) -> None:
    volume = site.create()
    site.publish(volume, site.node("n1"))
    state = site.volumes.get(volume.id)
    assert (state.record.id, state.nodes, state.condition.abnormal) == (volume.id, ("n1",), False)
    with pytest.raises(NotFound):
        site.volumes.get("nowhere")


def test_a_back_end_out_of_reach_is_a_condition_and_not_an_error(site: Site) -> None:
    volume = site.create()
    site.backends.get("array").stop()
    conditions = [site.volumes.get(volume.id).condition, site.volumes.list().records[0].condition]
    site.backends.remove("array")
    conditions += [site.volumes.get(volume.id).condition, site.volumes.list().records[0].condition]
    reasons = [condition.message.partition("is not ready: ")[2] for condition in conditions]
    assert reasons == ["stopped"] * 2 + ["it is no longer configured"] * 2
    assert all(condition.abnormal for condition in conditions)


def test_a_back_end_that_gave_no_report_is_a_condition_until_it_gives_one(site: Site, configure: Configure) -> None:
    volume, backend = site.create(), site.backends.get("array")
    configure(fail=["get_volume_stats"])
    with pytest.raises(DriverError):
        backend.stats(refresh=True)
    condition = site.volumes.list().records[0].condition
    assert (condition.abnormal, condition.message.startswith("back end 'array' is not ready: ")) == (True, True)
    configure(fail=[])
    backend.stats(refresh=True)
    assert not site.volumes.get(volume.id).condition.abnormal


def test_a_back_end_counts_as_ready_while_it_exports_again_what_is_attached(
    empty_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves calls meanwhile, and with many attachments that takes a while."""
    driver = empty_site.add_backend("array", driver="tests.support.fakes.nothing.InterruptedDriver")
    volume = empty_site.create()
    empty_site.publish(volume, empty_site.node("n1"))
    seen: list[bool] = []

    def look(volume_id: str) -> None:
        seen.append(empty_site.volumes.get(volume_id).condition.abnormal)

    monkeypatch.setattr(type(driver), "meanwhile", [look])
    backend = cast(LocalBackend, empty_site.backends.get("array"))
    backend.stop()
    backend.start()
    backend.wait_for_exports()
    assert seen == [False]


def test_a_volume_whose_record_cannot_be_read_is_listed_with_its_nodes(site: Site) -> None:
    good, bad = site.create("good"), site.create("bad")
    site.publish(bad, site.node("n1"))
    site.store = Damaged(site.store, bad.id)
    states = {state.record.id: state for state in site.volumes.list().records}
    assert states[bad.id].nodes == ("n1",)
    assert states[bad.id].condition.abnormal
    assert states[bad.id].record.size == 0
    assert not states[good.id].condition.abnormal


def test_an_attachment_that_cannot_be_read_fails_the_list_rather_than_look_detached(site: Site) -> None:
    volume = site.create()
    site.publish(volume, site.node("n1"))
    (attachment,) = site.store.page(Attachment, where={}).records
    site.store = Damaged(site.store, attachment.id)
    with pytest.raises(CorruptRecord):
        site.volumes.list()


def test_snapshots_are_listed_by_volume_and_by_id(site: Site) -> None:
    first, second = site.create("a"), site.create("b")
    taken = [
        site.snapshots.create(snapshotting(volume, f"s{volume.name}{n}")) for volume in (first, second) for n in "12"
    ]

    def listed(**filters: Any) -> set[str]:
        return {record.id for record in site.snapshots.list(ListSnapshots(**filters)).records}

    assert listed() == {snapshot.id for snapshot in taken}
    assert listed(volume_id=first.id) == {taken[0].id, taken[1].id}
    assert listed(snapshot_id=taken[3].id) == {taken[3].id}
    assert listed(snapshot_id=taken[3].id, volume_id=second.id) == {taken[3].id}
    assert listed(snapshot_id=taken[3].id, volume_id=first.id) == set()
    assert listed(snapshot_id="nowhere") == set()
    assert listed(volume_id="nowhere") == set()


@pytest.mark.parametrize(("limit", "sizes"), [(2, [2, 2, 1]), (0, [3, 2]), (50, [3, 2])])
def test_pages_of_snapshots_are_no_larger_than_asked_and_than_the_server_allows(
    site: Site, limit: int, sizes: list[int]
) -> None:
    site.page_limit = 3
    volume = site.create()
    taken = {site.snapshots.create(snapshotting(volume, f"s{number}")).id for number in range(5)}
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        page = site.snapshots.list(ListSnapshots(token=token, limit=limit))
        pages.append([snapshot.id for snapshot in page.records])
        token = page.next
    assert [len(page) for page in pages] == sizes
    assert [id for page in pages for id in page] == sorted(taken)


def capacity(
    site: Site, capability: Capability | None = None, segments: dict[str, str] | None = None, **given: str
) -> int:
    parameters = ClassParameters(
        backend=given.get("backend", ""), pool=given.get("pool", ""), type=given.get("type", ""), given=given
    )
    return site.volumes.capacity(
        GetCapacity(capabilities=(capability,) if capability else (), parameters=parameters, segments=segments or {})
    ).available


def test_capacity_is_that_of_the_best_pool_not_of_the_first(empty_site: Site) -> None:
    """The fake says twice its capacity may be promised to thin volumes."""
    empty_site.add_backend("small", capacity_gb="10", pools=["p1", "p2"])
    empty_site.add_backend("large", capacity_gb="70", multiattach=False)
    assert capacity(empty_site) == 140 * GIB
    assert capacity(empty_site, backend="small") == 20 * GIB
    assert capacity(empty_site, capability=SHARED) == 20 * GIB, "the other cannot attach to several nodes"
    answer = empty_site.volumes.capacity(GetCapacity())
    assert (answer.maximum, answer.minimum) == (140 * GIB, GIB)


def test_capacity_goes_down_with_each_volume(site: Site) -> None:
    before = capacity(site)
    site.create(gib=5)
    assert capacity(site) == before - 5 * GIB


def test_capacity_by_topology_is_zero_where_nothing_can_be_reached(empty_site: Site) -> None:
    empty_site.add_backend("east", topology={"zone": "east"}, capacity_gb="10")
    empty_site.add_backend("west", topology={"zone": "west"}, capacity_gb="30")
    assert capacity(empty_site, segments={"zone": "east", "rack": "7"}) == 20 * GIB
    assert capacity(empty_site, segments={"zone": "west"}) == 60 * GIB
    assert capacity(empty_site, segments={"zone": "south"}) == 0


@pytest.mark.parametrize("says", ["infinite", "unknown"])
def test_capacity_without_a_limit_fits_the_wire(empty_site: Site, says: str) -> None:
    empty_site.add_backend(capacity_gb=says)
    answer = empty_site.volumes.capacity(GetCapacity())
    assert 2**62 < answer.available < 2**63
    assert answer.maximum is None


def test_capacity_of_a_class_that_is_wrong_names_what_is_wrong(site: Site) -> None:
    with pytest.raises(InvalidRequest, match="nowhere"):
        capacity(site, backend="nowhere")
    with pytest.raises(InvalidRequest, match="nowhere"):
        capacity(site, type="nowhere")


def test_capacity_of_a_back_end_that_is_not_ready_is_no_statement(site: Site) -> None:
    site.backends.get("array").stop()
    with pytest.raises(BackendUnavailable):
        capacity(site)


def test_an_unreadable_row_is_an_error_of_that_volume_alone(site: Site, tmp_path: Path) -> None:
    good, bad = site.create("good"), site.create("bad")
    spoil(site.store, bad, tmp_path)
    with pytest.raises(CorruptRecord, match=bad.id):
        site.volumes.get(bad.id)
    assert site.volumes.get(good.id).record == good
    assert {state.record.id for state in site.volumes.list().records} == {good.id, bad.id}
    with pytest.raises(CorruptRecord):
        site.create("bad")
    assert [orphan.id for orphan in site.orphans.find()] == [bad.id]


def spoil(store: Store, volume: Volume, state_dir: Path) -> None:
    """Overwrite the stored body, as a failing disk or a careless hand would."""
    if isinstance(store, MemoryStore):
        store._tables[Volume].rows[volume.id].content = "{"
        return
    with sqlite3.connect(state_dir / "metadata.db") as database:
        database.execute("UPDATE volumes SET body = '{' WHERE id = ?", (volume.id,))
    database.close()


def test_what_is_only_asked_about_never_reaches_the_array(site: Site, driver: Any) -> None:
    """Promise 18: probes, lists and capacity of a hundred callers are no load on it."""
    volume = site.create()
    site.publish(volume, site.node("n1"))
    snapshot = site.snapshots.create(snapshotting(volume))
    driver.calls.clear()
    for _ in range(100):
        site.volumes.list()
        site.volumes.get(volume.id)
        site.snapshots.list(ListSnapshots())
        site.snapshots.get(snapshot.id)
        site.create()
        site.snapshots.create(snapshotting(volume))
        site.publish(volume, "n1")
        capacity(site)
        site.orphans.find()
    assert driver.calls == {}
