"""A back end in a process of its own, as the controller sees it."""

from __future__ import annotations

import io
import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.backend import forking, line, remote
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.backend.remote import RemoteBackend
from csi_cinderlib.backend.stats import Candidate
from csi_cinderlib.config.settings import BackendSettings, LogSettings
from csi_cinderlib.errors import (
    BackendUnavailable,
    ConfigurationError,
    HostError,
    InvalidRequest,
    LeaseLost,
    PreconditionFailed,
)
from csi_cinderlib.host.deadline import Deadline, now
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs
from tests.support.fakes.array import Array
from tests.support.fakes.fault_plan import ORPHAN_SECONDS
from tests.support.fakes.stores import ObservedStore

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
VOLUME = Volume(id="0b6c6f52-3f5e-4a0e-9d0f-6f1d3c1c1a11", name="pvc-1", backend="array", size=GiB(1))
Make = Callable[..., RemoteBackend]


class Figures(list[tuple[str, str, str]]):
    def backend_called(self, backend: str, operation: str, result: str, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.append((backend, operation, result))


@pytest.fixture(scope="module", autouse=True)
def _no_warm_process_left() -> Iterator[None]:
    """A program ends it by ending itself."""
    yield
    forking.cool_down()


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def store() -> ObservedStore:
    return ObservedStore()


@pytest.fixture
def deadline() -> Deadline:
    return Deadline()


@pytest.fixture
def array_file(tmp_path: Path) -> Path:
    return tmp_path / "array.log"


@pytest.fixture
def make(
    store: ObservedStore, figures: Figures, deadline: Deadline, array_file: Path, tmp_path: Path
) -> Iterator[Make]:
    made: list[RemoteBackend] = []

    def backend(*, start: bool = True, driver: str = ARRAY, **options: Any) -> RemoteBackend:
        given = {"nothing_array_file": str(array_file), **options} if driver == ARRAY else options
        settings = BackendSettings(name="array", driver=driver, options=given, stats_seconds=0)

        def assign(is_first: bool) -> Assignment:
            return Assignment(
                settings=settings,
                state_dir=tmp_path,
                owner="me",
                traits=store.traits,
                log=LogSettings(format="text"),
                measured=True,
                is_first=is_first,
            )

        one = RemoteBackend(
            assign,
            store=store,
            deadline=deadline,
            bulkhead=Bulkhead(64, lambda: 1),
            metrics=figures,
        )
        made.append(one)
        if start:
            one.start()
        return one

    yield backend
    for one in made:
        one.stop()
        one.kill()


def wait_for(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_thread(work: Callable[[], object]) -> list[object]:
    """Begin it; the list gets the exception that it ends with, or None."""
    ended: list[object] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            ended.append(error)
        else:
            ended.append(None)

    threading.Thread(target=run, daemon=True).start()
    return ended


def test_a_volume_lives_its_life_there_and_its_records_here(
    make: Make, store: ObservedStore, figures: Figures, array_file: Path
) -> None:
    backend = make()
    assert backend.pid not in (0, os.getpid())
    created = backend.create_volume(VOLUME)
    assert (created.status, store.get(Volume, VOLUME.id)) == (Status.AVAILABLE, created)
    assert backend.extend_volume(created, GiB(2)).size == 2
    assert [lun.size for lun in Array(array_file).luns()] == [2]
    backend.delete_volume(store.get(Volume, VOLUME.id))
    assert store.page(Volume).records == ()
    assert ("array", "create_volume", "ok") in figures
    assert {pool.name for pool in backend.stats(refresh=True).pools}
    assert backend.capabilities.clone


def test_a_check_of_other_attachments_is_made_here_and_refuses_there(make: Make, store: ObservedStore) -> None:
    backend = make()
    volume = backend.create_volume(VOLUME)
    asked: list[Sequence[Attachment]] = []

    def refuse(others: Sequence[Attachment]) -> None:
        asked.append(others)
        raise PreconditionFailed("taken")

    attachment = Attachment(
        id="1b6c6f52-3f5e-4a0e-9d0f-6f1d3c1c1a11",
        volume_id=volume.id,
        backend="array",
        node_id="n",
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        connector={"host": "n", "initiator": "iqn.2016-04.com.example:n"},
    )
    with pytest.raises(PreconditionFailed, match="taken"):
        backend.connect(volume, attachment, check=refuse)
    assert [list(others) for others in asked] == [[]]
    assert store.page(Attachment).records == ()
    assert backend.connect(volume, attachment).status is Status.AVAILABLE


def test_a_wrong_option_is_named(make: Make) -> None:
    backend = make(start=False, nothing_arry_file="x")
    with pytest.raises(ConfigurationError, match=r"backends\.array\.options\.nothing_arry_file|nothing_arry_file"):
        backend.start()
    assert not backend.ready
    assert "nothing_arry_file" in backend.failure


def test_no_process_is_left_of_a_start_that_failed(make: Make) -> None:
    backend = make(start=False, nothing_faults=["get_volume_stats=login-failed"])
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            backend.start()
    wait_for(lambda: not csi_processes())


def test_a_set_up_that_takes_too_long_is_given_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SET_UP_SECONDS", 1.0)
    backend = make(start=False, nothing_faults=["get_volume_stats=hang"])
    with pytest.raises(BackendUnavailable, match="its set-up did not end within 1 seconds"):
        backend.start()
    wait_for(lambda: not csi_processes())


def test_a_set_up_that_hangs_ends_when_the_back_end_is_stopped(make: Make) -> None:
    backend = make(start=False, nothing_faults=["get_volume_stats=hang"])
    starting = in_thread(backend.start)
    wait_for(csi_processes)
    began = time.monotonic()
    backend.stop()
    wait_for(lambda: starting)
    assert time.monotonic() - began < 10
    assert isinstance(starting[0], BackendUnavailable)
    assert (backend.failure, csi_processes()) == ("stopped", [])
    with pytest.raises(BackendUnavailable, match="stopped"):
        backend.start()


def test_a_process_that_is_stopped_is_found_and_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "PING_SECONDS", 0.1)
    monkeypatch.setattr(line, "HUNG_SECONDS", 1.0)
    backend = make()
    os.kill(backend.pid, signal.SIGSTOP)
    assert backend.wait_until_ended() == "its driver's process was ended by SIGKILL"
    with pytest.raises(BackendUnavailable, match="ended by SIGKILL"):
        backend.create_volume(VOLUME)
    backend.start()
    assert backend.ready
    assert backend.remark == "its driver's process was ended by SIGKILL, and was started again"
    assert backend.problem == ""


def test_a_process_whose_threads_are_all_busy_is_not_taken_for_one_that_hangs(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "PING_SECONDS", 0.1)
    monkeypatch.setattr(line, "HUNG_SECONDS", 1.0)
    backend = make(nothing_faults=["create_volume=hang"])
    hanging = in_thread(lambda: backend.create_volume(VOLUME))
    ended = in_thread(backend.wait_until_ended)
    time.sleep(2.5)
    assert (hanging, ended, backend.ready) == ([], [], True)


def test_an_array_that_hangs_when_it_is_asked_about_itself_holds_up_nobody_for_long(make: Make) -> None:
    """The last report has to do meanwhile; who waits for the answer sees that there is none."""
    backend = make(nothing_faults=["get_volume_stats:4=hang"])
    waiting = in_thread(backend.stats)
    began = time.monotonic()
    assert backend.rated_stats(Candidate(size=GiB(1)))[0].pools
    assert time.monotonic() - began < 10
    assert waiting == []
    assert backend.create_volume(VOLUME).status is Status.AVAILABLE


def test_a_driver_is_not_called_after_the_controllers_deadline(
    make: Make, deadline: Deadline, array_file: Path
) -> None:
    """Also when the controller is stopped, and so cannot tell its drivers' processes anything."""
    backend = make()
    deadline.set(now() - 1)
    with pytest.raises(LeaseLost):
        backend.create_volume(VOLUME)
    assert Array(array_file).luns() == []
    deadline.set(now() + 60)
    assert backend.create_volume(replace(VOLUME, id="1b6c6f52-3f5e-4a0e-9d0f-6f1d3c1c1a12")).status is Status.AVAILABLE


def test_a_driver_does_not_start_beside_a_process_that_outlived_its_controller(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make()
    second = make(start=False)
    with pytest.raises(
        BackendUnavailable, match=f"process {first.pid}, in which its driver ran before, has not ended yet"
    ):
        second.start()
    first.stop()
    second.start()
    assert second.ready


def test_calls_end_before_the_process_of_a_back_end_that_is_stopped(
    make: Make, store: ObservedStore, array_file: Path
) -> None:
    backend = make(nothing_faults=["create_volume@after=slow"])
    creating = in_thread(lambda: backend.create_volume(VOLUME))
    wait_for(lambda: Array(array_file).luns())
    backend.stop()
    with pytest.raises(BackendUnavailable, match="stopped"):
        backend.delete_volume(VOLUME)
    wait_for(lambda: creating)
    assert creating == [None]
    assert store.get(Volume, VOLUME.id).status is Status.AVAILABLE
    wait_for(lambda: not csi_processes())
    assert backend.wait_until_ended() == ""


def test_a_call_whose_process_dies_can_be_carried_on_in_the_next_one(
    make: Make, store: ObservedStore, array_file: Path
) -> None:
    backend = make(nothing_faults=["create_volume:1@after=exit"])
    with pytest.raises(BackendUnavailable, match="driver's process ended during the call"):
        backend.create_volume(VOLUME)
    wait_for(lambda: not backend.ready)
    record = store.get(Volume, VOLUME.id)
    assert record.status is Status.CREATING
    again = make()
    assert again.resume_create_volume(record).status is Status.AVAILABLE
    assert len(Array(array_file).luns()) == 1


def test_a_bug_of_a_driver_is_an_error_of_its_call(make: Make) -> None:
    backend = make()
    with pytest.raises(InvalidRequest):
        backend.validate_connector({})
    assert backend.ready


@pytest.mark.parametrize("fault", ["exit-and-leave-a-child", "close-files"])
def test_a_process_has_ended_whoever_holds_or_closed_its_connection(make: Make, fault: str) -> None:
    backend = make(nothing_faults=[f"create_volume@after={fault}"])
    ended = in_thread(lambda: backend.create_volume(VOLUME))
    wait_for(lambda: ended, ORPHAN_SECONDS / 2)
    assert "driver's process ended during the call" in str(ended[0])
    assert "ended with exit code" in backend.wait_until_ended()
    backend.start()


def test_a_process_without_a_connection_ends_before_the_next_one_starts(make: Make) -> None:
    backend = make()
    pid = backend.pid
    os.kill(pid, signal.SIGSTOP)
    assert backend._line is not None
    backend._line.peer.close()
    backend.wait_until_ended()
    assert pid not in csi_processes()


def test_a_process_that_cannot_be_forked_takes_no_other_one_along(make: Make) -> None:
    first, second = make(), make(start=False)
    warm = forking._warm._process
    assert warm is not None
    limits = resource.prlimit(warm.pid, resource.RLIMIT_NOFILE)
    files = len(files_of(warm.pid))
    resource.prlimit(warm.pid, resource.RLIMIT_NOFILE, (files + 1, limits[1]))
    with pytest.raises(BackendUnavailable, match="could not be started"):
        second.start()
    resource.prlimit(warm.pid, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: len(files_of(warm.pid)) == files)
    assert first.create_volume(VOLUME).status is Status.AVAILABLE
    second.start()


def test_a_start_without_files_to_spare_fails_and_keeps_none(make: Make) -> None:
    backend = make(start=False)
    forking.warm_up()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for spare in range(6):
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


def test_files_and_threads_do_not_pile_up_over_many_starts(make: Make) -> None:
    backend = make()

    before = len(files_of(os.getpid())), threading.active_count()
    for _ in range(20):
        os.kill(backend.pid, signal.SIGKILL)
        backend.wait_until_ended()
        backend.start()
    wait_for(lambda: len(files_of(os.getpid())) <= before[0] and threading.active_count() <= before[1])


def test_what_a_stopped_driver_still_prints_is_logged_without_its_passwords(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = make(nothing_password="tr0ub4dor-and-3", nothing_traits=["prints-late"])
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
        wait_for(lambda: stopping, 5)
    finally:
        os.kill(warm.pid, signal.SIGCONT)
    wait_for(lambda: starting)
    assert isinstance(starting[0], BackendUnavailable)
    wait_for(lambda: len(csi_processes()) == 1)


def test_a_report_that_fails_as_nobody_foresaw_is_the_back_ends_problem(make: Make) -> None:
    backend = make(nothing_faults=["get_volume_stats:4=exit-thread"])
    with pytest.raises(BackendUnavailable, match="SystemExit"):
        backend.stats(refresh=True)
    assert "SystemExit" in backend.problem
    assert backend.stats(refresh=True).pools


def files_of(pid: int) -> set[int]:
    return {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}


def csi_processes() -> list[int]:
    """The drivers' processes of this test."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text() == "csi:array\n" and _is_ours(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found


def _is_ours(pid: int) -> bool:
    def parent(of: int) -> int:
        return int(Path(f"/proc/{of}/stat").read_text().rpartition(") ")[2].split()[1])

    return parent(parent(pid)) == os.getpid()
