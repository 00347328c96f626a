"""Stands in for `metrics.Metrics` where nobody asked for figures, without the import that they cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Unmeasured:
    """Takes every figure and keeps none."""

    def rpc(self, method: str, code: str, seconds: float) -> None:
        """A CSI call has ended."""

    @contextmanager
    def running(self) -> Iterator[None]:
        yield

    @contextmanager
    def backend_call(self, backend: str, operation: str) -> Iterator[None]:  # noqa: ARG002 - as Metrics has it
        yield
