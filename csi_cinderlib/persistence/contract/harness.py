"""Access of the contract suite to a store and its underlying storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.persistence.api import KINDS, Sealer, Store
from csi_cinderlib.persistence.plugins import open_store


@dataclass(kw_only=True)
class Harness:
    """An empty store for a test. Plugin authors can override the last methods; without them, the tests that need them are skipped.

    Attributes:
        options: JSON values only, because they are passed to child processes.
        volumes: number of volumes in concurrency tests; use fewer for a slow store.
        patience: seconds to wait for a restarted server.
    """

    plugin: str
    options: Mapping[str, object] = field(default_factory=dict)
    state_dir: Path
    volumes: int = 1000
    patience: float = 60.0

    def open(self, sealer: Sealer | None = None) -> Store:
        return open_store(self.plugin, self.options, state_dir=self.state_dir, sealer=sealer)

    def close(self, store: Store) -> None:
        """Called before another `open` in the same test."""
        store.close()

    def corrupt(self, kind: str, id: str) -> None:  # noqa: ARG002  # for overrides
        """Make the stored body of a record unreadable; `kind` is from `codec.kind_name`. No store is open."""
        pytest.skip(f"the harness of {self.plugin} cannot corrupt a record")

    def rename(self, kind: str, id: str, new_id: str) -> None:  # noqa: ARG002  # as above
        """Change the id in the stored body of a record. No store is open."""
        pytest.skip(f"the harness of {self.plugin} cannot change a record's id")

    def contents(self) -> bytes:
        """Return all data of the store, raw. No store is open."""
        pytest.skip(f"the harness of {self.plugin} cannot read the raw contents")

    def row_counts(self) -> Mapping[str, int]:
        """Return the number of rows per table, or objects per kind, without those of the schema."""
        pytest.skip(f"the harness of {self.plugin} cannot count rows")

    def kill_server(self) -> None:
        """Kill the server of the store with SIGKILL."""
        pytest.skip(f"{self.plugin} has no server of its own, or the harness cannot kill it")

    def start_server(self) -> None:
        """Start the server again at the same address."""
        pytest.skip(f"{self.plugin} has no server of its own, or the harness cannot start it")


def wipe(store: Store) -> None:
    """Remove all records, dependents first, from a store that is used by several tests."""
    kinds: Sequence[Any] = KINDS
    for kind in reversed(kinds):
        while records := store.page(kind, limit=500).records:
            for record in records:
                store.remove(record)
