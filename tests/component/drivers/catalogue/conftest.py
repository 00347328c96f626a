"""One walk for all workers of a parallel run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from tests.component.drivers.catalogue.walk import Tried

Once = Callable[[str, Callable[[], dict[str, Tried]]], dict[str, Tried]]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What a function answers, asked once in the whole run, whichever worker comes first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def answer(name: str, make: Callable[[], dict[str, Tried]]) -> dict[str, Tried]:
        file = shared / f"{name}.json"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                file.write_text(json.dumps({key: asdict(outcome) for key, outcome in make().items()}))
        return {key: _tried(outcome) for key, outcome in json.loads(file.read_text()).items()}

    return answer


def _tried(raw: dict[str, Any]) -> Tried:
    return Tried(raw["driver"], tuple(raw["bare"]), tuple(raw["example"]), raw["seconds"], tuple(raw["refused"]))
