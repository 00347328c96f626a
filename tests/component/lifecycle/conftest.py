"""Back ends whose drivers run in this process."""

from __future__ import annotations

from tests.support.local_backends import backend, every_database_call_is_served, log, make, runtime, state, store

__all__ = ["backend", "every_database_call_is_served", "log", "make", "runtime", "state", "store"]
