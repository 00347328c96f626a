"""Cinder's filter and goodness functions, evaluated on the reports of drivers."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from csi_cinderlib.backend.stats import Candidate, Rating
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.local_backends import MakeBackend

SMALL = Candidate(size=GiB(1))
LARGE = Candidate(size=GiB(100))
GOLD = Candidate(size=GiB(1), type=VolumeType(extra_specs={"tier": "gold"}, qos_specs={"maxIOPS": "500"}))
POOLS = ["a", "b"]


def rate(backend: Any, candidate: Candidate = SMALL) -> Mapping[str, Rating]:
    _, ratings = backend.ask_rated_stats(candidate)(60)
    found: Mapping[str, Rating] = ratings
    return found


def report(backend: Any, **values: Any) -> None:
    """Let the driver report these values of each pool, and its own of the back end."""
    original = backend.driver.get_volume_stats

    def reported(refresh: bool = False) -> dict[str, Any]:
        answer = original(refresh)
        return {**answer, "pools": [{**pool, **values} for pool in answer["pools"]]}

    backend.driver.get_volume_stats = reported
    backend.stats(refresh=True)


def test_without_functions_nothing_is_said(make: MakeBackend) -> None:
    assert rate(make()) == {}


def test_the_filter_function_of_the_options_keeps_volumes_out(make: MakeBackend) -> None:
    backend = make(nothing_pools=POOLS, filter_function="volume.size < 10")
    assert rate(backend) == {"a": Rating(), "b": Rating()}
    assert rate(backend, LARGE) == dict.fromkeys(POOLS, Rating(obstacle="volume.size < 10"))


@pytest.mark.parametrize(
    ("function", "goodness"),
    [
        ("100 - volume.size", 99),
        ("volume.size < 10", 100),
        ("volume.size > 10", 0),
        ("200", 0),
        ("0 - 1", 0),
        ("capabilities.nothing_of_this_name", 0),
        ("stats.free_capacity_gb / stats.total_capacity_gb * 50", 50),
    ],
)
def test_goodness_is_between_0_and_100(make: MakeBackend, function: str, goodness: float) -> None:
    assert rate(make(goodness_function=function)) == {"one": Rating(goodness=goodness)}


@pytest.mark.parametrize(
    "function",
    [
        "stats.free_capacity_gb > 900",
        "stats.allocated_capacity_gb < 1",
        "stats.vendor_name == 'Nobody'",
        "capabilities.QoS_support",
        "extra.tier == 'gold'",
        "qos.maxIOPS < 501",
        "not volume.multiattach",
    ],
)
def test_functions_see_what_cinders_scheduler_shows(make: MakeBackend, function: str) -> None:
    assert rate(make(filter_function=function), GOLD) == {"one": Rating()}


def test_what_was_created_since_the_report_is_counted(make: MakeBackend) -> None:
    backend = make(filter_function="stats.allocated_capacity_gb < 5")
    assert rate(backend) == {"one": Rating()}
    backend.create_volume(makers.volume(size=5))
    assert rate(backend)["one"].obstacle


def test_functions_that_a_driver_reports_of_a_pool_hold(make: MakeBackend) -> None:
    """As NetApp's and Tatlin's do by default."""
    backend = make()
    report(
        backend,
        utilization=70,
        filter_function="capabilities.utilization < 70",
        goodness_function="100 - capabilities.utilization",
    )
    assert rate(backend) == {"one": Rating(obstacle="capabilities.utilization < 70", goodness=30)}


def test_a_function_that_cannot_be_evaluated_keeps_every_volume_out_and_says_why(make: MakeBackend) -> None:
    backend = make(filter_function="capabilities.nothing_of_this_name < 70")
    assert "nothing_of_this_name < 70 (" in rate(backend)["one"].obstacle
    assert "KeyError" in rate(backend)["one"].obstacle


def test_one_of_several_names_of_a_protocol_is_enough(make: MakeBackend) -> None:
    backend = make(
        filter_function="capabilities.storage_protocol == 'fc'",
        goodness_function="(stats.storage_protocol == 'fc') ? 70 : 7",
    )
    assert rate(backend)["one"].obstacle
    report(backend, storage_protocol=["FC", "fc", "fibre_channel"])
    assert rate(backend) == {"one": Rating(goodness=70)}


@pytest.mark.parametrize("option", ["filter_function", "goodness_function"])
def test_an_option_that_is_no_expression_is_refused_by_its_name(make: MakeBackend, option: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^backends\.fake\.options\.{option}: invalid expression 'volume\.size <': ParseExc"
    ):
        make(**{option: "volume.size <"})


def test_callers_at_once_get_the_rating_of_their_own_volume(make: MakeBackend) -> None:
    """Cinder's evaluator keeps its values in a global."""
    backend = make(goodness_function="volume.size")
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda size: (size, rate(backend, Candidate(size=GiB(size)))), [*range(1, 100)] * 4)
    assert all(ratings == {"one": Rating(goodness=size)} for size, ratings in found)
