"""The serving process: it answers first, then loads its services, and shuts down gracefully."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from csi_cinderlib import __version__
from csi_cinderlib.app import admin, state_dir
from csi_cinderlib.app.console import Console
from csi_cinderlib.app.keys import Keys
from csi_cinderlib.app.stopping import Stopping, retry
from csi_cinderlib.config import live
from csi_cinderlib.config.settings import Mode, Settings
from csi_cinderlib.csi.identity import Identity
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.server import Server, Service
from csi_cinderlib.errors import DriverError
from csi_cinderlib.host import kernel
from csi_cinderlib.observe import logs

if TYPE_CHECKING:
    from csi_cinderlib.observe.metrics import Metrics

M_ARENA_MAX = -8
"""Parameter of mallopt (malloc.h)."""
STOP_SECONDS = 25.0
"""Grace period for running calls at a stop. Kubernetes kills after 30 s."""

LOOK_SECONDS = 0.5
"""Interval between two checks whether a serving process has become ready."""
KEYS_SECONDS = 5.0
"""Interval between two checks of the files of sealing keys."""

_OF_CONTROLLER = ("Controller", "GroupController")
_OF_NODE = ("Node",)
_SERVICES = {Mode.CONTROLLER: _OF_CONTROLLER, Mode.NODE: _OF_NODE, Mode.ALL: _OF_CONTROLLER + _OF_NODE}
_log = logs.logger(__name__)


class Side(Protocol):
    """The controller part or node part of a process."""

    def open(self) -> None:
        """Load the prerequisites of the services. May be called again after a failure.

        Raises:
            ConfigurationError: a retry cannot help.
            DriverError: a later attempt may succeed.
        """

    def services(self) -> tuple[Service, ...]:
        """The services, after `open`."""

    def wait(self) -> None:
        """Wait until the services are ready to work."""

    def close(self) -> None:
        """Release everything, even if `open` never succeeded."""


def serve(settings: Settings, reread: Callable[[], Settings] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    Args:
        reread: returns the current settings, for SIGHUP. Without it, settings never change.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    with suppress(AttributeError):  # not every C library has it
        kernel.call("mallopt", M_ARENA_MAX, 2)  # otherwise each of many threads has its own, mostly empty heap
    logs.configure(format=settings.log.format, level=settings.log.level)
    stopping = Stopping()
    stopping.listen()
    readiness = Readiness()
    console = Console(settings, readiness, stopping, reread)
    console.listen()
    server = Server(
        settings.endpoint,
        identity=_identity(settings, readiness),
        readiness=readiness,
        expected=_SERVICES[settings.mode],
        workers=settings.workers,
    )
    with state_dir.hold(settings.state_dir) as reserve, ExitStack() as undo:
        administration = admin.Socket(settings.state_dir, console.routes)
        with reserve.released():  # a disk that seems to have room may only have that of another program's reserve
            administration.start()
            undo.callback(administration.close)
            server.start()
        _log.info("serving", endpoint=settings.endpoint, mode=settings.mode, version=__version__, pid=os.getpid())
        undo.callback(_answer_health(settings, server, readiness))
        loader = Loader(settings, server, readiness, console)
        undo.callback(loader.close)
        undo.callback(_stop, server, stopping)
        loader.start()
        stopping.rest()
        _log.info("stopping", reason=stopping.reason)
    if stopping.error:
        raise stopping.error
    return 0


def _answer_health(settings: Settings, server: Server, readiness: Readiness) -> Callable[[], None]:
    if not settings.health_address:
        return _nothing
    from csi_cinderlib.csi.kubelet import serve_health

    return serve_health(settings.health_address, server.path, readiness)


def _give_back() -> None:
    """Release some megabytes that only the imports needed, and exclude the remaining objects from garbage collection."""
    gc.collect()
    gc.freeze()
    with suppress(AttributeError):  # not every C library has it
        kernel.call("malloc_trim", 0)


def _nothing() -> None:
    """Stops nothing."""


def _stop(server: Server, stopping: Stopping) -> None:
    stopping.is_busy = not server.stop(STOP_SECONDS)
    if stopping.is_busy:
        _log.warning("calls abandoned at shutdown")


def _identity(settings: Settings, readiness: Readiness) -> Identity:
    return Identity(
        name=settings.driver_name,
        version=__version__,
        readiness=readiness,
        services=_SERVICES[Mode.ALL],  # spec: identical for all instances, independent of their RPCs
        has_topology=_has_topology(settings),
    )


def _has_topology(settings: Settings) -> bool:
    """Whether volumes may be reachable from some nodes only. The provisioner asks once, and objects may configure back ends later."""
    if settings.in_kubernetes or settings.topology or settings.topology_labels:
        return True
    return any(backend.topology for backend in live.backends(settings).backends)


class Loader:
    """Loads the parts of this process in its own thread while the server already answers."""

    def __init__(self, settings: Settings, server: Server, readiness: Readiness, console: Console) -> None:
        self._settings = settings
        self._server = server
        self._readiness = readiness
        self._console = console
        self._stopping = console.stopping
        self._undo = ExitStack()
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Release everything after the server has stopped."""
        self._thread.join(STOP_SECONDS)
        self._undo.close()

    def _run(self) -> None:
        gc.disable()  # imports allocate much and free little: saves a fifth of the time
        try:
            sides = self._sides(self._metrics())
            for side in sides:
                self._undo.callback(side.close)
                if not self._open(side):
                    return
                self._server.add(*side.services())
            for side in sides:
                side.wait()
            if self._stopping.wait(0):
                return
            self._readiness.ready()
            self._register()
            self._log_readiness()
        except DriverError as error:
            self._stopping.failed(error)
        except Exception as error:  # a bug must end the process with a traceback, not leave it half started
            _log.exception("start failed", error)
            self._stopping.failed(DriverError(f"unexpected {type(error).__name__}: {error}"))
        finally:
            gc.enable()
            _give_back()

    def _log_readiness(self) -> None:
        if not (reason := self._readiness.restraint):
            _log.info("ready")
            return
        _log.warning("serving, but not ready", reason=reason)
        threading.Thread(target=self._log_once_ready, name="readiness", daemon=True).start()

    def _log_once_ready(self) -> None:
        while self._readiness.restraint:
            if self._stopping.wait(LOOK_SECONDS):
                return
        _log.info("ready")

    def _sides(self, metrics: Metrics | None) -> list[Side]:
        """Imports only the parts that run: a node must not load Cinder."""
        sides: list[Side] = []
        keys = Keys(self._settings)
        threading.Thread(target=self._watch, args=(keys,), name="keys", daemon=True).start()
        self._console.on_reread(keys.refresh)
        if self._settings.mode is not Mode.CONTROLLER:
            from csi_cinderlib.app.node import NodeSide

            node = NodeSide(self._settings, self._stopping, keys)
            self._console.status.add("node", node.status)
            sides.append(node)
        if self._settings.mode is not Mode.NODE:
            from csi_cinderlib.app.controller import ControllerSide

            controller = ControllerSide(self._settings, self._console, keys, self._readiness, metrics)
            self._readiness.watch(lambda: self._server.stuck(controller.waiting()))
            sides.append(controller)
        else:
            self._readiness.watch(lambda: self._server.stuck(frozenset()))
        return sides

    def _watch(self, keys: Keys) -> None:
        while keys.may_change and not self._stopping.wait(KEYS_SECONDS):
            keys.refresh()

    def _register(self) -> None:
        """Register with the kubelet, which calls NodeGetInfo next."""
        if not self._settings.kubelet_registration:
            return
        from csi_cinderlib.csi.kubelet import registration_server

        directory, name = Path(self._settings.kubelet_registration), self._settings.driver_name
        registration = registration_server(directory, name=name, socket=self._server.path)
        registration.start()
        self._undo.callback(registration.stop, 1.0)

    def _open(self, side: Side) -> bool:
        """Retry until it opens; False if the process stops first."""
        return retry(side.open, self._stopping, "start failed", failed=self._readiness.failed)

    def _metrics(self) -> Metrics | None:
        settings = self._settings
        if not settings.metrics_address:
            return None
        from csi_cinderlib.observe.metrics import Metrics
        from csi_cinderlib.observe.web import Protection

        metrics = Metrics(version=__version__, mode=settings.mode, driver_name=settings.driver_name)
        self._server.measure(metrics)
        self._console.routes.add("GET", "/metrics", lambda _request: {"text": metrics.exposition().decode()})
        protection = Protection(
            certificate_file=settings.metrics_certificate_file,
            key_file=settings.metrics_key_file,
            token_file=settings.metrics_token_file,
        )
        self._undo.callback(metrics.serve(settings.metrics_address, protection))
        return metrics
