"""A pytest plugin: what a test may not leave behind in its process, because the next test would see it.

A test that leaves something fails. What a fixture of a wider scope adds may stay as long as the fixture does.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_UNCHECKED = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "EVENTLET_NO_GREENDNS", "OS_CINDER_DISABLE_EVENTLET_PATCHING")
"""Variables of pytest, and those that the runtime sets once a process, before it imports Cinder."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
_GRACE = float(os.environ.get("CINDERLIB_TEST_GRACE", "30"))
"""Seconds that a thread may take to end after it was told to."""


class Thing(NamedTuple):
    """One part of the state that the tests of a process share."""

    name: str
    value: object
    is_thread: bool = False


def observe() -> frozenset[Thing]:
    """What there is now. Daemon threads are left out: servers and Cinder's locks have some for the life of the process."""
    threads = (thread for thread in threading.enumerate() if thread.is_alive() and not thread.daemon)
    return frozenset(
        [
            Thing("the working directory", str(Path.cwd())),
            *(Thing(f"the environment variable {name}", value) for name, value in _variables()),
            *(Thing(f"the thread {thread.name!r}", id(thread), is_thread=True) for thread in threads),
            *(Thing(f"the handler of {number.name}", signal.getsignal(number)) for number in _SIGNALS),
            Thing("the level of the root logger", logging.getLogger().level),
            *(Thing(f"the log handler {handler!r}", id(handler)) for handler in _log_handlers()),
            *_of_cinder(),
        ]
    )


def _variables() -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in os.environ.items() if name not in _UNCHECKED)


def _log_handlers() -> Iterator[logging.Handler]:
    return (handler for handler in logging.getLogger().handlers if not type(handler).__module__.startswith("_pytest"))


def _of_cinder() -> Iterator[Thing]:
    if (runtime := sys.modules.get("csi_cinderlib.cinder.runtime")) is None:
        return
    for path in runtime._process.defaults:
        yield Thing(f"the runtime of {path}", path)
    for route in runtime._process.routes._routes:
        yield Thing(f"the back end {route.host!r}", id(route))


def _wait_until_gone(things: frozenset[Thing]) -> frozenset[Thing]:
    """Those of them that stay; threads get a moment to end."""
    deadline = time.monotonic() + _GRACE
    while (left := things & observe()) and all(thing.is_thread for thing in left):
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return left


class Leftovers:
    """The plugin."""

    def __init__(self) -> None:
        self._of_fixtures: dict[int, frozenset[Thing]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function":
            return (yield)
        before = observe()
        try:
            return (yield)
        finally:
            self._of_fixtures[id(fixturedef)] = observe() - before

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        if left := _wait_until_gone(self._of_fixtures.pop(id(fixturedef), frozenset())):
            pytest.fail(f"fixture {fixturedef.argname!r} left behind: {_names(left)}", pytrace=False)

    @pytest.fixture(autouse=True)
    def nothing_left_behind(self) -> Iterator[None]:
        before = observe()
        yield
        allowed = before.union(*self._of_fixtures.values())
        left = _wait_until_gone(observe() - allowed)
        removed = frozenset(thing for thing in before - observe() if not thing.is_thread)
        if left or removed:
            pytest.fail(f"this test changed what the next one sees: {_names(left | removed)}", pytrace=False)


def _names(things: frozenset[Thing]) -> str:
    return ", ".join(sorted({thing.name for thing in things}))
