"""How drivers' processes end, whatever their drivers do, and what is left of them."""

from __future__ import annotations

import gc
import io
import logging
import math
import os
import resource
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.backend import forking, line
from csi_cinderlib.backend.stats import Candidate
from csi_cinderlib.cinder.driver_process import LATE_SECONDS, STOPPED_SECONDS
from csi_cinderlib.errors import (
    BackendUnavailable,
    HostError,
)
from csi_cinderlib.host.deadline import Deadline, now
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model.records import Status
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.verbatim import Referenced, Verbatim
from csi_cinderlib.observe import logs
from tests.component.backend.processes.conftest import (
    VOLUME,
    Make,
    csi_processes,
    files_of,
    in_thread,
    wait_for,
)
from tests.support.fakes import makers
from tests.support.fakes.array import Array
from tests.support.fakes.fault_plan import BLOCK_SECONDS, ORPHAN_SECONDS, PROGRAM_SECONDS
from tests.support.processes import descendants


@pytest.mark.parametrize("fault", ["exit-and-leave-a-child", "close-files"])
def test_a_process_has_ended_whoever_holds_or_closed_its_connection(make: Make, fault: str) -> None:
    backend = make(nothing_faults=[f"create_volume@after={fault}"])
    ended = in_thread(lambda: backend.create_volume(VOLUME))
    wait_for(lambda: ended, ORPHAN_SECONDS / 2)
    assert "driver process ended during the call" in str(ended[0])
    assert "exited with code" in backend.wait_until_ended()
    backend.start()


@pytest.mark.root
def test_programs_of_another_user_are_left_without_an_error() -> None:
    """Nobody would hear of the driver's end otherwise. They are all that is left of its group when it has ended."""
    with subprocess.Popen(["sleep", "60"], process_group=0) as program:
        child = os.fork()
        if child == 0:
            code = 1
            with suppress(BaseException):
                process = forking.Process.__new__(forking.Process)
                process.pid, process._pidfd = program.pid, os.pidfd_open(program.pid)
                os.setresuid(65534, 65534, 65534)
                process.end_group()
                code = 0
            os._exit(code)
        ended = os.waitpid(child, 0)[1], program.poll()
        program.kill()
    assert ended == (0, None)


def test_a_process_without_a_connection_ends_before_the_next_one_starts(make: Make) -> None:
    backend = make()
    pid = backend.pid
    os.kill(pid, signal.SIGSTOP)
    assert backend.verbs._line is not None
    backend.verbs._line.peer.close()
    backend.wait_until_ended()
    assert pid not in csi_processes()


def test_a_process_that_cannot_be_forked_takes_no_other_one_along(make: Make) -> None:
    first, second = make(), make(start=False)
    warm = forking._warm._process
    assert warm is not None
    limits = resource.prlimit(warm.pid, resource.RLIMIT_NOFILE)
    wait_for(lambda: sockets(warm.pid) == 1)  # it has closed what it gave to the first one
    files = len(files_of(warm.pid))
    resource.prlimit(warm.pid, resource.RLIMIT_NOFILE, (files + 1, limits[1]))
    with pytest.raises(BackendUnavailable, match="could not be started"):
        second.start()
    resource.prlimit(warm.pid, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: len(files_of(warm.pid)) == files)
    assert first.create_volume(VOLUME).status is Status.AVAILABLE
    first.stop()
    wait_for(lambda: not csi_processes())
    second.start()


def sockets(pid: int) -> int:
    """How many a process has, not counting its input and output."""
    number = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has just been closed
            number += int(file.name) > 2 and str(file.readlink()).startswith("socket:")
    return number


def test_a_start_without_files_to_spare_fails_and_keeps_none(make: Make) -> None:
    backend = make(start=False)
    forking.warm_up()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for spare in range(6):
        gc.collect()  # it closes files, and would make room for the start
        before = files_of(os.getpid())
        free = [number for number in range(1000) if number not in before]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[spare], limits[1]))
        try:
            with pytest.raises(HostError, match="Too many open files"):
                backend.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert len(files_of(os.getpid())) <= len(before)
    backend.start()


def test_a_process_starts_while_this_one_has_more_files_than_select_can_watch(make: Make) -> None:
    backend = make(start=False)
    with ExitStack() as stack:
        for _ in range(1024):  # FD_SETSIZE
            stack.callback(os.close, os.dup(0))
        forking.cool_down()
        backend.start()
        assert backend.create_volume(VOLUME).status is Status.AVAILABLE


