"""Which options of a back end are in effect: those that were observed, not those that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from csi_cinderlib.app import conditions
from csi_cinderlib.app.backend_views import Views
from csi_cinderlib.app.emptiness import Remains
from csi_cinderlib.app.object_states import Declared, Refusal, State
from csi_cinderlib.app.observations import Seen
from csi_cinderlib.app.reconfiguration import for_driver
from csi_cinderlib.config.settings import BackendSettings

OLD = BackendSettings(name="array", driver="x.Driver", options={"san_ip": "192.0.2.1"})
NEW = replace(OLD, options={"san_ip": "192.0.2.2"})


@dataclass
class Running:
    """The running back ends, as far as views ask."""

    used: BackendSettings
    state: State
    rejected: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, Exception] = field(default_factory=dict)

    @property
    def sources(self) -> Running:
        return self

    def owner(self, _name: str) -> State:
        return self.state

    def settings(self, _name: str) -> BackendSettings:
        return self.used

    def is_busy(self, _name: str) -> bool:
        return False

    def uses(self, settings: BackendSettings) -> bool:
        return for_driver(self.used) == for_driver(settings)


def state(settings: BackendSettings, generation: int) -> State:
    found: dict[str, Any] = {"metadata": {"name": "array", "uid": "u", "generation": generation}, "spec": {}}
    return State(Declared("array", found, is_owner=True), settings)


def generations(views: Views, seen: Seen) -> Iterator[tuple[str, int]]:
    for item in conditions.conditions(seen, views.of(seen)):
        if item["type"] in {"Ready", "Accepted"}:
            yield item["status"], item["observedGeneration"]


def test_an_old_observation_is_not_taken_for_one_of_the_new_options() -> None:
    """`kubectl wait --for=condition=Ready` after `kubectl apply` would return too early."""
    running = Running(OLD, state(OLD, 1))
    views = Views(running, lambda _name: Remains())  # type: ignore[arg-type]
    looked = Seen(name="array", ready=True, settings=OLD)
    assert list(generations(views, looked)) == [("True", 1), ("True", 1)]
    running.used, running.state = NEW, state(NEW, 2)
    assert list(generations(views, looked)) == [("True", 1), ("True", 2)]
    assert list(generations(views, replace(looked, settings=NEW))) == [("True", 2), ("True", 2)]


def test_options_that_were_replaced_before_the_first_look_are_not_taken_for_the_new_ones() -> None:
    running = Running(OLD, State(state(NEW, 2).declared, refusal=Refusal("InvalidSpec", "not an option")))
    views = Views(running, lambda _name: Remains())  # type: ignore[arg-type]
    seen = Seen(name="array", ready=True, settings=OLD)
    found = {item["type"]: item for item in conditions.conditions(seen, views.of(seen))}
    assert (found["Ready"]["status"], "observedGeneration" in found["Ready"]) == ("True", False)
    assert (found["Accepted"]["status"], found["Accepted"]["observedGeneration"]) == ("False", 2)
    assert list(generations(views, replace(seen, ready=False))) == [("False", 2), ("False", 2)]


def test_a_back_end_that_moves_between_a_file_and_an_object_is_the_same_for_its_driver() -> None:
    file = replace(OLD, directory="/etc/csi-cinderlib/backends", pools=("a",))
    assert for_driver(file) == for_driver(OLD)
    relative = replace(file, options={"nfs_shares_config": "shares"})
    absolute = replace(OLD, options={"nfs_shares_config": "/etc/csi-cinderlib/backends/shares"})
    assert for_driver(relative) == for_driver(absolute)
    assert for_driver(relative) != for_driver(replace(relative, directory="/elsewhere"))
