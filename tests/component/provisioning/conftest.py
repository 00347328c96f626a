"""The controller's parts, real ones, on Cinder drivers that do nothing but can be told to be slow or to fail."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config.settings import BackendSettings, SealingKey
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.model.records import EMPTY, Node, Source, Volume, VolumeType
from csi_cinderlib.model.requests import ClassParameters, CreateSnapshot, CreateVolume, PublishVolume
from csi_cinderlib.model.size import Bytes, SizeRange
from csi_cinderlib.model.times import utc_now
from csi_cinderlib.persistence.api import Page, R, Store, Where
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning import installation
from csi_cinderlib.provisioning.attachments import Attachments
from csi_cinderlib.provisioning.contexts import Contexts
from csi_cinderlib.provisioning.groups import Groups
from csi_cinderlib.provisioning.orphans import Orphans
from csi_cinderlib.provisioning.registrations import Registrations
from csi_cinderlib.provisioning.snapshots import Snapshots
from csi_cinderlib.provisioning.volumes import Volumes
from csi_cinderlib.sealing import Sealer

GIB = 1024**3
NOTHING = "tests.support.fakes.nothing.NothingDriver"
KEY = SealingKey(id="k1", key="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
MOUNT = Capability(Mount(), AccessMode.SINGLE_NODE_WRITER)
BLOCK = Capability(Block(), AccessMode.SINGLE_NODE_WRITER)
SHARED = Capability(Block(), AccessMode.MULTI_NODE_MULTI_WRITER)
GOLD = VolumeType(name="gold", extra_specs={"vendor:tier": "1"}, qos_specs={"maxIOPS": "100"})

_numbers = itertools.count(1)


@dataclass
class Site:
    """A controller, without its socket."""

    store: Store
    runtime: Runtime
    backends: Backends = field(default_factory=Backends)
    locks: KeyedLocks = field(default_factory=KeyedLocks)
    sealer: Sealer = field(default_factory=lambda: Sealer([KEY]))
    max_per_node: int = 0
    page_limit: int = 1000
    types: Mapping[str, VolumeType] = field(default_factory=lambda: {"gold": GOLD})
    clock: Callable[[], datetime] = utc_now
    nodes: Store | None = None
    ids: Namespace = field(init=False)
    _registrations: Registrations | None = None

    def __post_init__(self) -> None:
        self.ids = installation.namespace(self.store)

    @property
    def volumes(self) -> Volumes:
        return Volumes(
            self.store,
            self.backends,
            self.locks,
            ids=self.ids,
            volume_types=self.types,
            page_limit=self.page_limit,
            clock=self.clock,
        )

    @property
    def snapshots(self) -> Snapshots:
        return Snapshots(
            self.store, self.backends, self.locks, ids=self.ids, page_limit=self.page_limit, clock=self.clock
        )

    @property
    def registrations(self) -> Registrations:
        """Of this controller, for as long as it runs."""
        if self._registrations is None:
            self._registrations = Registrations(self.store, self.nodes)
        return self._registrations

    def restart(self) -> None:
        """Forget what is in memory alone."""
        self._registrations = None

    @property
    def attachments(self) -> Attachments:
        return Attachments(
            self.store,
            self.backends,
            self.locks,
            ids=self.ids,
            contexts=Contexts(self.sealer, nodes=self.nodes or self.store),
            max_per_node=self.max_per_node,
            registrations=self.registrations,
            clock=self.clock,
        )

    @property
    def groups(self) -> Groups:
        return Groups(self.store, self.backends, self.locks, ids=self.ids, clock=self.clock)

    @property
    def orphans(self) -> Orphans:
        return Orphans(self.store, self.backends, self.locks)

    def add_backend(self, name: str = "", *, topology: Mapping[str, str] = EMPTY, **options: Any) -> Any:
        """Start one more back end and return its driver. Options are the fake driver's, without their prefix."""
        settings = BackendSettings(
            name=name or f"array{next(_numbers)}",
            driver=options.pop("driver", NOTHING),
            options={f"nothing_{key}": value for key, value in options.items()},
            topology=topology,
            max_concurrent_calls=0,
        )
        backend = LocalBackend(settings, store=self.store, runtime=self.runtime, owner="here")
        self.backends.add(backend)
        backend.start()
        backend.wait_for_exports()
        return backend.driver

    def node(self, name: str) -> str:
        (self.nodes or self.store).add(Node(id=name, connector={"host": name, "initiator": f"iqn.{name}"}))
        return name

    def create(self, name: str = "pvc-1", **more: Any) -> Volume:
        return self.volumes.create(creation(name, **more))

    def publish(
        self, volume: Volume, node: str, capability: Capability = MOUNT, *, read_only: bool = False
    ) -> Connection:
        request = PublishVolume(volume_id=volume.id, node_id=node, capability=capability, read_only=read_only)
        context = self.attachments.publish(request)
        return Connection.from_bytes(self.sealer.open(context["connection"]))


