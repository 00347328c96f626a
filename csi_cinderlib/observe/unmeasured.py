"""Where figures go when nobody asked for them, without the import that `metrics.Metrics` costs; and what asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Meter(Protocol):
    """Times calls into Cinder drivers."""

    def backend_call(self, backend: str, operation: str) -> AbstractContextManager[None]: ...


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
