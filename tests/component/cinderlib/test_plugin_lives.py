"""The whole life of volumes, snapshots and connections, with persistence plugins of cinderlib as the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinderlib import Backend, Library
from tests.component.cinderlib.conftest import NOTHING, options
from tests.component.cinderlib.test_life import *  # noqa: F403  # the tests
from tests.support.fakes.cinderlib_plugins import PLUGINS, closing


@pytest.fixture(params=PLUGINS)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    with closing(PLUGINS[request.param](tmp_path)) as plugin:
        made = Library(persistence_config={"storage": plugin})
        yield made
        made.close()


@pytest.fixture
def backend(library: Library, tmp_path: Path) -> Backend:
    return library.backend("here", **options(NOTHING, tmp_path))
