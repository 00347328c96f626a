"""When the state of the back ends is written, by whom, and when an event tells about it. On an API server: tests/cluster/store."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app.backend_status import (
    EVENT_SECONDS,
    REFRESH_SECONDS,
    SILENT_SECONDS,
    BackendStatus,
    capacity,
)
from csi_cinderlib.app.backend_views import NO_VIEW, View
from csi_cinderlib.app.conditions import LONGEST_MESSAGE
from csi_cinderlib.app.observations import Seen
from csi_cinderlib.backend.stats import BackendStats, Pool
from csi_cinderlib.errors import LeaseLost, NotFound, StoreUnavailable
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.kubernetes.resources import definitions
from csi_cinderlib.persistence.kubernetes.statuses import Statuses, object_name
from csi_cinderlib.persistence.plugins import open_store

Json = dict[str, Any]
STATS = BackendStats(protocol="iSCSI", pools=(Pool(name="p", total=100.0, free=40.9), Pool(name="q", total=10, free=1)))
GOOD = Seen(name="array", driver="x.Driver", ready=True, stats=STATS)
BROKEN = Seen(name="array", driver="x.Driver", reason="login failed")


class Shelf(Statuses):
    """The objects in memory, for several controllers at once."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.writes = 0
        self.events: list[str] = []
        self.refuses: set[str] = set()

    def ensure(self, backend: str, driver: str) -> Json:
        self._answer("ensure")
        name = object_name(backend)
        known = self.objects.setdefault(name, {"metadata": {"name": name, "uid": "u", "generation": 1}})
        known["spec"] = {"name": backend, "driver": driver}
        return copy.deepcopy(known)

    def write(self, found: Json, status: Json) -> None:
        self._answer("write")
        self.writes += 1
        self.objects[found["metadata"]["name"]]["status"] = status

    def all(self) -> list[Json]:
        self._answer("all")
        return list(self.objects.values())

    def remove(self, name: str) -> None:
        self._answer("remove")
        self.objects.pop(name, None)

    def tell(self, found: Json, *, reason: str, note: str, warning: bool, now: datetime) -> None:
        self._answer("tell")
        self.events.append(f"{'Warning' if warning else 'Normal'} {reason}: {note}")

    def _answer(self, call: str) -> None:
        if call in self.refuses:
            raise StoreUnavailable(f"no right to {call}")

    def status(self, name: str = "array") -> Json:
        found: Json = self.objects[name]["status"]
        return found

    def figures(self, name: str = "array") -> Json:
        """The status without the conditions."""
        hidden = {"conditions", "observedGeneration"}
        return {key: value for key, value in self.status(name).items() if key not in hidden}


