"""Records at hand for a driver: changed on top of others' changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.cinder.work import Route, Routes, UnknownBackend, Work, routed, working
from csi_cinderlib.errors import CorruptRecord, NotFound, StaleRecord
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.persistence.optimistic import change
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore, touch


def renamed(volume: Volume) -> Volume:
    return replace(volume, name="renamed")


def test_a_change_is_applied_on_top_of_what_another_has_changed(store: ObservedStore) -> None:
    record = store.add(makers.volume())
    touch(store, record)
    store.before["replace"] = lambda _record: touch(store, record)
    changed = change(store, record, renamed)
    assert (changed.name, changed.labels) == ("renamed", {"touched": "yes"})
    assert store.get(Volume, record.id) == changed


def test_a_change_that_changes_nothing_is_not_written(store: ObservedStore) -> None:
    record = store.add(makers.volume())
    store.calls.clear()
    assert change(store, record, replace) is record
    assert store.calls == []


def test_a_change_may_find_that_nothing_is_left_to_do(store: ObservedStore) -> None:
    record = store.add(makers.volume())
    done = store.replace(renamed(record))
    assert change(store, record, renamed) == done
    assert store.get(Volume, record.id).revision == done.revision


def test_a_change_of_what_is_gone_brings_nothing_back(store: ObservedStore) -> None:
    record = store.add(makers.volume())
    store.before["replace"] = lambda _record: store.remove(record)
    with pytest.raises(NotFound):
        change(store, record, renamed)
    assert store.page(Volume).records == ()


def test_a_record_that_never_stops_changing_is_given_up(store: ObservedStore) -> None:
    record = store.add(makers.volume())

    def interfere(_record: object) -> None:
        touch(store, record)
        store.before["replace"] = interfere

    interfere(record)
    with pytest.raises(StaleRecord, match=f"volume '{record.id}'"):
        change(store, record, renamed)


@pytest.fixture
def volume(store: ObservedStore) -> Volume:
    return store.add(makers.volume(multiattach=True))


@pytest.fixture
def work(store: ObservedStore) -> Work:
    return Work("fake", store)


def test_a_record_is_read_once(work: Work, volume: Volume, store: ObservedStore) -> None:
    snapshot = store.add(makers.snapshot(volume))
    attachment = store.add(makers.attachment(volume))
    store.calls.clear()
    for _ in range(2):
        assert work.volume(volume.id) == volume
        assert work.snapshot(snapshot.id) == snapshot
        assert work.attachments(volume.id) == (attachment,)
    assert sorted(store.calls) == ["get", "get", "page"]


def test_what_is_at_hand_is_what_was_changed(work: Work, volume: Volume, store: ObservedStore) -> None:
    snapshot = store.add(makers.snapshot(volume))
    touch(store, volume)
    changed = work.change_volume(volume.id, renamed)
    taken = work.change_snapshot(snapshot.id, lambda record: replace(record, status=Status.AVAILABLE))
    assert (work.volume(volume.id), work.snapshot(snapshot.id)) == (changed, taken)
    assert (store.get(Volume, volume.id), store.get(Snapshot, snapshot.id)) == (changed, taken)
    assert changed.labels == {"touched": "yes"}


def test_all_attachments_are_learned_by_one_question(work: Work, volume: Volume, store: ObservedStore) -> None:
    other = store.add(makers.volume())
    ids = sorted(store.add(makers.attachment(volume, f"node-{number}")).id for number in range(200))
    elsewhere = store.add(replace(makers.attachment(other), backend="another"))
    store.calls.clear()
    work.learn_all_attachments()
    assert sorted(record.id for record in work.attachments(volume.id)) == ids
    assert work.attachments(other.id) == ()
    assert store.calls == ["page"]
    work.forget_attachments(other.id)
    assert work.attachments(other.id) == (elsewhere,)


def test_attachments_are_read_again_once_they_were_forgotten(work: Work, volume: Volume, store: ObservedStore) -> None:
    assert work.attachments(volume.id) == ()
    attachment = store.add(makers.attachment(volume))
    work.forget_attachments("another")
    assert work.attachments(volume.id) == ()
    work.forget_attachments(volume.id)
    assert work.attachments(volume.id) == (attachment,)


def test_back_ends_are_found_by_each_form_of_cinders_host(store: ObservedStore) -> None:
    routes = Routes()
    gold, lead, odd = (Route(name, f"controller@{name}", store) for name in ("gold", "lead", "a@b"))
    for route in (gold, lead, odd):
        routes.add(route)
    for host in ("controller@gold", "controller@gold#pool", "controller@gold#pool#1"):
        assert routes.of_host(host) == (gold,)
    assert routes.of_host("controller@a@b") == (odd,)
    assert set(routes.of_host("controller")) == {gold, lead, odd}
    for host in ("", "gold", "elsewhere", "controller@", "@"):
        assert routes.of_host(host) == ()


def test_a_call_sees_the_back_ends_on_its_own_store(store: ObservedStore) -> None:
    routes = Routes()
    gold, lead = Route("gold", "controller@gold", store), Route("lead", "controller@lead", ObservedStore())
    for route in (gold, lead):
        routes.add(route)
    for route in (gold, lead):
        with working(route.work()):
            assert routes.all() == routes.of_host("controller") == (route,)
        with routed(route):
            assert routes.all() == routes.of_host("controller") == (route,)
    with pytest.raises(UnknownBackend):
        routes.all()


def test_what_no_back_end_has_is_named(store: ObservedStore) -> None:
    routes = Routes()
    routes.add(Route("gold", "controller@gold", store))
    with pytest.raises(NotFound, match=r"^volume 'nowhere'"):
        routes.volume("nowhere")
    with pytest.raises(NotFound, match=r"^snapshot 'nowhere'"):
        routes.snapshot("nowhere")
    with pytest.raises(NotFound, match=r"^attachment 'nowhere'"):
        routes.record(Attachment, "nowhere")


def test_a_process_without_back_ends_has_no_records() -> None:
    with pytest.raises(NotFound, match=r"^back end"):
        Routes().current("a list of all volumes")


def test_an_attachment_that_cannot_be_read_is_not_left_out(work: Work, volume: Volume, store: ObservedStore) -> None:
    store._put_raw(Attachment, "broken", "1-x", f'{{"volume_id": "{volume.id}"}}')
    with pytest.raises(CorruptRecord, match="attachment 'broken'"):
        work.attachments(volume.id)
