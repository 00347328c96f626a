"""Prometheus metrics. Imported only if metrics are enabled.

The number of label values is bounded: methods and codes come from CSI, back ends and pools from the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from csi_cinderlib.observe.web import UNPROTECTED, Protection, serve

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""From a repeated call with nothing left to do up to the two minutes of the kubelet's timeout."""


RESTARTS = ("crashed", "killed", "hung", "requested", "reconfigured")
"""Why a driver's process was restarted: `backend.line.Cause`, or changed options."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric. The reference page is generated from these.

    Attributes:
        name: name of the metric; a histogram adds `_bucket`, `_count` and `_sum`.
        kind: "gauge", "counter", "histogram", or "info": a gauge with value 1 and information in its labels.
        where: the modes that provide it.
    """

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()
    where: str = "controller, node"


RPC_SECONDS = Figure("csi_cinderlib_rpc_seconds", "histogram", "CSI calls by method and gRPC code", ("method", "code"))
RPCS_IN_FLIGHT = Figure("csi_cinderlib_rpcs_in_flight", "gauge", "CSI calls in progress")
BACKEND_CALL_SECONDS = Figure(
    "csi_cinderlib_backend_call_seconds",
    "histogram",
    "Calls into Cinder drivers by the driver's method; result is ok or error",
    ("backend", "operation", "result"),
    "controller",
)
BACKEND_READY = Figure(
    "csi_cinderlib_backend_ready",
    "gauge",
    "1 if the back end is set up and answered the last query",
    ("backend",),
    "controller",
)
BACKEND_RESTARTS = Figure(
    "csi_cinderlib_backend_restarts_total",
    "counter",
    f"Restarts of a ready driver's process; reason is {', '.join(RESTARTS[:-1])} or {RESTARTS[-1]}",
    ("backend", "reason"),
    "controller",
)
POOL_BYTES = Figure(
    "csi_cinderlib_pool_bytes",
    "gauge",
    "A pool's capacity; kind is total, free, allocated or provisioned",
    ("backend", "pool", "kind"),
    "controller",
)
VOLUMES = Figure("csi_cinderlib_volumes", "gauge", "Volume records", ("backend", "status"), "controller")
ORPHANS = Figure(
    "csi_cinderlib_orphans",
    "gauge",
    "Unfinished records past their grace period, due for clean-up",
    ("backend",),
    "controller",
)
BUILD = Figure(
    "csi_cinderlib_build_info",
    "info",
    "Version, mode and driver name of this process",
    ("version", "mode", "driver_name"),
)

FIGURES = (
    RPC_SECONDS,
    RPCS_IN_FLIGHT,
    BACKEND_CALL_SECONDS,
    BACKEND_READY,
    BACKEND_RESTARTS,
    POOL_BYTES,
    VOLUMES,
    ORPHANS,
    BUILD,
)


class Metrics:
    """The metrics of a process, in their own registry."""

    def __init__(self, *, version: str, mode: str, driver_name: str) -> None:
        registry = self._registry = CollectorRegistry()

        def histogram(it: Figure) -> Histogram:
            return Histogram(it.name, it.meaning, it.labels, registry=registry, buckets=SECONDS)

        def gauge(it: Figure) -> Gauge:
            return Gauge(it.name, it.meaning, it.labels, registry=registry)

        self._rpcs, self._running = histogram(RPC_SECONDS), gauge(RPCS_IN_FLIGHT)
        self._calls, self._ready = histogram(BACKEND_CALL_SECONDS), gauge(BACKEND_READY)
        self._restarts = Counter(
            BACKEND_RESTARTS.name, BACKEND_RESTARTS.meaning, BACKEND_RESTARTS.labels, registry=registry
        )
        self._capacity, self._volumes, self._orphans = gauge(POOL_BYTES), gauge(VOLUMES), gauge(ORPHANS)
        self._pools: dict[str, set[tuple[str, str]]] = {}
        build = Info(BUILD.name.removesuffix("_info"), BUILD.meaning, registry=registry)
        build.info({"version": version, "mode": mode, "driver_name": driver_name})
        ProcessCollector(registry=registry)

    def rpc(self, method: str, code: str, seconds: float) -> None:
        """A CSI call has ended."""
        self._rpcs.labels(method, code).observe(seconds)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a CSI call while it runs."""
        with self._running.track_inprogress():
            yield

    @contextmanager
    def backend_call(self, backend: str, operation: str) -> Iterator[None]:
        """Time one call into a Cinder driver."""
        began, result = perf_counter(), "error"
        try:
            yield
            result = "ok"
        finally:
            self.backend_called(backend, operation, result, perf_counter() - began)

    def backend_called(self, backend: str, operation: str, result: str, seconds: float) -> None:
        """A call into a Cinder driver has ended, in any process."""
        self._calls.labels(backend, operation, result).observe(seconds)

    def backend_ready(self, backend: str, ready: bool) -> None:
        self._ready.labels(backend).set(ready)
        for reason in RESTARTS:  # initialized with 0, otherwise the first restart would not be an increase
            self._restarts.labels(backend, reason)

    def backend_restarted(self, backend: str, reason: str) -> None:
        """A driver's process was restarted; `reason` is one of RESTARTS."""
        self._restarts.labels(backend, reason).inc()

    def pools(self, backend: str, bytes_by_kind: Mapping[str, Mapping[str, float]]) -> None:
        """Set the capacity of each pool: `total`, `free`, `allocated`, `provisioned`. Missing values are removed."""
        known = {(pool, kind) for pool, kinds in bytes_by_kind.items() for kind in kinds}
        for pool, kind in self._pools.get(backend, set()) - known:
            self._capacity.remove(backend, pool, kind)
        for pool, kind in known:
            self._capacity.labels(backend, pool, kind).set(bytes_by_kind[pool][kind])
        self._pools[backend] = known

    def forget_backend(self, backend: str) -> None:
        """Remove readiness, restarts and pools of a back end that is no longer configured."""
        self._ready.remove(backend)
        for reason in RESTARTS:
            self._restarts.remove(backend, reason)
        self.pools(backend, {})
        del self._pools[backend]

    def volumes(self, backend: str, status: str, count: int) -> None:
        self._volumes.labels(backend, status).set(count)

    def orphans(self, backend: str, count: int) -> None:
        self._orphans.labels(backend).set(count)

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def serve(self, address: str, protection: Protection = UNPROTECTED) -> Callable[[], None]:
        """Serve GET /metrics at `HOST:PORT` in a thread; call the result to stop.

        Raises:
            ConfigurationError: the address is invalid or cannot be used, or a file of the protection cannot be used.
        """
        pages = {"/metrics": lambda: (200, CONTENT_TYPE_LATEST, self.exposition())}
        return serve("metrics_address", address, pages, protection)
