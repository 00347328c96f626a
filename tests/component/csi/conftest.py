"""A server over a real socket, with the real services, and a client of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.csi.identity import Identity
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.server import Server, Service
from csi_cinderlib.persistence.plugins import open_store
from tests.component.csi.harness import Running, Serve, connected
from tests.component.csi.site import Site

SERVICES = ("Controller", "GroupController", "Node")


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A short one: pytest's own directories may be too long for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="csi-") as directory:
        yield Path(directory) / "csi.sock"


@pytest.fixture
def serve(socket_path: Path) -> Iterator[Serve]:
    """Start a server with these services; the test's end stops it."""
    with ExitStack() as stack:

        def start(
            *services: Service, expected: Sequence[str] = SERVICES, ready: bool = True, workers: int = 8
        ) -> Running:
            readiness = Readiness()
            identity = Identity(name="test.cinderlib.io", version="1", readiness=readiness, services=expected)
            server = Server(
                f"unix://{socket_path}", identity=identity, readiness=readiness, expected=expected, workers=workers
            )
            server.start()
            stack.callback(server.stop, 0.1)
            server.add(*services)
            if ready:
                readiness.ready()
            return Running(server, readiness, stack.enter_context(connected(server.path)))

        yield start


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path_factory.mktemp("cinder"), owner="here")
    runtime.start()
    yield runtime
    runtime.close()


@pytest.fixture(params=["memory", "sql"])
def site(request: pytest.FixtureRequest, tmp_path: Path, runtime: Runtime, serve: Serve) -> Iterator[Site]:
    """A controller on a socket without back ends: tests add those that they need."""
    store = open_store(str(request.param), {}, state_dir=tmp_path, sealer=None)
    site = Site(store, runtime)
    site.serve(serve)
    yield site
    for backend in site.backends.all():
        backend.stop()
    store.close()