def creation(
    name: str = "pvc-1",
    *,
    gib: float = 1,
    limit: float = 0,
    capability: Capability = MOUNT,
    parameters: Mapping[str, str] | None = None,
    source: Source | None = None,
    **more: Any,
) -> CreateVolume:
    given = dict(parameters or {})
    return CreateVolume(
        name=name,
        size=SizeRange(Bytes(int(gib * GIB)), Bytes(int(limit * GIB))),
        capabilities=(capability,),
        parameters=ClassParameters(
            backend=given.get("backend", ""),
            pool=given.get("pool", ""),
            type=given.get("type", ""),
            extra_specs=_below("extraSpecs/", given),
            qos=_below("qos/", given),
            given=given,
        ),
        source=source,
        **more,
    )


def snapshotting(volume: Volume, name: str = "snap-1") -> CreateSnapshot:
    return CreateSnapshot(name=name, volume_id=volume.id)


def _below(prefix: str, given: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path_factory.mktemp("cinder"), owner="here")
    runtime.start()
    yield runtime
    runtime.close()


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(cast(str, request.param), {}, state_dir=tmp_path, sealer=None)
    yield store
    store.close()


@pytest.fixture
def empty_site(store: Store, runtime: Runtime) -> Iterator[Site]:
    """Without a back end: tests add those that they need."""
    site = Site(store, runtime)
    yield site
    for backend in site.backends.all():
        backend.stop()


def driver_of(site: Site, name: str) -> Any:
    """A back end's driver, which runs in this process."""
    return cast(LocalBackend, site.backends.get(name)).driver


@pytest.fixture
def site(empty_site: Site) -> Site:
    empty_site.add_backend("array")
    return empty_site


@pytest.fixture
def driver(site: Site) -> Any:
    return driver_of(site, "array")


Configure = Callable[..., None]


class Held:
    """Calls into the driver of the back end `array` that begin meanwhile wait until they are let go."""

    def __init__(self, driver: Any, configure: Configure, file: Path) -> None:
        self._driver = driver
        self._configure = configure
        self._file = file

    def hold(self) -> None:
        self._file.touch()
        self._configure(held=str(self._file))

    def wait_for(self, calls: int = 1) -> None:
        """Until so many calls wait. Later ones do not."""
        wait_until(lambda: self._driver.delayed >= calls, f"{calls} calls did not reach the driver")
        self._configure(held="")

    def let_go(self) -> None:
        self._file.unlink(missing_ok=True)


@pytest.fixture
def held(driver: Any, configure: Configure, tmp_path: Path) -> Iterator[Held]:
    held = Held(driver, configure, tmp_path / "held")
    yield held
    held.let_go()


def wait_until(holds: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, problem
        time.sleep(0.001)


@pytest.fixture
def configure(site: Site) -> Configure:
    """Change options of the fake driver while it runs."""

    driver = driver_of(site, "array")

    def change(**options: Any) -> None:
        for name, value in options.items():
            setattr(overlay, f"nothing_{name}", value)

    overlay = driver.configuration = _Overlay(driver.configuration)
    return change


class _Overlay:
    """A driver's configuration of which a test changes options."""

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration

    def __getattr__(self, name: str) -> Any:
        return getattr(self._configuration, name)


class Damaged:
    """A store in which some records cannot be read."""

    def __init__(self, store: Store, *ids: str) -> None:
        self._store = store
        self._ids = ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where | None = None) -> Page[R]:
        page = self._store.page(kind, after=after, limit=limit, where=where or {})
        readable = tuple(record for record in page.records if record.id not in self._ids)
        return Page(readable, page.next, tuple(record.id for record in page.records if record.id in self._ids))
