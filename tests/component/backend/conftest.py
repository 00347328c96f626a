"""Cinder, for comparison with its own arithmetic, and what this process logs."""

from __future__ import annotations

from tests.support.local_backends import log, runtime

__all__ = ["log", "runtime"]
