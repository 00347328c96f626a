"""What a monitoring system wants to know, in Prometheus' words. Imported only where metrics are asked for.

Label values are bounded: methods and codes are CSI's, back ends and pools are configured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""From a repeated call that finds everything done to the two minutes that the kubelet waits."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the figures; the reference page is made of these.

    Attributes:
        name: as it is scraped; a histogram adds `_bucket`, `_count` and `_sum`.
        kind: "gauge", "counter", "histogram", or "info": a gauge that is 1, with what it tells in its labels.
        where: the modes that have it.
    """

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()
    where: str = "controller, node"


RPC_SECONDS = Figure("csi_cinderlib_rpc_seconds", "histogram", "CSI calls by method and gRPC code", ("method", "code"))
RPCS_IN_FLIGHT = Figure("csi_cinderlib_rpcs_in_flight", "gauge", "CSI calls being worked on")
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
    "1 when the back end is set up, and answered when it was last asked",
    ("backend",),
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
    "Unfinished records past their grace, to be cleaned up",
    ("backend",),
    "controller",
)
FAILURES = Figure("csi_cinderlib_metrics_failures_total", "counter", "Figures that could not be read for a scrape")
BUILD = Figure("csi_cinderlib_build_info", "info", "What runs here", ("version", "mode", "driver_name"))

FIGURES = (
    RPC_SECONDS,
    RPCS_IN_FLIGHT,
    BACKEND_CALL_SECONDS,
    BACKEND_READY,
    POOL_BYTES,
    VOLUMES,
    ORPHANS,
    FAILURES,
    BUILD,
)


class Metrics:
    """The figures of one process, in a registry of its own."""

    def __init__(self, *, version: str, mode: str, driver_name: str) -> None:
        registry = self._registry = CollectorRegistry()

        def histogram(it: Figure) -> Histogram:
            return Histogram(it.name, it.meaning, it.labels, registry=registry, buckets=SECONDS)

        def gauge(it: Figure) -> Gauge:
            return Gauge(it.name, it.meaning, it.labels, registry=registry)

        self._rpcs, self._running = histogram(RPC_SECONDS), gauge(RPCS_IN_FLIGHT)
        self._calls, self._ready = histogram(BACKEND_CALL_SECONDS), gauge(BACKEND_READY)
        self._capacity, self._volumes, self._orphans = gauge(POOL_BYTES), gauge(VOLUMES), gauge(ORPHANS)
        self._pools: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._refreshers: list[Callable[[], None]] = []
        self._failures = Counter(FAILURES.name, FAILURES.meaning, registry=registry)
        build = Info(BUILD.name.removesuffix("_info"), BUILD.meaning, registry=registry)
        build.info({"version": version, "mode": mode, "driver_name": driver_name})
        ProcessCollector(registry=registry)

    def rpc(self, method: str, code: str, seconds: float) -> None:
        """A CSI call has ended."""
        self._rpcs.labels(method, code).observe(seconds)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count a CSI call while it is worked on."""
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
            self._calls.labels(backend, operation, result).observe(perf_counter() - began)

    def backend_ready(self, backend: str, ready: bool) -> None:
        self._ready.labels(backend).set(ready)

    def pool(self, backend: str, pool: str, **bytes_by_kind: float) -> None:
        """Set a pool's figures: `total`, `free`, `allocated`, `provisioned`."""
        for kind, value in bytes_by_kind.items():
            self._capacity.labels(backend, pool, kind).set(value)
            self._pools[backend].add((pool, kind))

    def forget_backend(self, backend: str) -> None:
        """Of a back end that is not configured any more nothing is said about readiness and pools."""
        self._ready.remove(backend)
        for pool, kind in self._pools.pop(backend, ()):
            self._capacity.remove(backend, pool, kind)

    def volumes(self, backend: str, status: str, count: int) -> None:
        self._volumes.labels(backend, status).set(count)

    def orphans(self, backend: str, count: int) -> None:
        self._orphans.labels(backend).set(count)

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` before each scrape, to set gauges. It must be cheap and answer from what is known."""
        self._refreshers.append(refresh)

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        for refresh in self._refreshers:
            try:
                refresh()
            except Exception:  # a broken gauge must not hide all others
                self._failures.inc()
        return generate_latest(self._registry)

    def serve(self, address: str) -> Callable[[], None]:
        """Answer GET /metrics at `HOST:PORT`, in a thread; call the result to stop.

        Raises:
            ConfigurationError: that is no address, or it cannot be listened on.
        """
        from csi_cinderlib.observe.web import serve

        return serve("metrics_address", address, {"/metrics": lambda: (200, CONTENT_TYPE_LATEST, self.exposition())})
