"""Replacement for `metrics.Metrics` if metrics are disabled, without its expensive import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Meter(Protocol):
    """Times calls into Cinder drivers."""

    def backend_call(self, backend: str, operation: str) -> AbstractContextManager[None]: ...


class Unmeasured:
    """Discards all metrics."""

    def rpc(self, method: str, code: str, seconds: float) -> None:
        """A CSI call has ended."""

    @contextmanager
    def running(self) -> Iterator[None]:
        yield

    def backend_call(self, backend: str, operation: str) -> AbstractContextManager[None]:  # noqa: ARG002 - same signature as Metrics
        return nullcontext()
