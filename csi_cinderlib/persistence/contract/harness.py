"""How the contract suite gets at a store, and at what lies beneath it."""

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
    """One empty store for one test. The last methods are for plugins' authors to fill in; unfilled, their tests are skipped.

    Attributes:
        options: JSON values only: child processes are given them too.
        volumes: how many volumes the tests of concurrency make; fewer for a slow store.
        patience: seconds that a restarted server may take.
    """

    plugin: str
    options: Mapping[str, object] = field(default_factory=dict)
    state_dir: Path
    volumes: int = 1000
    patience: float = 60.0

    def open(self, sealer: Sealer | None = None) -> Store:
        return open_store(self.plugin, self.options, state_dir=self.state_dir, sealer=sealer)

    def close(self, store: Store) -> None:
        """What comes before another `open` in the same test."""
        store.close()

    def corrupt(self, kind: str, id: str) -> None:  # noqa: ARG002  # for those who override it
        """Make the stored body of that record (by `codec.kind_name`) unreadable. No store is open."""
        pytest.skip(f"the harness of {self.plugin} cannot corrupt a record")

    def rename(self, kind: str, id: str, new_id: str) -> None:  # noqa: ARG002  # as above
        """Make that record's stored body hold another id. No store is open."""
        pytest.skip(f"the harness of {self.plugin} cannot change a record's id")

    def contents(self) -> bytes:
        """Everything that the store wrote, raw. No store is open."""
        pytest.skip(f"the harness of {self.plugin} cannot read the raw contents")

    def row_counts(self) -> Mapping[str, int]:
        """How many rows each table, or objects each kind, has, beside those of the schema itself."""
        pytest.skip(f"the harness of {self.plugin} cannot count rows")

    def kill_server(self) -> None:
        """End the store's server by SIGKILL."""
        pytest.skip(f"{self.plugin} has no server of its own, or its harness cannot kill it")

    def start_server(self) -> None:
        """Start it again, at the same address."""
        pytest.skip(f"{self.plugin} has no server of its own, or its harness cannot start it")


def wipe(store: Store) -> None:
    """Remove everything, dependents first; for a store that outlives a test."""
    kinds: Sequence[Any] = KINDS
    for kind in reversed(kinds):
        while records := store.page(kind, limit=500).records:
            for record in records:
                store.remove(record)
