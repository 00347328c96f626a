"""A back end moves from a file to an object while its driver's process runs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.app import conditions
from csi_cinderlib.app.backend_views import Views
from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.emptiness import Remains
from csi_cinderlib.app.observations import Observations
from csi_cinderlib.app.reconfiguration import for_driver
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.app.test_sources import PATH, SECRETS, Site
from tests.support.running import NOTHING, Run, wait_for

FILED = "array: {driver: %s, options: {nothing_password: canary-1}}\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, MemoryStore())
    yield site
    site.close()


@pytest.fixture
def started(site: Site, run: Run) -> tuple[RunningBackends, Backends]:
    """A ready back end of a file."""
    (site.directory / "a.yaml").write_text(FILED % NOTHING)
    running, registry = run(directory=str(site.directory), sources=site.sources)
    wait_for(lambda: registry.all()[0].ready)
    return running, registry


def refreshed(running: RunningBackends, holds: Callable[[], object]) -> Callable[[], bool]:
    def look() -> bool:
        running.refresh()
        return bool(holds())

    return look


def process(registry: Backends) -> int:
    """The id of the process of the only back end."""
    (backend,) = registry.all()
    assert isinstance(backend, RemoteBackend)
    return backend.pid


def keep_secret(site: Site, name: str, **data: str) -> None:
    site.cluster.apply(SECRETS, name, {"data": {key: base64.b64encode(v.encode()).decode() for key, v in data.items()}})


def test_a_move_of_a_password_to_a_secret_needs_no_new_process(
    site: Site, started: tuple[RunningBackends, Backends]
) -> None:
    running, registry = started
    pid = process(registry)
    keep_secret(site, "s1", nothing_password="canary-1")
    keep_secret(site, "s2", **{"nothing-password": "canary-1"})
    site.cluster.apply(PATH, "array", {"spec": {"driver": NOTHING, "secretRef": {"name": "s1"}}})
    wait_for(refreshed(running, lambda: site.sources.states))
    (site.directory / "a.yaml").unlink()
    wait_for(refreshed(running, site.claims))
    site.cluster.apply(PATH, "array", {"spec": {"driver": NOTHING, "secretRef": {"name": "s2"}}})
    origin = {"nothing_password": "secret s2, key nothing-password"}
    wait_for(refreshed(running, lambda: registry.all()[0].settings.origins == origin))
    assert (process(registry), registry.all()[0].ready) == (pid, True)


def test_a_value_that_becomes_secret_by_its_origin_needs_a_process_that_hides_it() -> None:
    known = BackendSettings(name="a", driver=NOTHING, options={"mode": "x", "san_password": "y"})
    moved = replace(known, origins={"san_password": "secret s, key san_password"})
    assert for_driver(moved) == for_driver(known)
    hidden = replace(known, origins={"mode": "secret s, key mode"})
    assert for_driver(hidden) != for_driver(known)
    assert for_driver(replace(known, origins={"mode": "secret t, key mode"})) == for_driver(hidden)


def test_a_refused_object_does_not_end_the_back_end_of_the_file_that_it_replaces(
    site: Site, started: tuple[RunningBackends, Backends]
) -> None:
    running, registry = started
    pid = process(registry)
    site.cluster.apply(PATH, "array", {"spec": {"driver": NOTHING, "options": {"nothing_password": "canary-1"}}})
    wait_for(refreshed(running, lambda: site.sources.states))
    assert "spec.options.nothing_password: holds a password" in site.refusal()[1]
    (site.directory / "a.yaml").unlink()
    running.refresh()
    assert (process(registry), registry.all()[0].ready) == (pid, True)
    assert "holds a password" in running.unreadable()["array"]


def test_a_configuration_is_not_accepted_before_the_driver_has_checked_it(site: Site, run: Run) -> None:
    """`kubectl wait --for=condition=Accepted` would return too early."""
    running, registry = run(directory=str(site.directory), sources=site.sources)
    site.cluster.apply(PATH, "array", {"spec": {"driver": NOTHING, "options": {"no_such_option": "x"}}})
    seen, views, told = Observations(registry), Views(running, lambda _name: Remains()), list[tuple[str, str]]()

    def is_refused() -> bool:
        running.refresh()
        for look in seen.look():
            found = {
                item["type"]: (item["status"], item["reason"]) for item in conditions.conditions(look, views.of(look))
            }
            told.append(found["Accepted"])
        return ("False", "OptionsRejected") in told

    wait_for(is_refused)
    assert ("True", "Accepted") not in told
