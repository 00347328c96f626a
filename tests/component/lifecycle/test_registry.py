"""The back ends of a process."""

from __future__ import annotations

import pytest

from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.lifecycle.registry import Backends
from tests.support.local_backends import MakeBackend


def test_a_back_end_that_is_not_configured_any_more_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="'elsewhere': it is no longer configured"):
        Backends().get("elsewhere")


def test_a_back_end_that_failed_to_start_says_why(make: MakeBackend) -> None:
    broken = make("broken", start=False, nothing_fail=["do_setup"])
    with pytest.raises(BackendUnavailable):
        broken.start()
    with pytest.raises(BackendUnavailable, match="the array says no"):
        Backends([broken]).get("broken")


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
