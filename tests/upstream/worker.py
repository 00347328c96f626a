"""One process of the run: loads Cinder as the mode asks, then runs the tests of some modules one after the other.

    python -m tests.upstream.worker MODE OUTPUT LIMIT MODULE...

pytest cannot run these tests: it sets and deletes an attribute of a test case that Cinder's own clean-up has deleted.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.util
import os
import sys
import time
import traceback
import types
import unittest
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.upstream.guards import Outside, StandardFiles
from tests.upstream.results import Mode, Outcome, State, Surroundings, Writer

_LONGEST_TEXT = 6000

Failure = tuple[type[BaseException], BaseException, types.TracebackType] | tuple[None, None, None]


class Recorder(unittest.TestResult):
    """Writes down how each test ended.

    Args:
        limit: seconds after which a test ends the process, with the stacks of all threads on standard error.
    """

    def __init__(self, writer: Writer, outside: Outside, limit: float) -> None:
        super().__init__()
        self._writer = writer
        self._outside = outside
        self._limit = limit
        self._files = StandardFiles()
        self._begun = 0.0
        self._state, self._text = State.FAILED, ""

    def startTest(self, test: unittest.TestCase) -> None:
        faulthandler.dump_traceback_later(self._limit, exit=True)
        self._writer.running(test.id())
        self._begun = time.perf_counter()
        self._state, self._text = State.FAILED, "the test reported no result"

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._files.restore()
        seconds = round(time.perf_counter() - self._begun, 3)
        outcome = Outcome(test.id(), self._state, seconds, self._text[-_LONGEST_TEXT:], self._outside.taken())
        self._writer.outcome(outcome)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._state, self._text = State.PASSED, ""

    def addError(self, test: unittest.TestCase, err: Failure) -> None:
        self._state, self._text = State.FAILED, "".join(traceback.format_exception(*err))

    def addFailure(self, test: unittest.TestCase, err: Failure) -> None:
        self.addError(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._state, self._text = State.SKIPPED, reason

    def addExpectedFailure(self, test: unittest.TestCase, err: Failure) -> None:
        self.addSuccess(test)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._state, self._text = State.FAILED, "unexpected success"


def main() -> None:
    mode, output, limit, *modules = sys.argv[1:]
    faulthandler.enable()
    warnings.simplefilter("ignore")
    with Path(output).open("w") as file:
        writer, outside = Writer(file), Outside()
        load_cinder(Mode(mode))
        import_first(modules)
        outside.refuse()
        recorder = Recorder(writer, outside, float(limit))
        for module in modules:
            for test in tests_of(module):
                test.run(recorder)
        writer.end(surroundings())
    os._exit(0)  # tests leave threads behind, some of which never end


def load_cinder(mode: Mode) -> None:
    """Cinder's tests read files relative to the root of its source tree, which has the layout of its package."""
    found = importlib.util.find_spec("cinder")
    assert found is not None
    assert found.origin is not None
    os.chdir(Path(found.origin).parents[1])
    os.environ["OS_CINDER_DISABLE_EVENTLET_PATCHING"] = "0" if mode is Mode.STOCK else "1"
    if mode is Mode.PRODUCT:
        from tests.upstream import product

        product.load_cinder()
    importlib.import_module("cinder.tests.unit.test")


def import_first(modules: Sequence[str]) -> None:
    """Import what Cinder's own test runner has imported before its first test: options that one module registers are there for all.

    The key manager is imported by none of these modules, but some need the definition that it gives to one of its options.
    """
    for module in ("cinder.keymgr.conf_key_mgr", *modules):
        with contextlib.suppress(ImportError):  # reported as a failed test when its tests are loaded
            importlib.import_module(module)


def tests_of(module: str) -> Iterator[unittest.TestCase]:
    yield from _flat(unittest.TestLoader().loadTestsFromName(module))


def _flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from _flat(entry)
        else:
            yield entry


def surroundings() -> Surroundings:
    from cinder import ssh_utils
    from cinder.zonemanager import utils
    from eventlet import patcher
    from oslo_service import backend

    return Surroundings(
        patched=bool(patcher.is_monkey_patched("thread")),
        threads=str(backend.get_backend_type().value),
        pool=str(ssh_utils.pools.Pool.__module__),
        manager=type(utils.manager).__module__,
    )


if __name__ == "__main__":
    main()
