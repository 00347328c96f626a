"""Runs tests of cinderlib's own suites, unmodified, on this library:

    python -m tests.component.cinderlib.suites.run SOURCE RESULTS STORAGE TEST...

SOURCE is the unpacked source distribution of cinderlib. Only its tests are imported: `import cinderlib` is this library. RESULTS is
written as JSON. STORAGE is a name of `STORAGES`, `as-is`, or `unit`: for the unit suite, with a real back end and real metadata.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import traceback
import types
import unittest
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any
from unittest import mock

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib.persistence.memory import MemoryStore

AS_IS, UNIT = "as-is", "unit"
DRIVER = "tests.support.fakes.nothing.NothingDriver"
VERBS = (
    "create_volume delete_volume extend_volume create_snapshot delete_snapshot create_cloned_volume create_volume_from_snapshot "
    "create_export remove_export initialize_connection terminate_connection get_volume_stats"
).split()
"""Methods of a driver whose calls the unit suite examines."""
SUITE = "cinderlib.tests"


class SuiteFinder(MetaPathFinder):
    """Finds cinderlib's tests in its source, and nothing else of it."""

    def __init__(self, source: Path) -> None:
        self._package = str(source / "cinderlib")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, _target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == SUITE:
            return PathFinder.find_spec(fullname, [self._package])
        return PathFinder.find_spec(fullname, path) if fullname.startswith(f"{SUITE}.") else None


def memory_plugin(source: Path) -> Any:
    """cinderlib's own plugin for memory, as a plugin that somebody wrote for cinderlib. Its base class is ours."""
    path = source / "cinderlib/persistence/memory.py"
    spec = importlib.util.spec_from_file_location("plugin_written_for_cinderlib", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MemoryPersistence


STORAGES: Mapping[str, Callable[[Path, Path], Mapping[str, Any]]] = {
    "sqlite": lambda _source, scratch: {"storage": "db", "connection": f"sqlite:///{scratch / 'suite.db'}"},
    "store-class": lambda _source, _scratch: {"storage": MemoryStore},
    "store-instance": lambda _source, _scratch: {"storage": MemoryStore()},
    "plugin-class": lambda source, _scratch: {"storage": memory_plugin(source)},
    "plugin-instance": lambda source, _scratch: {"storage": memory_plugin(source)()},
}
"""Other persistence than the suite has: name to `persistence_config`, from the source and a folder for files."""


def store_in(config: Mapping[str, Any]) -> None:
    """Let the functional suite's `cinderlib.setup(...)` use this `persistence_config`."""
    base = importlib.import_module(f"{SUITE}.functional.base_tests")

    def setup(**arguments: Any) -> None:
        cinderlib.setup(**{**arguments, "persistence_config": config})

    base.cinderlib = types.SimpleNamespace(Backend=cinderlib.Backend, setup=setup)  # type: ignore[attr-defined]  # a global of it


def replace_mocks() -> None:
    """Give the unit suite a real back end and a real store. Its own are mocks in the place of a `Backend` that was never set up."""
    utils: Any = importlib.import_module(f"{SUITE}.unit.utils")
    utils.FakeBackend = backend_of_unit_tests
    utils.get_mock_persistence = lambda: "memory"


def backend_of_unit_tests(volume_backend_name: str) -> Any:
    """A back end whose driver does nothing, and records the calls."""
    backend: Any = cinderlib.Backend(volume_backend_name=volume_backend_name, volume_driver=DRIVER)
    for name in VERBS:
        setattr(backend.driver, name, mock.Mock(wraps=getattr(type(backend.driver), name).__get__(backend.driver)))
    return backend


class Recorder(unittest.TextTestResult):
    """Prints as unittest does, and writes down how each test ended: "" or the traceback."""

    def __init__(self, stream: Any, descriptions: bool, verbosity: int) -> None:
        super().__init__(stream, descriptions, verbosity)
        self.outcomes: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.outcomes.setdefault(test.id(), "")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self.outcomes[test.id()] = "".join(traceback.format_exception(*err))

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self.outcomes[test.id()] = "".join(traceback.format_exception(*err))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.outcomes[test.id()] = "".join(traceback.format_exception(*err))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.outcomes[test.id()] = f"skipped: {reason}"


def main() -> None:
    source, results, storage, *tests = sys.argv[1:]
    cinderlib.install_as_cinderlib()
    sys.meta_path.insert(0, SuiteFinder(Path(source)))
    if storage == UNIT:
        replace_mocks()
    elif storage != AS_IS:
        store_in(STORAGES[storage](Path(source), Path(results).parent))
    suite = unittest.TestLoader().loadTestsFromNames(tests)
    runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Recorder, warnings="ignore")
    outcome: Any = runner.run(suite)
    Path(results).write_text(json.dumps(outcome.outcomes))


if __name__ == "__main__":
    main()
