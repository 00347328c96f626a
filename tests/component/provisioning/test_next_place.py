"""A new volume goes to the next place when the best one does not take it, but never while something of it may exist there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import (
    BackendBusy,
    BackendUnavailable,
    DriverError,
    OperationPending,
    ResourceExhausted,
    StaleRecord,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.provisioning.conftest import NOTHING, Site, driver_of

BUSY = BackendBusy("back end 'best' is busy: 4 calls in progress")
AWAY = BackendUnavailable("best", "the driver process has ended")
FULL = ResourceExhausted("no space")


class Refusing(LocalBackend):
    """Takes no creation. With `leaves` the record of the attempt stays."""

    error: DriverError
    leaves = ""

    def create_volume(self, record: Volume) -> Volume:
        if self.leaves == "record":
            self._store.add(replace(record, status=Status.CREATING, owner="here"))
        elif self.leaves == "damage":
            assert isinstance(self._store, MemoryStore)
            self._store._put_raw(Volume, record.id, "1-x", "{")
        raise self.error

    def resume_create_volume(self, record: Volume) -> Volume:
        raise self.error


def refuse(site: Site, error: DriverError, *, name: str = "best", leaves: str = "", gib: int = 1000) -> Refusing:
    """Add a back end that answers a creation so."""
    options = {"nothing_capacity_gb": str(gib)}
    settings = BackendSettings(name=name, driver=NOTHING, options=options, max_concurrent_calls=0)
    backend = Refusing(settings, store=site.store, runtime=site.runtime, owner="here")
    backend.error, backend.leaves = error, leaves
    site.backends.add(backend)
    backend.start()
    backend.wait_for_exports()
    return backend


def creations(site: Site) -> int:
    return int(driver_of(site, "next").calls["create_volume"])


@pytest.fixture
def next_site(empty_site: Site) -> Site:
    """With a back end that takes volumes, and has less room than those that tests add."""
    empty_site.add_backend("next", capacity_gb="100")
    return empty_site


@pytest.mark.parametrize("error", [BUSY, AWAY, FULL])
def test_a_volume_that_the_best_back_end_did_not_begin_goes_to_the_next_one(
    next_site: Site, error: DriverError
) -> None:
    refuse(next_site, error)
    volume = next_site.create()
    assert (volume.backend, volume.status) == ("next", Status.AVAILABLE)


@pytest.mark.parametrize("leaves", ["record", "damage"])
@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_a_volume_that_may_exist_on_the_back_end_that_went_away_is_made_nowhere_else(
    next_site: Site, leaves: str
) -> None:
    refuse(next_site, AWAY, leaves=leaves)
    with pytest.raises(BackendUnavailable, match="the driver process has ended"):
        next_site.create()
    assert creations(next_site) == 0


@pytest.mark.parametrize("error", [StaleRecord("volume", "v"), OperationPending("another call is in progress for v")])
def test_a_volume_that_another_call_works_on_is_made_nowhere_else(next_site: Site, error: DriverError) -> None:
    refuse(next_site, error)
    with pytest.raises(type(error)):
        next_site.create()
    assert creations(next_site) == 0


@pytest.mark.parametrize("error", [BUSY, AWAY])
def test_a_back_end_that_may_take_the_volume_later_keeps_a_full_one_from_ending_the_attempts(
    next_site: Site, error: DriverError
) -> None:
    """RESOURCE_EXHAUSTED is final for the provisioner, which may then choose another node."""
    refuse(next_site, error)
    refuse(next_site, FULL, name="second", gib=500)
    with pytest.raises(type(error)):
        next_site.create(gib=300)


@pytest.mark.parametrize("error", [BUSY, AWAY])
def test_a_volume_for_one_back_end_waits_for_that_one(next_site: Site, error: DriverError) -> None:
    refuse(next_site, error)
    with pytest.raises(type(error)):
        next_site.create(parameters={"backend": "best"})
    assert creations(next_site) == 0


def test_a_creation_that_began_on_a_busy_back_end_goes_on_there(next_site: Site) -> None:
    backend = refuse(next_site, AWAY, leaves="record")
    with pytest.raises(BackendUnavailable):
        next_site.create()
    backend.error = BUSY
    with pytest.raises(BackendBusy):
        next_site.create()
    assert creations(next_site) == 0
