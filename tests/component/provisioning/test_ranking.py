import math
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import InvalidRequest, ResourceExhausted
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.model.requests import Topology
from csi_cinderlib.model.size import GiB
from csi_cinderlib.provisioning.ranking import Place, Wanted, fitting, free, rank

SMALL = Place(backend="a", pool="p1", free_thin=20, free_thick=5)
LARGE = Place(backend="a", pool="p2", free_thin=200, free_thick=50, thin=True, reported={"disk": "ssd"})
RICH = Place(
    backend="b", pool="", free_thin=90, free_thick=10, multiattach=True, qos=True, topology={"zone": "z1"}, thin=True
)
PLACES = (SMALL, LARGE, RICH)


def wanted(size: int = 1, **more: Any) -> Wanted:
    return Wanted(size=GiB(size), **more)


def best(request: Wanted) -> tuple[str, str]:
    place = rank(PLACES, request)[0]
    return place.backend, place.pool


def test_most_free_space_wins() -> None:
    assert best(wanted()) == ("a", "p2")


def test_free_space_is_counted_as_the_volume_will_take_it() -> None:
    thick = VolumeType(extra_specs={"provisioning:type": "thick"})
    assert free(SMALL, wanted()) == 5
    assert free(LARGE, wanted()) == 200
    assert free(LARGE, wanted(type=thick)) == 50


def test_a_pool_or_back_end_that_is_named_is_taken() -> None:
    assert best(wanted(pool="p1")) == ("a", "p1")
    assert best(wanted(backend="b")) == ("b", "")


def test_goodness_wins_over_space_and_not_over_topology() -> None:
    good = replace(SMALL, goodness=1.0)
    assert rank((LARGE, good), wanted())[0] is good
    near = replace(LARGE, backend="c", topology={"zone": "z1"})
    far = replace(good, topology={"zone": "z2"})
    topology = Topology(preferred=({"zone": "z1"}, {"zone": "z2"}))
    assert rank((far, near), wanted(topology=topology))[0] is near


def test_a_pool_whose_filter_function_keeps_the_volume_out_is_not_taken() -> None:
    full = replace(LARGE, obstacle="capabilities.utilization < 70")
    assert rank((full, SMALL), wanted()) == [SMALL]
    with pytest.raises(ResourceExhausted, match=r"excludes the volume: a/p2; capabilities\.utilization < 70"):
        rank((full,), wanted())


def test_the_preferred_topology_wins_over_space() -> None:
    near = replace(LARGE, backend="c", topology={"zone": "z2"})
    topology = Topology(requisite=({"zone": "z1"}, {"zone": "z2"}), preferred=({"zone": "z1"}, {"zone": "z2"}))
    assert [place.backend for place in rank((near, RICH), wanted(topology=topology))] == ["b", "c"]


def test_a_volume_stays_where_its_source_is() -> None:
    assert best(wanted(source=("a", "p1"))) == ("a", "p1")
    with pytest.raises(InvalidRequest, match="source"):
        rank(PLACES, wanted(source=("a", "p1"), backend="b"))


def test_a_volume_for_several_nodes_goes_where_that_can_be() -> None:
    assert best(wanted(multiattach=True)) == ("b", "")
    with pytest.raises(InvalidRequest, match="several nodes"):
        rank(PLACES, wanted(multiattach=True, backend="a"))


def test_qos_goes_where_it_is_honoured() -> None:
    qos = VolumeType(qos_specs={"maxIOPS": "100"})
    assert best(wanted(type=qos)) == ("b", "")
    with pytest.raises(InvalidRequest, match="qos/maxIOPS"):
        rank(PLACES, wanted(type=qos, pool="p1"))


def test_an_extra_spec_goes_to_the_pool_that_reports_it() -> None:
    assert best(wanted(type=VolumeType(extra_specs={"disk": "ssd"}))) == ("a", "p2")
    with pytest.raises(InvalidRequest, match="extraSpecs/disk"):
        rank(PLACES, wanted(type=VolumeType(extra_specs={"disk": "tape"})))


@pytest.mark.parametrize(
    ("request_", "field"), [(wanted(backend="z"), "parameters[backend]"), (wanted(pool="z"), "parameters[pool]")]
)
def test_what_does_not_exist_is_named_with_what_does(request_: Wanted, field: str) -> None:
    with pytest.raises(InvalidRequest, match=r"a/p1|a, b") as error:
        rank(PLACES, request_)
    assert error.value.field == field


def test_a_topology_that_reaches_nothing_is_exhausted() -> None:
    with pytest.raises(ResourceExhausted, match="topology"):
        rank((RICH,), wanted(topology=Topology(requisite=({"zone": "z9"},))))


def test_too_large_a_volume_is_exhausted_and_the_most_said() -> None:
    with pytest.raises(ResourceExhausted, match="the most is 200 GiB"):
        rank(PLACES, wanted(1000))


def test_a_pool_that_does_not_say_how_much_it_has_takes_anything() -> None:
    endless = replace(SMALL, pool="p3", free_thick=math.inf)
    assert rank((*PLACES, endless), wanted(10**6)) == [endless]


def test_without_any_place_there_is_no_space() -> None:
    assert fitting((), wanted()) == []
    with pytest.raises(ResourceExhausted):
        rank((), wanted())
