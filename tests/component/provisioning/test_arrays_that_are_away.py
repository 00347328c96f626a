"""An array that fails or hangs is no trouble of the others, and nothing final is said while it might be the one that fits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from csi_cinderlib.backend.stats import Candidate, RatedStats
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, InvalidRequest, NotReady
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.requests import ClassParameters, GetCapacity
from csi_cinderlib.provisioning.placement import PROMPT_SECONDS
from tests.component.provisioning.conftest import NOTHING, Site, driver_of


@pytest.fixture
def away(empty_site: Site) -> Any:
    """The driver of a back end whose report is old, and which is beside one that is well."""
    for name in ("away", "well"):
        empty_site.add_backend(name, capacity_gb="100")
        backend = cast(LocalBackend, empty_site.backends.get(name))
        backend._reports._seconds = 0
    return driver_of(empty_site, "away")


def refuse(*_: object, **__: object) -> None:
    raise OSError("no route to host")


def test_a_volume_goes_to_the_array_that_answers(away: Any, empty_site: Site) -> None:
    away.get_volume_stats = refuse
    assert empty_site.create("a").backend == "well"
    assert empty_site.create("b", parameters={"backend": "well"}).backend == "well"
    assert empty_site.volumes.capacity(GetCapacity()).available > 0


def test_what_only_the_silent_array_could_do_may_be_asked_again(away: Any, empty_site: Site) -> None:
    away.get_volume_stats = refuse
    with pytest.raises(BackendUnavailable, match="no route to host"):
        empty_site.create("a", parameters={"backend": "away"})
    with pytest.raises(BackendUnavailable, match="no route to host"):
        empty_site.create("b", gib=1000)
    with pytest.raises(BackendUnavailable, match="no route to host"):
        empty_site.volumes.capacity(GetCapacity(parameters=ClassParameters(backend="away")))


@dataclass
class Hanging:
    """A report that is asked for, and does not come until it is told to."""

    asked: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def __call__(self, **_: object) -> dict[str, object]:
        self.asked.set()
        self.over.wait(60)
        return {"pools": [{"pool_name": "one", "total_capacity_gb": 100, "free_capacity_gb": 100}]}


@pytest.fixture
def hanging(away: Any) -> Iterator[Hanging]:
    away.get_volume_stats = found = Hanging()
    yield found
    found.over.set()


def test_an_array_that_hangs_holds_up_one_call_and_no_other(hanging: Hanging, empty_site: Site) -> None:
    assert empty_site.create("a", parameters={"backend": "well"}).backend == "well"
    assert not hanging.asked.is_set(), "it does not concern that array"
    victim = threading.Thread(target=empty_site.volumes.capacity, args=(GetCapacity(),))
    victim.start()
    assert hanging.asked.wait(60)
    assert empty_site.create("b").backend in {"well", "away"}
    assert empty_site.create("c", parameters={"backend": "well"}).backend == "well"
    assert victim.is_alive()
    hanging.over.set()
    victim.join()


class Silent(LocalBackend):
    """Does not answer what it is asked about its capacity."""

    events: list[tuple[str, str, float]]

    def ask_rated_stats(self, candidate: Candidate) -> Callable[[float], RatedStats]:
        self.events.append(("ask", self.name, 0.0))

        def wait(seconds: float) -> RatedStats:
            self.events.append(("wait", self.name, seconds))
            time.sleep(seconds)
            raise BackendUnavailable(self.name, "it does not respond")

        return wait


def test_several_arrays_that_hang_hold_up_a_call_as_long_as_one(empty_site: Site) -> None:
    events: list[tuple[str, str, float]] = []
    names = ["one", "two", "three"]
    for name in names:
        settings = BackendSettings(name=name, driver=NOTHING)
        silent = Silent(settings, store=empty_site.store, runtime=empty_site.runtime, owner="here")
        silent.events = events
        empty_site.backends.add(silent)
        silent.start()
    empty_site.add_backend("well")
    assert empty_site.create().backend == "well"
    assert [(what, name) for what, name, _ in events] == [(what, name) for what in ("ask", "wait") for name in names]
    assert sum(seconds for _, _, seconds in events) <= PROMPT_SECONDS


def test_without_any_back_end_nothing_final_is_said(empty_site: Site) -> None:
    with pytest.raises(NotReady, match="no back end is configured"):
        empty_site.create()


def test_an_unknown_back_end_is_still_refused_with_those_that_are_known(away: Any, empty_site: Site) -> None:
    with pytest.raises(InvalidRequest, match="unknown back end 'nowhere'; configured: away, well"):
        empty_site.create(parameters={"backend": "nowhere"})
