"""What a monitoring system wants to know, in Prometheus' words. Imported only where metrics are asked for.

Label values are bounded: methods and codes are CSI's, back ends and pools are configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""From a repeated call that finds everything done to the two minutes that the kubelet waits."""


class Metrics:
    """The figures of one process, in a registry of its own."""

    def __init__(self, *, version: str, mode: str, driver_name: str) -> None:
        registry = self._registry = CollectorRegistry()
        self._rpcs = Histogram(
            "csi_cinderlib_rpc_seconds",
            "CSI calls by method and gRPC code",
            ["method", "code"],
            registry=registry,
            buckets=SECONDS,
        )
        self._running = Gauge("csi_cinderlib_rpcs_in_flight", "CSI calls being worked on", registry=registry)
        self._calls = Histogram(
            "csi_cinderlib_backend_call_seconds",
            "Calls into Cinder drivers; result is ok or error",
            ["backend", "operation", "result"],
            registry=registry,
            buckets=SECONDS,
        )
        self._ready = Gauge(
            "csi_cinderlib_backend_ready", "1 when the back end is set up", ["backend"], registry=registry
        )
        self._capacity = Gauge(
            "csi_cinderlib_pool_bytes",
            "A pool's capacity; kind is total, free, allocated or provisioned",
            ["backend", "pool", "kind"],
            registry=registry,
        )
        self._volumes = Gauge("csi_cinderlib_volumes", "Volume records", ["backend", "status"], registry=registry)
        self._orphans = Gauge(
            "csi_cinderlib_orphans",
            "Unfinished records past their grace, to be cleaned up",
            ["backend"],
            registry=registry,
        )
        self._refreshers: list[Callable[[], None]] = []
        self._failures = Counter(
            "csi_cinderlib_metrics_failures", "Figures that could not be read for a scrape", registry=registry
        )
        build = Info("csi_cinderlib_build", "What runs here", registry=registry)
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
