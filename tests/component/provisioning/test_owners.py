from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.owners import Owners


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def owners(store: MemoryStore, owner: str, clock: Clock) -> Owners:
    return Owners(store, owner=owner, lease=30, monotonic=clock)


def test_oneself_and_nobody_are_not_others() -> None:
    here = owners(MemoryStore(), "here", Clock())
    here.beat()
    assert not here.alive("here")
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
    clock.now += 31
    assert not here.alive("there")


def test_an_owner_that_left_is_dead_at_once() -> None:
    store, clock = MemoryStore(), Clock()
    here, there = owners(store, "here", clock), owners(store, "there", clock)
    there.beat()
    assert here.alive("there")
    there.leave()
    assert not here.alive("there")


def test_owners_that_live_and_do_not_say_that_they_seal_with_a_key_are_named() -> None:
    store, clock = MemoryStore(), Clock()
    here = owners(store, "here", clock)
    old = Owners(store, owner="with old", monotonic=clock, writer=lambda: "old")
    new = Owners(store, owner="with new", monotonic=clock, writer=lambda: "k.new")
    for one in (here, old, new):
        one.beat()
    assert here.lagging("k.new") == ("with old",)
    clock.now += 31
    assert here.lagging("k.new") == ()
