"""Capacity maths, against Cinder's own where it has any."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_cinderlib.backend.stats import Pool, capacity, parse, truth, usable_free
from csi_cinderlib.cinder.runtime import Runtime

PARSE = {"backend": "array", "ratio": "20.0", "allocated": {}}


def pool(**values: object) -> Pool:
    return Pool(name="p", **{"total": 100.0, "free": 60.0, **values})  # type: ignore[arg-type]  # values by name


def test_thick_volumes_fit_into_what_is_free_and_not_reserved() -> None:
    assert usable_free(pool(reserved_percentage=10, provisioned=40)) == 50


def test_thick_volumes_never_get_more_than_the_driver_calls_free() -> None:
    assert usable_free(pool(free=5.0)) == 5


def test_thin_volumes_may_promise_the_pool_several_times() -> None:
    assert usable_free(pool(thin=True, max_over_subscription_ratio=3, provisioned=250)) == 50


def test_a_thick_volume_on_a_thin_pool_is_not_over_subscribed() -> None:
    assert usable_free(pool(thin=True, max_over_subscription_ratio=3, provisioned=70), thin=False) == 30


def test_a_ratio_below_one_lets_no_thin_volume_in() -> None:
    assert usable_free(pool(thin=True, max_over_subscription_ratio=0.5)) == 0


@pytest.mark.parametrize("free", [None, math.inf])
def test_a_pool_that_does_not_know_what_is_free_takes_everything(free: float | None) -> None:
    assert usable_free(pool(free=free, reserved_percentage=50)) == math.inf


def test_an_unlimited_pool_with_a_reserve_takes_nothing_for_the_reserve_cannot_be_worked_out() -> None:
    assert usable_free(pool(total=math.inf, reserved_percentage=1)) == 0
    assert usable_free(pool(total=math.inf)) == math.inf


def test_an_empty_pool_takes_nothing() -> None:
    assert usable_free(pool(total=0.0)) == 0


@given(
    total=st.integers(1, 5000),
    free=st.integers(0, 5000),
    provisioned=st.integers(0, 9000),
    reserved=st.integers(0, 100),
    ratio=st.floats(1, 30),
    thin_pool=st.booleans(),
    thin=st.booleans(),
)
def test_usable_space_is_what_cinders_scheduler_works_out(
    runtime: Runtime,
    total: int,
    free: int,
    provisioned: int,
    reserved: int,
    ratio: float,
    thin_pool: bool,
    thin: bool,
) -> None:
    from cinder.scheduler import sched_utils

    cinders = sched_utils.calculate_virtual_free_capacity(total, free, provisioned, thin_pool, ratio, reserved, thin)
    ours = usable_free(
        pool(
            total=float(total),
            free=float(free),
            provisioned=float(provisioned),
            reserved_percentage=reserved,
            max_over_subscription_ratio=ratio,
            thin=thin_pool,
        ),
        thin=thin,
    )
    assert ours == pytest.approx(max(0.0, cinders), abs=0.011)
    assert ours <= max(0.0, cinders)  # it rounds to the nearest


@pytest.mark.parametrize(
    ("reported", "meant"),
    [("infinite", math.inf), ("unknown", None), (None, None), ("12.5", 12.5), (7, 7.0), ("lots", None)],
)
def test_capacities_are_read_in_all_their_spellings(reported: object, meant: float | None) -> None:
    assert capacity(reported) == meant


@pytest.mark.parametrize("word", [True, "True", "<is> True", "yes", 1])
def test_words_for_true_are_true(word: object) -> None:
    assert truth(word)
    assert not truth("False")


def test_a_driver_without_pools_gets_one_named_like_the_back_end() -> None:
    report = parse({"total_capacity_gb": 10, "free_capacity_gb": 4, "storage_protocol": ["iSCSI", "iscsi"]}, **PARSE)  # type: ignore[arg-type]  # values by name
    assert [(one.name, one.total, one.free) for one in report.pools] == [("array", 10, 4)]
    assert report.protocol == "iSCSI"


def test_a_pool_inherits_what_only_the_whole_report_says() -> None:
    raw = {
        "thin_provisioning_support": True,
        "reserved_percentage": 5,
        "pools": [{"pool_name": "a"}, {"pool_name": "b"}],
    }
    report = parse(raw, **PARSE)  # type: ignore[arg-type]  # values by name
    assert [(one.name, one.thin, one.reserved_percentage) for one in report.pools] == [("a", True, 5), ("b", True, 5)]


def test_what_a_driver_does_not_count_is_counted_from_our_volumes() -> None:
    report = parse({"pools": [{"pool_name": "a"}]}, backend="array", ratio="2", allocated={"a": 30})
    assert (report.pools[0].allocated, report.pools[0].provisioned) == (30, 30)


def test_online_growth_is_assumed_unless_a_driver_denies_it() -> None:
    assert parse({"pools": [{"pool_name": "a"}]}, **PARSE).online_extend  # type: ignore[arg-type]  # values by name
    denied = {"pools": [{"pool_name": "a", "online_extend_support": False}]}
    assert not parse(denied, **PARSE).online_extend  # type: ignore[arg-type]  # values by name


@pytest.mark.parametrize(("provisioned", "ratio"), [(0, 20.0), (82, 3.0)])
def test_the_ratio_auto_follows_what_was_promised_and_used(provisioned: int, ratio: float) -> None:
    raw = {
        "pool_name": "a",
        "total_capacity_gb": 100,
        "free_capacity_gb": 60,
        "provisioned_capacity_gb": provisioned,
        "thin_provisioning_support": True,
    }
    report = parse({"pools": [raw]}, backend="array", ratio="auto", allocated={})
    assert report.pools[0].max_over_subscription_ratio == ratio


def test_taking_from_a_pool_leaves_infinity_alone() -> None:
    assert pool(free=math.inf).less(10).free == math.inf
    assert (pool().less(10).free, pool().less(10).provisioned, pool().less(100).free) == (50, 10, 0)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({}, True),
        ({"QoS_support": True}, True),
        ({"qos_support": True}, True),
        ({"qos_support": False}, False),
        ({"QoS_support": "False"}, False),
        ({"QoS_support": False, "qos_support": True}, False),
    ],
)
def test_only_a_driver_that_denies_qos_has_none(reported: dict[str, object], expected: bool) -> None:
    """RBD writes the key in another way, and Unity reports none."""
    (pool,) = parse({"volume_backend_name": "b", **reported}, backend="b", ratio=None, allocated={}).pools
    assert pool.qos == expected
