"""Root tests get a mount namespace of their own, and a run fails that leaves loop devices or processes behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.host import loopctl
from tests.support import absence, leftovers, loops, no_building, tables
from tests.support.tables import TABLES

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 16384 | 1 << 18
_MARK = "CINDERLIB_TEST_SESSION"
"""Every process started by a test inherits this variable, and so is known again even if its parent is gone."""
_GRACE = float(os.environ.get("CINDERLIB_TEST_GRACE", "30"))
"""Seconds that what a test has ended may take to vanish."""

_OF_MACHINE = ("KUBECONFIG", "KUBERNETES_SERVICE_", "X_CSI_")
"""What commands would take from where the tests run: a pod of another cluster, say."""
_OF_PROGRAM = ("CINDERLIB_CONFIG", "CINDERLIB_LOG_", "CINDERLIB_STATE_DIR")
for _name in [name for name in os.environ if name.startswith(_OF_MACHINE + _OF_PROGRAM)]:
    del os.environ[_name]
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # as `csi-cinderlib serve` has it, before any test loads gRPC
if (_beside := str(Path(sys.executable).parent)) not in os.environ["PATH"].split(os.pathsep):
    os.environ["PATH"] += (
        f"{os.pathsep}{_beside}"  # as the runtime would, in the middle of the first test that needs Cinder
    )

no_building.forbid()

_loops_before: dict[int, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER") if hasattr(config, "workerinput") else None
    # Here and not above: a forked copy of this process is a run of its own. A worker's mark begins with that of the run.
    os.environ[_MARK] = f"{os.environ[_MARK]}.{worker}" if worker else str(uuid.uuid4())
    config.pluginmanager.register(leftovers.Leftovers())
    _loops_before.update({number: loopctl.backing_path(number) for number in loopctl.attached()})


def pytest_sessionstart(session: pytest.Session) -> None:
    """With -q pytest shows no header, and so not the seed that repeats a failure."""
    seed = session.config.getoption("randomly_seed", None)
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if seed is not None and reporter is not None and session.config.get_verbosity() < 0:
        reporter.write_line(f"Using --randomly-seed={seed}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave the common mount namespace before the first test runs, so that no thread of this process stays in it."""
    wanted = any(item.get_closest_marker("root") for item in session.items)
    if wanted and not session.config.option.collectonly and not _unfit_for_root_tests():
        _enter_private_namespace()


@pytest.fixture(scope="session", autouse=True)
def library_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither this process nor one that it starts keeps anything of the library outside the tests' own directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CINDERLIB_LIBRARY_STATE_DIR", str(tmp_path_factory.mktemp("library-state")))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    if item.get_closest_marker("root") and (reason := _unfit_for_root_tests()):
        pytest.skip(reason)
    with absence.skipping():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with absence.skipping():
        return (yield)


def _unfit_for_root_tests() -> str:
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/dev/loop-control").exists():
        return "needs loop devices, and there is no /dev/loop-control"
    return ""


def _enter_private_namespace() -> None:
    """`os.unshare` came with Python 3.12. Nothing that is mounted from here on is seen by, or outlives, anybody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None):
        number = ctypes.get_errno()
        raise OSError(number, f"no private mount namespace: {os.strerror(number)}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run when something that it started or attached is still there."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tables"] = session.config.stash.get(TABLES, {})
    base = str(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]  # pytest has no public name for it
    deadline = time.monotonic() + _GRACE
    clean = 0
    while True:  # until two looks show nothing, since a process has no environment while it executes another program
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            _end_processes()  # Ctrl-C ends the workers of a parallel run in the middle of their tests
        left = [*_leaked_loops(base), *_leaked_processes()]
        clean = 0 if left else clean + 1
        if clean == 2 or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = left
    left = list(dict.fromkeys([*session.config.stash.get(_LEFT, []), *left]))
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        session.config.stash[_LEFT] = left


_LEFT = pytest.StashKey[list[str]]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of a parallel run has ended: take over its tables, and what it left behind."""
    output = getattr(node, "workeroutput", {})
    for title, lines in output.get("tables", {}).items():
        tables.add(node.config, title, lines)
    node.config.stash.setdefault(_LEFT, []).extend(output.get("left", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, lines in config.stash.get(TABLES, {}).items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.line(line)
    if not_run := absence.closing_lines(terminalreporter.getreports("skipped")):
        terminalreporter.section("not run")
        for line in not_run:
            terminalreporter.line(line)
    if left := config.stash.get(_LEFT, []):
        terminalreporter.section("left behind by this run", red=True)
        for line in left:
            terminalreporter.line(line)


def _leaked_loops(base: str) -> Iterator[str]:
    for number, backing in loops.below(base).items():
        if _loops_before.get(number) != backing:
            yield f"loop device /dev/loop{number} on {backing}"


def _leaked_processes() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            if _is_ours(entry):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                yield f"process {entry.name}: {command}"


def _end_processes() -> None:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if _is_ours(entry):
                _kill_if_ours(entry)


def _kill_if_ours(entry: Path) -> None:
    """Looks again once the process is held, because its number may be another's by now."""
    pidfd = os.pidfd_open(int(entry.name))
    try:
        if _is_ours(entry):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _is_ours(entry: Path) -> bool:
    """Whether this process, or in a parallel run one of its workers, started the process of that directory in /proc."""
    if not entry.name.isdigit() or int(entry.name) == os.getpid():
        return False
    mark = f"{_MARK}={os.environ[_MARK]}".encode()
    variables = (entry / "environ").read_bytes().split(b"\0")
    return any(variable == mark or variable.startswith(mark + b".") for variable in variables)
