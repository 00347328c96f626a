"""The conditions of a back end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from csi_cinderlib.app import conditions
from csi_cinderlib.app.backend_views import View
from csi_cinderlib.app.emptiness import Remains
from csi_cinderlib.app.object_states import Declared, Refusal
from csi_cinderlib.app.observations import Seen
from csi_cinderlib.config.settings import BackendSettings

Json = dict[str, Any]
READY = Seen(name="array", driver="x.Driver", ready=True)
WRONG = Refusal("OptionsRejected", "spec.options.sam_ip: is not an option of this driver")


def declared(generation: int = 3, **metadata: str) -> Declared:
    return Declared(
        "array", {"metadata": {"name": "array", "uid": "u", "generation": generation, **metadata}, "spec": {}}
    )


VIEW = View(declared=declared(), in_effect=3)


def by_type(seen: Seen, view: View) -> dict[str, tuple[str, str, int]]:
    found = conditions.conditions(seen, view)
    return {item["type"]: (item["status"], item["reason"], item.get("observedGeneration", 0)) for item in found}


def test_a_working_back_end_is_ready_with_the_newest_generation() -> None:
    running = BackendSettings(name="array", driver="x.Driver")
    assert by_type(READY, View(declared=declared(), in_effect=3, settings=running)) == {
        "Ready": ("True", "Ready", 3),
        "Accepted": ("True", "Accepted", 3),
        "Paused": ("False", "NotPaused", 3),
        "Drained": ("False", "NotDrained", 3),
    }


def test_nothing_is_said_of_the_work_of_a_back_end_that_does_not_run() -> None:
    found = by_type(Seen(name="array"), View(declared=declared(), in_effect=3, refusal=WRONG))
    assert found["Paused"] == found["Drained"] == ("False", "NotRunning", 3)


def test_after_a_refused_change_readiness_is_that_of_the_previous_generation() -> None:
    found = by_type(READY, View(declared=declared(), in_effect=2, refusal=WRONG))
    assert found["Ready"] == ("True", "Ready", 2)
    assert found["Accepted"] == ("False", "OptionsRejected", 3)


def test_while_options_are_checked_it_is_unknown_whether_they_are_accepted() -> None:
    found = by_type(READY, View(declared=declared(), in_effect=2, is_pending=True))
    assert found["Accepted"] == ("Unknown", "BeingChecked", 3)
    assert found["Ready"] == ("True", "Ready", 2)


def test_a_back_end_that_never_worked_gives_the_reason_of_the_refusal() -> None:
    view = View(declared=declared(), in_effect=3, refusal=WRONG)
    assert by_type(Seen(name="array", reason="no"), view)["Ready"] == ("False", "OptionsRejected", 3)
    assert by_type(Seen(name="array", reason="no"), View())["Ready"] == ("False", "NotReady", 0)
    assert by_type(Seen(name="array", reason="is still starting", starting=True), View())["Ready"][1] == "Starting"


def test_a_drained_back_end_is_drained_once_it_is_empty() -> None:
    settings = BackendSettings(name="array", driver="x.Driver", drained=True, paused=True)
    full = View(declared=declared(), settings=settings, remains=Remains(volumes=2, snapshots=1))
    assert by_type(READY, full)["Drained"] == ("False", "Draining", 3)
    assert by_type(READY, full)["Paused"] == ("True", "Paused", 3)
    (message,) = [item["message"] for item in conditions.conditions(READY, full) if item["type"] == "Drained"]
    assert message == "no new volumes are accepted; 2 volumes and 1 snapshot left"
    empty = View(declared=declared(), settings=settings, remains=Remains())
    assert by_type(READY, empty)["Drained"] == ("True", "Empty", 3)


def test_a_back_end_is_paused_once_nothing_is_in_progress() -> None:
    """`kubectl wait --for=condition=Paused` before the maintenance of an array must not return too early."""
    settings = BackendSettings(name="array", driver="x.Driver", paused=True)
    busy = View(declared=declared(), settings=settings, is_busy=True)
    assert by_type(READY, busy)["Paused"] == ("False", "Pausing", 3)
    assert by_type(READY, replace(busy, is_busy=False))["Paused"] == ("True", "Paused", 3)


def test_a_deletion_names_what_prevents_it() -> None:
    deleted = declared(deletionTimestamp="2026-01-01T00:00:00Z")
    view = View(declared=deleted, remains=Remains(volumes=1, unreadable=2))
    assert by_type(READY, view)["Deleting"] == ("True", "VolumesExist", 3)
    assert conditions.conditions(READY, view)[-1]["message"] == (
        "the back end still has 1 volume and 2 unreadable records; it is removed when these are deleted, and accepts no new volumes"
    )
    assert by_type(READY, View(declared=deleted, remains=Remains()))["Deleting"] == ("True", "Finishing", 3)


def test_the_time_of_a_condition_changes_only_with_its_status() -> None:
    first = conditions.timed(conditions.conditions(READY, View()), (), "one")
    assert {item["lastTransitionTime"] for item in first} == {"one"}
    broken = Seen(name="array", reason="login failed")
    second = {item["type"]: item for item in conditions.timed(conditions.conditions(broken, View()), first, "two")}
    assert second["Ready"]["lastTransitionTime"] == "two"
    assert second["Accepted"]["lastTransitionTime"] == "one"
    later = Seen(name="array", reason="no route")
    third = conditions.timed(conditions.conditions(later, View()), second.values(), "three")
    assert [item["lastTransitionTime"] for item in third if item["type"] == "Ready"] == ["two"]


def test_conditions_have_the_standard_fields() -> None:
    found = conditions.timed(conditions.conditions(READY, VIEW), (), "2026-01-01T00:00:00Z")
    fields = {"type", "status", "reason", "message", "observedGeneration", "lastTransitionTime"}
    assert {frozenset(item) for item in found} == {frozenset(fields)}
    assert conditions.untimed(found) == conditions.conditions(READY, VIEW)


def test_a_drained_back_end_is_not_empty_while_a_volume_may_arrive() -> None:
    settings = BackendSettings(name="array", driver="x.Driver", drained=True)
    view = View(declared=declared(), settings=settings, remains=Remains(is_open=True, leftovers=1))
    assert by_type(READY, view)["Drained"] == ("False", "Draining", 3)
    message = next(item["message"] for item in conditions.conditions(READY, view) if item["type"] == "Drained")
    assert message == "no new volumes are accepted; 1 leftover and a creation in progress left"


def test_a_deletion_that_a_refused_spec_prevents_names_the_remedy() -> None:
    deleted = declared(deletionTimestamp="2026-01-01T00:00:00Z")
    missing = Refusal("SecretNotFound", "spec.secretRef.name: there is no Secret 'array1' in this namespace")
    view = View(declared=deleted, remains=Remains(volumes=1), refusal=missing)
    assert conditions.conditions(READY, view)[-1]["message"].endswith(
        "They can be deleted only after a correction: spec.secretRef.name: there is no Secret 'array1' in this namespace"
    )


def test_a_long_message_is_shortened() -> None:
    view = View(declared=declared(), refusal=Refusal("OptionsRejected", "x" * 100_000))
    assert (
        max(len(item["message"]) for item in conditions.conditions(Seen(name="a", reason="y" * 100_000), view)) == 1000
    )
