"""cinderlib's functional suite passes unmodified on the file driver, with every kind of persistence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.component.cinderlib.conftest import LOOPFILE
from tests.component.cinderlib.suites import launch
from tests.support import tables

pytestmark = pytest.mark.root
RUNS = [("memory", 1), *((storage, 2) for storage in launch.STORAGES)]


@pytest.mark.parametrize(("storage", "number"), RUNS)
def test_the_functional_suite_passes(storage: str, number: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    volumes = [tmp_path / name for name in ("first", "second")[:number]]
    verdict = launch.run_functional([backend(folder) for folder in volumes], tmp_path, storage=storage)
    backends = f"{number} back end{'s' * (number > 1)}"
    line = f"cinderlib's functional suite, file driver, {storage}, {backends}: {verdict.closing_line}"
    tables.append(request.config, "cinderlib's functional suite", line)
    assert verdict.exceptions == {}, verdict.output
    assert len(verdict.outcomes) == launch.expected_number(number)
    assert [path for folder in volumes for path in folder.rglob("volume-*")] == []


def backend(folder: Path) -> Mapping[str, object]:
    return {"volume_backend_name": folder.name, "volume_driver": LOOPFILE, "loopfile_directories": [str(folder)]}
