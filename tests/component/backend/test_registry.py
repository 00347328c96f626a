"""Several back ends, and the choice among them."""

from __future__ import annotations

import pytest

from csi_cinderlib.backend.registry import Backends, accessible, preference
from csi_cinderlib.errors import BackendUnavailable, NotFound, ResourceExhausted, Unsupported
from csi_cinderlib.model.requests import Topology
from csi_cinderlib.model.size import GiB
from tests.component.backend.conftest import MakeBackend
from tests.support.fakes import makers

ZONE = "topology.kubernetes.io/zone"


def test_the_pool_with_most_free_space_is_chosen(make: MakeBackend) -> None:
    backends = Backends([make("small", nothing_capacity_gb="10"), make("large", nothing_capacity_gb="50")])
    backend, pool = backends.choose(GiB(1))
    assert (backend.name, pool.name) == ("large", "one")


def test_two_volumes_chosen_one_after_the_other_spread_before_the_driver_reports_again(make: MakeBackend) -> None:
    backends = Backends([make("array", nothing_pools=["a", "b"], nothing_capacity_gb="50")])
    chosen = []
    for _ in range(2):
        backend, pool = backends.choose(GiB(5))
        chosen.append(pool.name)
        backend.create_volume(makers.volume("array", size=5, pool=pool.name))
    assert sorted(chosen) == ["a", "b"]


def test_a_volume_that_fits_nowhere_is_refused_with_the_most_that_would_fit(make: MakeBackend) -> None:
    backends = Backends([make(nothing_capacity_gb="10")])
    with pytest.raises(ResourceExhausted, match="no room for 21 GiB; the most that fits is 20 GiB"):
        backends.choose(GiB(21))


def test_a_named_pool_that_does_not_exist_is_named(make: MakeBackend) -> None:
    with pytest.raises(NotFound, match="fake#nowhere"):
        Backends([make()]).choose(GiB(1), backend="fake", pool="nowhere")


def test_an_unknown_back_end_is_named() -> None:
    with pytest.raises(NotFound, match="back end 'elsewhere'"):
        Backends().get("elsewhere")


def test_a_back_end_that_failed_to_start_says_why(make: MakeBackend) -> None:
    broken = make("broken", start=False, nothing_fail=["do_setup"])
    with pytest.raises(BackendUnavailable):
        broken.start()
    with pytest.raises(BackendUnavailable, match="the array says no"):
        Backends([broken]).get("broken")


def test_a_broken_back_end_does_not_hinder_the_others(make: MakeBackend) -> None:
    broken = make("broken", start=False)
    backend, _ = Backends([broken, make("sound")]).choose(GiB(1))
    assert backend.name == "sound"


def test_nothing_ready_is_a_matter_of_waiting(make: MakeBackend) -> None:
    with pytest.raises(BackendUnavailable, match="broken: not started"):
        Backends([make("broken", start=False)]).choose(GiB(1))


def test_volumes_for_several_nodes_go_where_that_is_possible(make: MakeBackend) -> None:
    single = make("single", nothing_multiattach=False, nothing_capacity_gb="500")
    several = make("several", nothing_capacity_gb="5")
    backend, _ = Backends([single, several]).choose(GiB(1), multiattach=True)
    assert backend.name == "several"
    with pytest.raises(Unsupported):
        Backends([single]).choose(GiB(1), multiattach=True)


def test_space_that_is_known_not_to_suffice_loses_against_an_unknown_one(make: MakeBackend) -> None:
    legacy = make("legacy", driver="tests.support.fakes.legacy.LegacyDriver")
    backend, pool = Backends([make("full", nothing_capacity_gb="1"), legacy]).choose(GiB(100))
    assert (backend.name, pool.name) == ("legacy", "legacy")


def test_a_back_end_comes_and_goes_while_others_work(make: MakeBackend) -> None:
    first = make("first")
    backends = Backends([first])
    second = make("second")
    backends.add(second)
    assert [one.name for one in backends.all()] == ["first", "second"]
    backends.remove("first")
    assert not first.ready
    assert backends.get("second") is second


def test_a_back_end_is_replaced_by_one_of_the_same_name(make: MakeBackend) -> None:
    old = make("array", nothing_capacity_gb="10")
    backends = Backends([old])
    new = make("array", nothing_capacity_gb="20")
    backends.add(new)
    assert not old.ready
    assert backends.get("array").stats(refresh=True).pools[0].total == 20


def test_only_what_is_reachable_from_the_places_asked_for_is_chosen(make: MakeBackend) -> None:
    far = make("far", topology={ZONE: "b"}, nothing_capacity_gb="900")
    near = make("near", topology={ZONE: "a"}, nothing_capacity_gb="9")
    backends = Backends([far, near])
    assert backends.choose(GiB(1), topology=Topology(requisite=({ZONE: "a"},)))[0] is near
    with pytest.raises(ResourceExhausted, match="cannot be reached"):
        backends.choose(GiB(1), topology=Topology(requisite=({ZONE: "c"},)))


def test_an_earlier_preference_beats_more_space(make: MakeBackend) -> None:
    far = make("far", topology={ZONE: "b"}, nothing_capacity_gb="900")
    near = make("near", topology={ZONE: "a"}, nothing_capacity_gb="9")
    wanted = Topology(requisite=({ZONE: "a"}, {ZONE: "b"}), preferred=({ZONE: "a"}, {ZONE: "b"}))
    assert Backends([far, near]).choose(GiB(1), topology=wanted)[0] is near


def test_a_back_end_without_segments_is_everywhere() -> None:
    assert accessible({}, Topology(requisite=({ZONE: "a"},)))
    assert preference({}, Topology(preferred=({ZONE: "a"},))) == 0
