"""Two set-ups in one process, each with its store: a driver's own threads are served from that of their back end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.cinder.work import Route, UnknownBackend, current_route, routed
from csi_cinderlib.model.records import Group, InitiatorData, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

THREADED = "tests.support.fakes.threaded.ThreadedDriver"
HANG = 60
"""Seconds."""
ONE_ID = makers.new_id()
"""Both stores have a volume and a group of this id: nothing but the store tells them apart."""

WAYS = (
    "thread",
    "subclass of thread",
    "thread of a thread",
    "timer",
    "looping call",
    "late looping call",
    "dynamic looping call",
    "thread group",
    "eventlet.spawn",
    "greenthread.spawn",
    "green pool",
    "own pool",
    "own pool of futurist",
    "own pool of multiprocessing",
    "shared pool",
    "shared pool of futurist",
    "shared pool, apply_async",
    "shared pool, map_async",
    "shared pool, imap",
    "shared pool, imap_unordered",
)


@dataclass
class SetUp:
    """One back end of the same name, and so of the same host, as the other's."""

    mark: str
    store: ObservedStore
    backend: Any

    def let_the_thread_go(self) -> None:
        self.backend.driver.go.set()
        assert self.backend.driver.finished.wait(HANG)

    def data(self) -> list[str]:
        return [record.value for record in self.store.page(InitiatorData).records]


MakeSetUps = Callable[..., Sequence[SetUp]]


@pytest.fixture
def make_set_ups(make: MakeBackend) -> Iterator[MakeSetUps]:
    def set_ups(**options: Any) -> Sequence[SetUp]:
        return [_set_up(make, mark, options) for mark in ("first", "second")]

    yield set_ups
    from tests.support.fakes import threaded

    threaded.SHARED.close()
    threaded.SHARED.open()


def _set_up(make: MakeBackend, mark: str, options: dict[str, Any]) -> SetUp:
    store = ObservedStore()
    store.add(Group(id=ONE_ID, name=f"group of {mark}", backend="array", host="csi-cinderlib@array"))
    store.add(replace(makers.volume("array"), id=ONE_ID, name=mark, group_id=ONE_ID, host="csi-cinderlib@array"))
    ids = {"threaded_volume": ONE_ID, "threaded_group": ONE_ID}
    return SetUp(mark, store, make("array", driver=THREADED, store=store, threaded_mark=mark, **ids, **options))


def test_all_ways_to_start_a_thread_are_tried(runtime: Runtime) -> None:
    from tests.support.fakes import threaded

    assert tuple(threaded.WAYS) == WAYS


@pytest.mark.parametrize("during", ["do_setup", "create_volume"])
@pytest.mark.parametrize("way", WAYS)
def test_a_drivers_thread_uses_the_store_of_its_back_end(make_set_ups: MakeSetUps, way: str, during: str) -> None:
    both = make_set_ups(threaded_way=way, threaded_during=during)
    created = {ONE_ID: "both"}
    if during == "create_volume":
        created = {one.backend.create_volume(makers.volume("array")).id: one.mark for one in both} | created
    for one in both:
        one.let_the_thread_go()
        assert one.backend.driver.failure is None
    for one in both:
        own = {id for id, mark in created.items() if mark in (one.mark, "both")}
        heard = one.backend.driver.heard
        assert heard["initiator"] == one.data() == [one.mark]
        assert set(heard["by host"]) == set(heard["all"]) == own
        assert heard["group"] == (f"group of {one.mark}", [one.mark])
        assert one.store.get(Volume, ONE_ID).provider.id == one.mark


def test_a_thread_of_no_back_end_is_refused_what_several_stores_could_answer(make_set_ups: MakeSetUps) -> None:
    """Python offers ways to start a thread that cannot be followed."""
    both = make_set_ups(threaded_way="a thread that threading does not know")
    both[0].backend.create_volume(makers.volume("array"))
    both[0].let_the_thread_go()
    failure = both[0].backend.driver.failure
    assert isinstance(failure, UnknownBackend)
    assert "the data of initiator 'iqn.threaded'" in str(failure)
    assert [one.data() for one in both] == [[], []]


def test_lists_and_ambiguous_ids_are_refused_to_a_thread_of_no_back_end(make_set_ups: MakeSetUps) -> None:
    from cinder import context, objects

    both = make_set_ups()
    own = both[1].backend.create_volume(makers.volume("array"))
    admin = context.get_admin_context()
    requests: dict[str, Callable[[], object]] = {
        "host 'csi-cinderlib@array'": lambda: objects.VolumeList.get_all_by_host(admin, "csi-cinderlib@array"),
        "host 'csi-cinderlib'": lambda: objects.SnapshotList.get_by_host(admin, "csi-cinderlib"),
        "a list of all volumes": lambda: objects.VolumeList.get_all(admin),
        "the attachments of node 'node-1'": lambda: objects.VolumeAttachmentList.get_all_by_host(admin, "node-1"),
        "the data of initiator 'iqn'": lambda: both[0].backend.driver.driver_utils.get_driver_initiator_data("iqn"),
        f"volume '{ONE_ID}'": lambda: objects.Volume.get_by_id(admin, ONE_ID),
        f"group '{ONE_ID}'": lambda: objects.Group.get_by_id(admin, ONE_ID),
    }
    for subject, request in requests.items():
        with pytest.raises(UnknownBackend) as refused:
            request()
        assert f"cannot determine the back end for {subject}: " in str(refused.value)
    assert objects.Volume.get_by_id(admin, own.id).display_name == own.name


def test_stopping_one_of_two_back_ends_of_one_name_leaves_the_other_its_records(make_set_ups: MakeSetUps) -> None:
    from cinder import context, objects

    both = make_set_ups()
    own = both[0].backend.create_volume(makers.volume("array"))
    both[1].backend.stop()
    found = objects.VolumeList.get_all_by_host(context.get_admin_context(), "csi-cinderlib@array")
    assert {volume.id for volume in found} == {ONE_ID, own.id}


def test_a_thread_that_outlives_its_back_end_sees_and_changes_nothing_of_another(make_set_ups: MakeSetUps) -> None:
    first, second = make_set_ups(threaded_during="do_setup")
    driver = first.backend.driver
    first.backend.stop()
    driver.go.set()
    assert driver.finished.wait(HANG)
    assert driver.heard["by host"] == [ONE_ID]
    assert (first.data(), second.data()) == (["first"], [])


def test_an_item_of_a_pool_belongs_to_the_back_end_that_submits_it_or_to_none(runtime: Runtime) -> None:
    """Also where the worker thread was started for another back end."""
    route = Route("array", "csi-cinderlib@array", ObservedStore())
    with ThreadPoolExecutor(1) as pool:
        with routed(route):
            inside = pool.submit(current_route).result(HANG)
        outside = pool.submit(current_route).result(HANG)
    assert (inside, outside) == (route, None)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module of a driver that nobody has imported."""
    (tmp_path / "imported_once.py").write_text(
        "from csi_cinderlib.cinder.work import current_route\n"
        "from tests.support.fakes.nothing import NothingDriver as Driver\n"
        "ROUTE = current_route()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "imported_once"
    sys.modules.pop("imported_once", None)


def test_what_a_module_starts_while_it_is_imported_belongs_to_no_back_end(make: MakeBackend, module: str) -> None:
    make(driver=f"{module}.Driver")
    assert sys.modules[module].ROUTE is None