def test_no_process_is_left_of_a_start_without_threads_to_spare(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("store-array"):
            raise RuntimeError("can't start new thread")
        start(thread)

    backend = make(start=False)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            backend.start()
    wait_for(lambda: not csi_processes())
    backend.start()


def test_files_and_threads_do_not_pile_up_over_many_starts(make: Make) -> None:
    """How many threads serve the questions of one process differs: one more starts while the others are at work."""
    backend = make()

    def open_files() -> int:
        gc.collect()
        return len(files_of(os.getpid()))

    before = open_files(), threading.active_count()
    for _ in range(20):
        os.kill(backend.pid, signal.SIGKILL)
        backend.wait_until_ended()
        backend.start()
    wait_for(lambda: open_files() <= before[0] and threading.active_count() < before[1] + 10)


def test_what_many_calls_at_once_need_is_given_back_after_them(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Counted in the driver's process: in this one, what is left of other tests may be closed at any moment."""
    monkeypatch.setattr(line, "PING_SECONDS", 0.1)
    held = tmp_path / "held"
    backend = make(driver="tests.support.fakes.nothing.NothingDriver", nothing_held=str(held))
    before = len(files_of(backend.pid))
    place = backend.stats().pools[0].name  # so that no report is asked for
    held.touch()
    with ThreadPoolExecutor(16) as pool:
        volumes = [replace(makers.volume(backend="array"), pool=place) for _ in range(16)]
        calls = [pool.submit(backend.create_volume, volume) for volume in volumes]
        try:
            wait_for(lambda: channels_in_use(backend) == len(calls))
        finally:
            held.unlink()
    assert {call.result().status for call in calls} == {Status.AVAILABLE}
    assert len(files_of(backend.pid)) >= before + 4
    in_thread(backend.wait_until_ended)
    wait_for(lambda: len(files_of(backend.pid)) <= before)


def channels_in_use(backend: RemoteBackend) -> int:
    assert backend.verbs._line is not None
    return backend.verbs._line.channels.calls


@pytest.mark.parametrize(
    "options",
    [
        {"nothing_password": "tr0ub4dor-and-3"},
        {
            "nothing_password": Verbatim("$shared_password"),
            "defaults": {"shared_password": Referenced("tr0ub4dor-and-3")},
        },
    ],
)
def test_what_a_stopped_driver_still_prints_is_logged_without_its_passwords(
    make: Make, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    backend = make(nothing_traits=["prints-late"], **options)
    written = io.StringIO()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    logs.configure(format="text", stream=written)
    backend.stop()
    wait_for(lambda: "raidcmd: logging out" in written.getvalue())
    assert "raidcmd: logging out as admin with ***" in written.getvalue()


def test_a_fork_that_hangs_holds_up_nobody_who_stops_the_back_end(make: Make) -> None:
    make()
    backend = make(start=False)
    warm = forking._warm._process
    assert warm is not None
    os.kill(warm.pid, signal.SIGSTOP)
    try:
        starting = in_thread(backend.start)
        time.sleep(0.5)
        stopping = in_thread(backend.stop)
        wait_for(lambda: stopping, forking.BIRTH_SECONDS / 2)
    finally:
        os.kill(warm.pid, signal.SIGCONT)
    wait_for(lambda: starting)
    assert isinstance(starting[0], BackendUnavailable)
    wait_for(lambda: len(csi_processes()) == 1)


def test_a_report_that_fails_as_nobody_foresaw_is_the_back_ends_problem(make: Make) -> None:
    backend = make(nothing_faults=["get_volume_stats:3=exit-thread"])
    with pytest.raises(BackendUnavailable, match="SystemExit"):
        backend.stats(refresh=True)
    assert "SystemExit" in backend.problem
    assert backend.stats(refresh=True).pools


def test_a_report_that_fails_as_nobody_foresaw_keeps_volumes_from_its_back_end_alone(make: Make) -> None:
    """Placement passes over a back end that raises an error of ours."""
    backend = make(nothing_faults=["get_volume_stats:3=exit-thread"])
    with pytest.raises(BackendUnavailable, match="SystemExit"):
        backend.ask_rated_stats(Candidate(size=GiB(1)))(60)


def test_a_call_does_not_go_on_past_the_deadline_of_a_controller_that_is_stopped(
    make: Make, deadline: Deadline
) -> None:
    backend = make(nothing_faults=["create_volume=run-a-program"])
    ended = in_thread(lambda: backend.create_volume(VOLUME))
    wait_for(programs)
    deadline.set(now())
    wait_for(lambda: ended)
    assert backend.wait_until_ended() == "the driver process exited with code 1"
    wait_for(lambda: not programs())


def test_a_driver_that_is_stopped_past_the_deadline_never_goes_on(
    make: Make, deadline: Deadline, array_file: Path, tmp_path: Path
) -> None:
    """As on a machine that hangs, with its controller: later the call would go on beside the next controller."""
    held, journal = tmp_path / "held", tmp_path / "journal"
    backend = make(nothing_held=str(held), nothing_journal=str(journal))
    held.touch()
    ended = in_thread(lambda: backend.create_volume(VOLUME))
    deadline.set(now() + 10)
    wait_for_looks(backend.pid)
    os.kill(backend.pid, signal.SIGSTOP)
    held.unlink()
    wait_for(lambda: ended)
    assert now() > deadline.until + LATE_SECONDS
    assert "SIGKILL" in backend.wait_until_ended()
    assert "create_volume" not in journal.read_text()
    assert Array(array_file).events() == []


def test_a_call_that_blocks_its_process_for_some_seconds_survives_a_renewed_deadline(
    make: Make, deadline: Deadline
) -> None:
    """The process had heard of the deadline before, which is over meanwhile."""
    backend = make(nothing_faults=["create_volume=block"])
    before = now() + 10
    deadline.set(before)
    wait_for_looks(backend.pid)
    deadline.set(math.inf)
    wait_for_looks(backend.pid)
    wait_for(lambda: now() + BLOCK_SECONDS > before + STOPPED_SECONDS)
    assert backend.create_volume(VOLUME).status is Status.AVAILABLE


def wait_for_looks(pid: int) -> None:
    """Until a driver's process has looked at its deadline: its first thread does nothing else, and sleeps in between."""
    status = Path(f"/proc/{pid}/task/{pid}/status")

    def sleeps() -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches:"))
        return int(line.split()[1])

    enough = sleeps() + 2  # one may be a wait for another thread of the process
    wait_for(lambda: sleeps() >= enough)


def test_programs_that_a_driver_runs_inherit_none_of_its_files(make: Make) -> None:
    backend = make()
    backend.create_volume(VOLUME)
    files = files_of(backend.pid) - {0, 1, 2}
    flags = {number: Path(f"/proc/{backend.pid}/fdinfo/{number}").read_text().split()[3] for number in files}
    assert [number for number in files if not int(flags[number], 8) & os.O_CLOEXEC] == []


def kill_warm(number: signal.Signals = signal.SIGKILL) -> None:
    """A signal to the process that the drivers' processes are forked from."""
    assert forking._warm._process is not None
    os.kill(forking._warm._process.pid, number)


def stop_warm_and_leave() -> None:
    """As a controller that has lost its lease, on a machine where that process hangs."""
    kill_warm(signal.SIGSTOP)
    forking.cool_down()


@pytest.mark.parametrize("ending", ["driver", "cool-down", "warm-killed", "warm-hangs"])
def test_programs_that_a_driver_runs_end_with_it(make: Make, ending: str) -> None:
    """Else an `lvcreate` would go on beside the next attempt."""
    backend = make(nothing_faults=["create_volume=run-a-program"])
    ended = in_thread(lambda: backend.create_volume(VOLUME))
    wait_for(programs)
    endings = {"cool-down": forking.cool_down, "warm-killed": kill_warm, "warm-hangs": stop_warm_and_leave}
    endings.get(ending, backend.kill)()
    wait_for(lambda: ended)
    wait_for(lambda: not programs())


def test_a_service_that_outlives_its_driver_is_no_zombie_after_its_end(make: Make) -> None:
    """Where the controller is the first process of a container, nobody else waits for it."""
    backend = make(nothing_faults=["create_volume=exit-and-leave-a-service"])
    driver, warm = backend.pid, forking._warm._process
    assert warm is not None
    with pytest.raises(BackendUnavailable):
        backend.create_volume(VOLUME)
    backend.wait_until_ended()
    wait_for(lambda: driver not in (below := descendants(warm.pid)) and len(below) == 1)
    (service,) = descendants(warm.pid)
    os.kill(service, signal.SIGKILL)
    wait_for(lambda: service not in descendants(warm.pid))
    assert not Path(f"/proc/{service}").exists()
    backend.start()


def programs() -> list[str]:
    """Those of the fault "run-a-program" that run, and were not started by the tests of another process."""
    wanted, found = f"sleep\0{PROGRAM_SECONDS}\0", []
    mark = f"\0CINDERLIB_TEST_SESSION={os.environ['CINDERLIB_TEST_SESSION']}\0"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if path.read_text() == wanted and mark in f"\0{path.with_name('environ').read_text()}":
                found.append(path.parent.name)
    return found