@dataclass
class Site:
    """Controllers, what each of them sees, and their common clock."""

    store: Store
    shelf: Shelf = field(default_factory=Shelf)
    now: float = 0.0
    seen: dict[str, tuple[Seen, ...]] = field(default_factory=dict)
    controllers: dict[str, BackendStatus] = field(default_factory=dict)
    restarted: list[tuple[str, str]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    view: View = NO_VIEW

    def restart(self, controller: str, backend: str) -> None:
        if backend not in {"array", "other"}:
            raise NotFound("back end", backend)
        self.restarted.append((controller, backend))

    def check_lease(self, controller: str) -> None:
        if controller in self.lost:
            raise LeaseLost("another controller is active")

    def annotate(self, value: str, name: str = "array") -> None:
        self.shelf.objects[name]["metadata"]["annotations"] = {"cinderlib.io/restartedAt": value}

    def look(self, name: str, *seen: Seen) -> None:
        self.seen[name] = seen
        if name not in self.controllers:
            self.controllers[name] = BackendStatus(
                self.shelf,
                _Views(self, name),  # type: ignore[arg-type]  # all that it needs of observations
                self.store,
                restart=partial(self.restart, name),
                view=lambda _seen: self.view,
                check_lease=partial(self.check_lease, name),
                controller=name,
                clock=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now),
                monotonic=lambda: self.now,
            )
        self.controllers[name].update()

    def pass_time(self, seconds: float, **views: Seen) -> None:
        """As these controllers look every few seconds."""
        for _ in range(int(seconds // 5)):
            self.now += 5
            for name, seen in views.items():
                self.look(name, seen)


@dataclass
class _Views:
    site: Site
    name: str

    def look(self) -> tuple[Seen, ...]:
        return self.site.seen[self.name]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = open_store("memory", {}, state_dir=tmp_path)
    yield Site(store)
    store.close()


def test_a_ready_back_end_is_shown_with_its_figures_and_who_saw_it(site: Site) -> None:
    site.store.add(Volume(id="v", backend="array", size=GiB(1)))
    site.look("c1", GOOD)
    assert site.shelf.figures() == {
        "ready": True,
        "reason": "",
        "protocol": "iSCSI",
        "totalGiB": 110,
        "freeGiB": 41,
        "volumes": 1,
        "observedAt": "2026-01-01T00:00:00Z",
        "controller": "c1",
    }
    assert site.shelf.events == ["Normal BackendReady: Back end array is ready"]


def test_nothing_is_written_while_nothing_changes_but_a_slow_refresh(site: Site) -> None:
    site.look("c1", GOOD)
    site.pass_time(REFRESH_SECONDS - 5, c1=GOOD)
    assert site.shelf.writes == 1
    site.pass_time(REFRESH_SECONDS * 3, c1=GOOD)
    assert site.shelf.writes == 4
    assert len(site.shelf.events) == 1


def test_a_change_is_written_at_the_next_look_and_told(site: Site) -> None:
    site.look("c1", GOOD)
    site.pass_time(EVENT_SECONDS, c1=GOOD)
    site.look("c1", BROKEN)
    assert site.shelf.figures() | {"observedAt": ""} == {
        "ready": False,
        "reason": "login failed",
        "volumes": 0,
        "observedAt": "",
        "controller": "c1",
    }
    assert site.shelf.events[1:] == ["Warning BackendNotReady: Back end array is not ready: login failed"]


def test_events_of_a_back_end_that_comes_and_goes_are_few_and_the_last_one_is_right(site: Site) -> None:
    for _ in range(20):
        site.pass_time(5, c1=BROKEN)
        site.pass_time(5, c1=GOOD)
    site.pass_time(EVENT_SECONDS, c1=GOOD)
    assert len(site.shelf.events) <= 5
    assert site.shelf.events[-1] == "Normal BackendReady: Back end array is ready"
    assert site.shelf.status()["ready"] is True


def test_one_that_is_just_starting_is_not_spoken_of(site: Site) -> None:
    site.look("c1", Seen(name="array", driver="x.Driver", reason="is still starting", starting=True))
    assert (site.shelf.objects, site.shelf.events) == ({}, [])


def test_a_restarted_controller_tells_nothing_that_was_told_before(site: Site) -> None:
    site.look("c1", GOOD)
    site.look("c2", GOOD)
    assert len(site.shelf.events) == 1
    assert site.shelf.status()["controller"] == "c2"


def test_a_restarted_controller_tells_what_changed_meanwhile(site: Site) -> None:
    site.look("c1", GOOD)
    site.look("c2", BROKEN)
    assert site.shelf.events[1:] == ["Warning BackendNotReady: Back end array is not ready: login failed"]


def test_two_controllers_that_see_the_same_keep_one_object_and_tell_once(site: Site) -> None:
    for name in ("c1", "c2"):
        site.look(name, GOOD)
    site.pass_time(REFRESH_SECONDS * 5, c1=GOOD, c2=GOOD)
    assert site.shelf.writes == 2 + 5
    site.look("c1", BROKEN)
    site.look("c2", BROKEN)
    assert len(site.shelf.events) == 2
    assert site.shelf.status()["controller"] == "c1"


def test_two_controllers_that_see_different_things_do_not_write_in_turn(site: Site) -> None:
    site.look("c1", GOOD)
    site.look("c2", BROKEN)
    shown = []
    for _ in range(40):
        site.pass_time(30, c1=GOOD, c2=BROKEN)
        shown.append((site.shelf.status()["ready"], site.shelf.status()["controller"]))
    assert set(shown) == {(False, "c2")}
    assert len(site.shelf.events) == 2


def test_what_a_dead_controller_showed_is_taken_over(site: Site) -> None:
    site.look("c1", GOOD)
    site.look("c2", BROKEN)
    site.pass_time(SILENT_SECONDS + REFRESH_SECONDS, c1=GOOD)
    assert site.shelf.status()["controller"] == "c1"
    assert site.shelf.status()["ready"] is True


def test_a_back_end_that_is_configured_no_more_goes_and_so_does_one_that_went_unseen(site: Site) -> None:
    site.look("c1", GOOD, Seen(name="other", ready=True))
    site.look("c1", GOOD)
    assert set(site.shelf.objects) == {"array"}
    stranger = {"metadata": {"name": "stranger"}, "status": {"observedAt": "once"}}
    site.shelf.objects["stranger"] = stranger
    site.pass_time(SILENT_SECONDS - REFRESH_SECONDS, c1=GOOD)
    assert set(site.shelf.objects) == {"array", "stranger"}
    site.pass_time(REFRESH_SECONDS * 3, c1=GOOD)
    assert set(site.shelf.objects) == {"array"}


def test_an_object_that_somebody_deleted_comes_back(site: Site) -> None:
    site.look("c1", GOOD)
    site.shelf.objects.clear()
    site.pass_time(SILENT_SECONDS + 2 * REFRESH_SECONDS, c1=GOOD)
    assert site.shelf.status()["ready"] is True


def test_a_server_that_refuses_is_logged_once_and_what_it_missed_is_made_up_for(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.shelf.refuses = {"ensure", "all"}
    site.pass_time(100, c1=GOOD)
    assert [vars(record)["event"] for record in caplog.records] == ["back end status update failed"]
    site.shelf.refuses = set()
    site.pass_time(5, c1=GOOD)
    assert site.shelf.status()["ready"] is True
    assert len(site.shelf.events) == 1


def test_without_the_right_to_tell_the_state_is_shown_all_the_same(site: Site) -> None:
    site.shelf.refuses = {"tell"}
    site.look("c1", GOOD, Seen(name="other", ready=True))
    assert {name: item["status"]["ready"] for name, item in site.shelf.objects.items()} == {
        "array": True,
        "other": True,
    }


def test_a_reason_has_no_secret_and_an_end(site: Site) -> None:
    site.look("c1", Seen(name="array", reason="san_password=hunter2 is wrong. " + "x" * 5000))
    reason = site.shelf.status()["reason"]
    assert reason.startswith("san_password=*** is wrong")
    assert len(reason) == LONGEST_MESSAGE
    assert "hunter2" not in str(site.shelf.events)


@pytest.mark.parametrize(
    ("pools", "shown"),
    [
        ([(10.0, 4.5), (1.0, 0.6)], {"totalGiB": 11, "freeGiB": 5}),
        ([(float("inf"), float("inf"))], {}),
        ([(10.0, None)], {"totalGiB": 10}),
        ([], {}),
    ],
)
def test_capacity_is_shown_where_it_is_known(pools: list[tuple[float | None, float | None]], shown: Json) -> None:
    assert capacity(pools) == shown


@pytest.mark.parametrize("backend", ["array1", "a.b-c", "a.-b", "x..y", "NetApp_1", "netapp-1", "_", "A" * 63])
def test_every_name_of_a_back_end_makes_an_object_of_its_own(backend: str) -> None:
    import re

    name = object_name(backend)
    label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
    assert re.fullmatch(rf"{label}(\.{label})*", name)
    assert name == backend or name not in ("netapp-1", backend.lower())


def test_a_back_end_is_restarted_once_for_each_value_of_its_annotation(site: Site) -> None:
    site.look("c1", GOOD)
    site.annotate("2026-01-01T00:00:00Z")
    for _ in range(3):
        site.look("c1", GOOD)
    assert site.restarted == [("c1", "array")]
    assert site.shelf.events[1:] == ["Normal BackendRestarting: Restarting back end array as requested"]
    site.annotate("2026-01-02T00:00:00Z")
    for _ in range(3):
        site.look("c1", GOOD)
    assert site.restarted == [("c1", "array")] * 2


def test_the_next_controller_does_not_restart_again(site: Site) -> None:
    site.look("c1", GOOD)
    site.annotate("a")
    site.look("c1", GOOD)
    site.look("c2", GOOD)
    site.pass_time(REFRESH_SECONDS * 2, c2=GOOD)
    site.look("c2", BROKEN)
    assert site.restarted == [("c1", "array")]
    assert site.shelf.status() | {"restartedAt": "a", "ready": False, "controller": "c2"} == site.shelf.status()


def test_a_back_end_that_hangs_in_its_set_up_is_restarted_too(site: Site) -> None:
    site.look("c1", GOOD)
    site.annotate("a")
    site.look("c2", Seen(name="array", driver="x.Driver", reason="is still starting", starting=True))
    assert site.restarted == [("c2", "array")]


def test_a_restart_that_cannot_be_noted_is_not_begun_but_tried_later(site: Site) -> None:
    """Else it would be repeated for as long as the API server refuses."""
    site.look("c1", GOOD)
    site.annotate("a")
    site.shelf.refuses = {"write"}
    site.look("c1", GOOD)
    assert site.restarted == []
    site.shelf.refuses = set()
    site.look("c1", GOOD)
    assert site.restarted == [("c1", "array")]


def test_only_the_active_controller_restarts(site: Site) -> None:
    site.look("c1", GOOD)
    site.annotate("a")
    site.lost = {"c1"}
    site.look("c1", GOOD)
    assert (site.restarted, "restartedAt" in site.shelf.status()) == ([], False)
    site.look("c2", GOOD)
    assert site.restarted == [("c2", "array")]


def test_requests_for_what_is_no_back_end_here_hold_up_no_other(site: Site) -> None:
    file = Seen(name="file-that-cannot-be-read", reason="no YAML")
    other = Seen(name="other", driver="x.Driver", ready=True)
    site.look("c1", file, other)
    site.shelf.objects["gone"] = {"metadata": {"name": "gone"}, "spec": {"name": "gone"}, "status": {}}
    for name in ("gone", "file-that-cannot-be-read", "other"):
        site.annotate("a", name)
    site.look("c1", file, other)
    assert site.restarted == [("c1", "other")]
    assert site.shelf.status("gone") == {}


def test_the_definition_of_the_resource_has_every_field_of_the_status(site: Site) -> None:
    """The API server drops others."""
    site.look("c1", GOOD)
    site.annotate("a")
    site.look("c1", GOOD)
    (definition,) = [one for one in definitions() if one["spec"]["names"]["kind"] == "StorageBackend"]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert set(site.shelf.status()) == set(schema["properties"])
