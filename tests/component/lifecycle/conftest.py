"""Back ends whose drivers run in this process."""

from __future__ import annotations

from tests.support.existing_files import add, backends, directory, files, importing
from tests.support.local_backends import backend, every_database_call_is_served, log, make, runtime, state, store

__all__ = [
    "add",
    "backend",
    "backends",
    "directory",
    "every_database_call_is_served",
    "files",
    "importing",
    "log",
    "make",
    "runtime",
    "state",
    "store",
]
