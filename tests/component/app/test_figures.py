"""The gauges show what the controller knows, and 0 for what is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from csi_cinderlib.app.figures import WALK_SECONDS, Figures
from csi_cinderlib.app.observations import Observations
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe.metrics import Metrics
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning.orphans import Orphan, Orphans

OLD = "2020-01-01T00:00:00.000000Z"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store("memory", {}, state_dir=tmp_path)
    yield store
    store.close()


@pytest.fixture
def backends(store: Store, tmp_path: Path) -> Iterator[Backends]:
    runtime = Runtime(tmp_path / "cinder", owner="here")
    options = {"nothing_capacity_gb": "100", "nothing_pools": ["ssd"]}
    settings = [
        BackendSettings(name="figured", driver="tests.support.fakes.nothing.NothingDriver", options=options),
        BackendSettings(name="unfigured", driver="tests.support.fakes.nothing.NothingDriver"),
    ]
    backends = Backends(LocalBackend(one, store=store, runtime=runtime) for one in settings)
    first = backends.all()[0]
    first.start()
    yield backends
    first.stop()
    runtime.close()


def test_pools_readiness_volumes_and_orphans_are_shown(store: Store, backends: Backends) -> None:
    metrics = Metrics(version="1", mode="controller", driver_name="d")
    orphans = Orphans(store, backends, KeyedLocks(), grace=timedelta(hours=1))
    now = 0.0
    figures = Figures(metrics, store, Observations(backends), orphans, monotonic=lambda: now)
    whole = store.add(Volume(id="a", backend="figured", size=GiB(1), status=Status.AVAILABLE, created_at=OLD))
    store.add(Volume(id="b", backend="figured", size=GiB(1), status=Status.CREATING, created_at=OLD))
    store.add(Volume(id="c", backend="figured", size=GiB(1), status=Status.DELETED, created_at=OLD))
    figures.update()
    shown = metrics.exposition().decode()
    assert 'status="deleted"' not in shown
    assert 'csi_cinderlib_backend_ready{backend="figured"} 1.0' in shown
    assert 'csi_cinderlib_backend_ready{backend="unfigured"} 0.0' in shown
    (total,) = [
        line
        for line in shown.splitlines()
        if line.startswith('csi_cinderlib_pool_bytes{backend="figured",kind="total"')
    ]
    assert float(total.split()[-1]) == 100 * 1024**3
    assert 'csi_cinderlib_volumes{backend="figured",status="available"} 1.0' in shown
    assert 'csi_cinderlib_orphans{backend="figured"} 1.0' in shown
    store.remove(whole)
    now = WALK_SECONDS[0] - 1
    figures.update()
    assert 'csi_cinderlib_volumes{backend="figured",status="available"} 1.0' in metrics.exposition().decode()
    now = WALK_SECONDS[0]
    figures.update()
    assert 'csi_cinderlib_volumes{backend="figured",status="available"} 0.0' in metrics.exposition().decode()


def test_what_is_allocated_is_counted_also_for_a_driver_that_reports_what_is_provisioned(
    store: Store, backends: Backends
) -> None:
    metrics = Metrics(version="1", mode="controller", driver_name="d")
    figures = Figures(metrics, store, Observations(backends), Orphans(store, backends, KeyedLocks()))
    for id, status in (("a", Status.AVAILABLE), ("b", Status.EXTENDING), ("c", Status.ERROR), ("d", Status.DELETED)):
        store.add(Volume(id=id, backend="figured", pool="ssd", size=GiB(2), status=status, created_at=OLD))
    name = 'csi_cinderlib_pool_bytes{backend="figured",kind="allocated",pool="ssd"}'
    figures.update()
    assert name not in metrics.exposition().decode(), "before it is known"
    figures.update()
    (line,) = [line for line in metrics.exposition().decode().splitlines() if line.startswith(name)]
    assert float(line.split()[-1]) == 4 * 1024**3


@pytest.mark.parametrize(("needs", "pause"), [(0.1, 30), (2, 200), (5, 300)])
def test_a_walk_that_takes_long_is_seldom_done(
    store: Store, backends: Backends, monkeypatch: pytest.MonkeyPatch, needs: float, pause: float
) -> None:
    metrics, orphans, now, walks = (
        Metrics(version="1", mode="m", driver_name="d"),
        Orphans(store, backends, KeyedLocks()),
        0.0,
        0,
    )

    def find() -> list[Orphan]:
        nonlocal now, walks
        now += needs
        walks += 1
        return []

    monkeypatch.setattr(orphans, "find", find)
    figures = Figures(metrics, store, Observations(backends), orphans, monotonic=lambda: now)
    figures.update()
    now = needs + pause - 1
    figures.update()
    assert walks == 1
    now += 1
    figures.update()
    assert walks == 2


def test_a_walk_that_fails_is_not_done_again_at_each_look(
    store: Store, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, orphans, now, walks = (
        Metrics(version="1", mode="m", driver_name="d"),
        Orphans(store, backends, KeyedLocks()),
        0.0,
        0,
    )

    def find() -> list[Orphan]:
        nonlocal walks
        walks += 1
        raise StoreUnavailable("gone")

    monkeypatch.setattr(orphans, "find", find)
    figures = Figures(metrics, store, Observations(backends), orphans, monotonic=lambda: now)
    with pytest.raises(StoreUnavailable):
        figures.update()
    now = WALK_SECONDS[0] - 1
    figures.update()
    assert walks == 1
    assert 'csi_cinderlib_backend_ready{backend="figured"} 1.0' in metrics.exposition().decode()
    now += 1
    with pytest.raises(StoreUnavailable):
        figures.update()


def test_of_a_back_end_that_is_gone_only_its_volumes_are_shown(store: Store, backends: Backends) -> None:
    metrics = Metrics(version="1", mode="controller", driver_name="d")
    figures = Figures(metrics, store, Observations(backends), Orphans(store, backends, KeyedLocks()))
    store.add(Volume(id="a", backend="figured", size=GiB(1), status=Status.AVAILABLE, created_at=OLD))
    figures.update()
    backends.remove("figured")
    figures.update()
    shown = metrics.exposition().decode()
    assert 'csi_cinderlib_backend_ready{backend="figured"}' not in shown
    assert 'csi_cinderlib_pool_bytes{backend="figured"' not in shown
    assert 'csi_cinderlib_volumes{backend="figured",status="available"} 1.0' in shown
    assert 'csi_cinderlib_backend_ready{backend="unfigured"} 0.0' in shown
