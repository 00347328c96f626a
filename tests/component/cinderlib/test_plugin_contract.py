"""The rules of metadata stores that a persistence plugin of cinderlib keeps, within one process."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Library
from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.rules import TestBelonging, TestConflicts, TestRecords, TestWalks
from tests.support.fakes.cinderlib_plugins import PLUGINS, closing

__all__ = ["TestBelonging", "TestConflicts", "TestRecords", "TestWalks"]


@dataclass(kw_only=True)
class PluginHarness(Harness):
    """Opens set-ups, which the plugin's objects belong to."""

    opened: list[tuple[Library, Any]] = field(default_factory=list)

    def open(self, sealer: Sealer | None = None) -> Store:
        assert sealer is None
        plugin = PLUGINS[self.plugin](self.state_dir)
        library = Library(persistence_config={"storage": plugin})
        self.opened.append((library, plugin))
        return library.store

    def close(self, store: Store) -> None:
        for library, plugin in self.opened:
            if library.store is store:
                with closing(plugin):
                    library.close()

    def row_counts(self) -> Mapping[str, int]:
        if self.plugin == "json":
            directories = [path for path in (self.state_dir / "files").glob("*") if any(path.iterdir())]
            return {path.name: len(list(path.iterdir())) for path in directories}
        with contextlib.closing(sqlite3.connect(self.state_dir / "columns.db")) as database:
            tables = ("field", "key_value")
            return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


@pytest.fixture(params=["json", "columns"])
def persistence_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    yield PluginHarness(plugin=request.param, state_dir=tmp_path, volumes=100)
