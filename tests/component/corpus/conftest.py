"""Configurations as people have them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.component.corpus.worker import Worker


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    started = Worker(tmp_path_factory.mktemp("corpus"))
    yield started
    started.close()
