"""Cinder, for comparison."""

from __future__ import annotations

from tests.support.local_backends import runtime

__all__ = ["runtime"]
