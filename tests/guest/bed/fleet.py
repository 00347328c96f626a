"""On the host: runs groups of tests in guests, so many at a time, and answers each test's reports in order."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.guest.bed import guest as guests
from tests.guest.bed import kernel as kernels
from tests.guest.bed import reports

OUTPUT_LINES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A guest for one group of tests; what it costs is in docs/explanation/guest-test-bed.md.

    Attributes:
        sleeps: most of the time, so that it runs beside those that are counted.
    """

    disks: tuple[str, ...] = ()
    memory: str = "1G"
    timeout: float = 300
    sleeps: bool = False


class Group:
    """The tests of one machine, run in one guest: in a second one only when the first died under a test.

    Args:
        arguments: for the pytest in the guest, besides those that all guests' have.
    """

    def __init__(
        self, name: str, machine: Machine, tests: Sequence[str], *, arguments: Sequence[str] = (), verbose: bool
    ) -> None:
        self.name = name
        self.machine = machine
        self.tests = list(tests)
        self.kernel = ""
        self.seconds = 0.0
        self._arguments = [*PYTEST_ARGUMENTS, *arguments]
        self._verbose = verbose
        self._lines: dict[str, list[dict[str, object]]] = {test: [] for test in tests}
        self._done: dict[str, str] = {}
        self._changed = threading.Condition()
        self._guest: guests.Guest | None = None
        self._stopped = False

    def run(self) -> None:
        """Boot and run until every test is done; called once, in a thread of its own."""
        started = time.monotonic()
        reason = ""
        try:
            self.kernel = guests.default_kernel().name
            left = list(self.tests)
            while left and not reason and not self._stopped:
                reason = self._run_once(left)
                left = [test for test in self.tests if test not in self._done]
        except kernels.Unavailable as problem:
            reason = f"skip:{problem}"
        except Exception as problem:  # whatever it was, the waiting tests must hear of it
            reason = f"{type(problem).__name__}: {problem}"
        finally:
            self.seconds = time.monotonic() - started
            self._finish(self.tests, reason or "the guest was stopped")

    def results(self, test: str) -> tuple[list[dict[str, object]], str]:
        """Wait for a test: its serialized reports, and "" or why they are not complete ("skip:..." to skip)."""
        with self._changed:
            self._changed.wait_for(lambda: test in self._done)
            return self._lines[test], self._done[test]

    def stop(self) -> None:
        """Cut the guest's power, unless it is done and about to go by itself."""
        self._stopped = True
        if self._guest is not None and any(test not in self._done for test in self.tests):
            with contextlib.suppress(OSError):
                self._guest.kill()

    def _finish(self, tests: Sequence[str], reason: str) -> None:
        with self._changed:
            for test in tests:
                self._done.setdefault(test, reason)
            self._changed.notify_all()

    def _run_once(self, tests: Sequence[str]) -> str:
        """One guest's life; answers why no further one should be started, or ""."""
        with tempfile.TemporaryDirectory(prefix="guest-tests.") as folder:
            follower = _Follower(self, Path(folder))
            (Path(folder) / "tests").write_text("".join(f"{test}\n" for test in tests))
            command = [sys.executable, "-m", "pytest", "-p", reports.__name__, f"@{folder}/tests", *self._arguments]
            problem = ""
            try:
                with guests.Guest(
                    command,
                    disks=self.machine.disks,
                    memory=self.machine.memory,
                    timeout=self.machine.timeout,
                    shares=[Path(folder)],
                    env={reports.VARIABLE: f"{folder}/reports", "PYTHONDONTWRITEBYTECODE": "", **_settings()},
                    output=follower.output,
                ) as self._guest:
                    follower.start()
                    if not self._stopped:  # else by who found no guest yet
                        self._guest.wait()
            except guests.GuestFailure as failure:
                problem = str(failure)
            follower.stop()
            return self._judge(tests, follower, problem)

    def _judge(self, tests: Sequence[str], follower: _Follower, problem: str) -> str:
        """After a guest's end: fail the test that it died under, and answer why no further guest may start, or ""."""
        output = "\n".join(["--- end of the guest's output", *follower.tail(), "---"])
        if follower.running:
            self._finish([follower.running], f"{problem or 'the guest ended'}\n{output}")
            return f"{problem.splitlines()[0]} under {follower.running}" if "ran out of time" in problem else ""
        if any(test not in self._done for test in tests):
            return f"{follower.broken}{problem or 'the guest did not run this test'}\n{output}"
        return ""

    def accept(self, test: str, report: dict[str, object]) -> None:
        with self._changed:
            self._lines.setdefault(test, []).append(report)
            if report["when"] == "teardown":
                self._done[test] = ""
                self._changed.notify_all()

    def show(self, text: bytes) -> None:
        if self._verbose:
            sys.__stdout__ and sys.__stdout__.buffer.write(text)


def _settings() -> dict[str, str]:
    """The settings of the tests that were made on the host."""
    return {name: value for name, value in os.environ.items() if name in ("CINDERLIB_CACHE", "CINDERLIB_GUEST_CYCLES")}


PYTEST_ARGUMENTS = (
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-v",
    "--color=no",
    "--basetemp=/run/pytest",
    "--capture=fd",
)


@dataclass(slots=True)
class _Follower:
    """Reads a guest's report file while it grows."""

    group: Group
    folder: Path
    running: str = ""
    broken: str = ""
    _text: bytearray = field(default_factory=bytearray)
    _position: int = 0
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def output(self, text: bytes) -> None:
        self._text += text
        self.group.show(text)

    def tail(self) -> list[str]:
        return self._text.decode(errors="replace").splitlines()[-OUTPUT_LINES:]

    def _follow(self) -> None:
        last = False
        while not last:
            last = self._end.wait(0.1)
            for line in self._new_lines():
                self._take(json.loads(line))

    def _new_lines(self) -> Iterator[bytes]:
        path = self.folder / "reports"
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                yield line

    def _take(self, event: Mapping[str, object]) -> None:
        if "started" in event:
            self.running = str(event["started"])
        elif "broken" in event:
            self.broken += f"{event['broken']}\n"
        elif isinstance(report := event["report"], dict):
            self.group.accept(str(report["nodeid"]), report)
            if report["when"] == "teardown":
                self.running = ""


class Fleet:
    """The groups of one test run. `results` starts them, in order, as tests are asked for."""

    def __init__(self, groups: Sequence[Group], *, at_once: int) -> None:
        self.groups = list(groups)
        self._of = {test: group for group in groups for test in group.tests}
        self._slots = threading.Semaphore(at_once)
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def results(self, test: str) -> tuple[list[dict[str, object]], str]:
        if not self._threads:
            # One thread per guest for as long as it lives: the guest is tied to the thread that starts it.
            self._threads = [threading.Thread(target=self._run, args=(group,), daemon=True) for group in self.groups]
            for thread in self._threads:
                thread.start()
                time.sleep(0.01)  # so that they take their slots in order
        return self._of[test].results(test)

    def _run(self, group: Group) -> None:
        with contextlib.nullcontext() if group.machine.sleeps else self._slots:
            if not self._stopped:
                group.run()

    def stop(self) -> None:
        """End every guest; nothing of them is left when this returns."""
        self._stopped = True
        for group in self.groups:
            group.stop()
        for thread in self._threads:  # one whose tests are done powers off by itself, however long its last words take
            thread.join()
