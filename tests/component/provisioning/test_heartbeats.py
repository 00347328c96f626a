import pytest

from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.heartbeats import BEAT, Owners
from tests.support.fakes.stores import ObservedStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def owners(store: MemoryStore, owner: str, clock: Clock) -> Owners:
    return Owners(store, owner=owner, lease=30, monotonic=clock)


def test_oneself_and_nobody_are_not_others() -> None:
    store = MemoryStore()
    here = owners(store, "here", Clock())
    here.beat()
    assert not here.alive("here")
    assert not here.alive("")
    owners(store, "", Clock()).beat()
    assert not here.alive("")


def test_an_owner_that_never_beat_is_dead_since_one_process_alone_has_no_need_to() -> None:
    assert not owners(MemoryStore(), "here", Clock()).alive("there")


def test_an_owner_that_beats_lives() -> None:
    store, clock = MemoryStore(), Clock()
    here, there = owners(store, "here", clock), owners(store, "there", clock)
    for _ in range(5):
        there.beat()
        assert here.alive("there")
        clock.now += 29
        assert here.alive("there")
        clock.now += 2


def test_an_owner_that_stopped_beating_is_dead_after_the_lease_by_the_observers_clock() -> None:
    store, clock = MemoryStore(), Clock()
    here, there = owners(store, "here", clock), owners(store, "there", clock)
    there.beat()
    clock.now += 1000
    assert here.alive("there"), "seen for the first time, it may have beaten just now"
    clock.now += 29.5
    assert here.alive("there")
    clock.now += 0.5
    assert not here.alive("there")
    there.beat()
    assert here.alive("there"), "it was only slow"


def test_an_owner_that_left_is_dead_at_once() -> None:
    store, clock = MemoryStore(), Clock()
    here, there = owners(store, "here", clock), owners(store, "there", clock)
    there.beat()
    assert here.alive("there")
    there.leave()
    assert not here.alive("there")


def test_each_beat_is_another_one_and_takes_the_place_of_the_last() -> None:
    store, clock = MemoryStore(), Clock()
    there = owners(store, "there", clock)
    seen = set()
    for _ in range(3):
        there.beat()
        (record,) = store.page(KeyValue).records
        seen.add(record.value)
    assert (record.id, len(seen)) == ("owner.there", 3)


def test_a_sign_of_life_is_given_every_minute_and_when_another_key_seals() -> None:
    store, clock, keys = ObservedStore(), Clock(), ["old"]
    there = Owners(store, owner="there", monotonic=clock, writer=lambda: keys[-1])
    here = owners(store, "here", clock)
    there.refresh()
    assert here.lagging("new") == ("there",)
    clock.now += BEAT - 1
    store.calls.clear()
    there.refresh()
    assert store.calls == []
    keys.append("new")
    there.refresh()
    assert here.lagging("new") == ()
    clock.now += BEAT - 1
    store.calls.clear()
    there.refresh()
    assert store.calls == []
    clock.now += 1
    there.refresh()
    assert store.calls[:2] == ["get", "replace"]


def test_a_sign_that_could_not_be_given_is_due_still() -> None:
    store, clock = ObservedStore(), Clock()
    there = owners(store, "there", clock)

    def fails(_record: object) -> None:
        raise StoreUnavailable("away")

    store.before["add"] = fails
    with pytest.raises(StoreUnavailable):
        there.refresh()
    there.refresh()
    assert owners(store, "here", clock).alive("there")


def test_two_processes_of_one_name_may_begin_to_beat_at_the_same_time() -> None:
    store = ObservedStore()
    there = Owners(store, owner="there")
    store.before["add"] = lambda _record: Owners(store, owner="there").beat()
    there.beat()
    assert len(store.page(KeyValue).records) == 1


def test_one_that_never_beat_may_leave() -> None:
    owners(MemoryStore(), "there", Clock()).leave()


def test_owners_that_live_and_do_not_say_that_they_seal_with_a_key_are_named() -> None:
    store, clock = MemoryStore(), Clock()
    here = owners(store, "here", clock)
    old = Owners(store, owner="with old", monotonic=clock, writer=lambda: "old")
    new = Owners(store, owner="with new", monotonic=clock, writer=lambda: "k.new")
    for process in (here, old, new):
        process.beat()
    for id in [f"before.{number}" for number in range(1001)]:
        store.add(KeyValue(id=id, value="1.1.old"))
    assert here.lagging("k.new") == ("with old",)
    clock.now += 31
    assert here.lagging("k.new") == ()


def ids(store: MemoryStore) -> list[str]:
    return [record.id for record in store.page(KeyValue).records]


def test_the_record_of_an_owner_that_is_dead_is_removed() -> None:
    store, clock = MemoryStore(), Clock()
    here, killed, living = (Owners(store, owner=name, monotonic=clock) for name in ("here", "killed", "living"))
    for process in (killed, living, Owners(store, owner="", monotonic=clock)):
        process.beat()
    for record in (KeyValue(id="owner.user", value="of the library"), KeyValue(id="ownership", value="1.1.")):
        store.add(record)
    for _ in range(5):
        here.refresh()
        living.beat()
        assert "owner.killed" in ids(store), "its lease runs still"
        clock.now += BEAT
    here.refresh()
    assert ids(store) == ["owner.", "owner.here", "owner.living", "owner.user", "ownership"]
    assert not here.alive("killed")


def test_a_record_that_is_seen_for_the_first_time_is_kept() -> None:
    store, clock = MemoryStore(), Clock()
    owners(store, "there", clock).beat()
    clock.now += 1000
    owners(store, "here", clock).refresh()
    assert ids(store) == ["owner.here", "owner.there"]


def test_one_that_beats_while_it_is_taken_for_dead_keeps_its_record() -> None:
    store, clock = ObservedStore(), Clock()
    here, there = owners(store, "here", clock), owners(store, "there", clock)
    there.beat()
    here.refresh()
    clock.now += BEAT
    store.before["remove"] = lambda _record: there.beat()
    here.refresh()
    assert store.before == {}
    assert here.alive("there")


def test_one_whose_record_is_removed_while_it_beats_beats_again() -> None:
    store, clock = ObservedStore(), Clock()
    here, there = owners(store, "here", clock), owners(store, "there", clock)
    there.beat()
    here.refresh()
    clock.now += BEAT
    here.beat()
    store.before["replace"] = lambda _record: store.remove(store.get(KeyValue, "owner.there"))
    there.beat()
    assert here.alive("there")


def test_of_many_owners_all_that_live_are_named() -> None:
    store = MemoryStore()
    for number in range(150):
        Owners(store, owner=f"{number:03}").beat()
    assert len(owners(store, "here", Clock()).lagging("new")) == 150


def test_a_process_without_a_key_says_that_it_has_none() -> None:
    store = MemoryStore()
    Owners(store, owner="there").beat()
    assert owners(store, "here", Clock()).lagging("") == ()
