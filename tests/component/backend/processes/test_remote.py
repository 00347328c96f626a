"""A back end in a process of its own, as the controller sees it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.backend import line, remote
from csi_cinderlib.backend.stats import Candidate
from csi_cinderlib.backend.wire import PING
from csi_cinderlib.cinder.exports import WORKERS
from csi_cinderlib.errors import (
    BackendUnavailable,
    ConfigurationError,
    InvalidRequest,
    LeaseLost,
    PreconditionFailed,
)
from csi_cinderlib.host.deadline import Deadline, now
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.component.backend.processes.conftest import (
    VOLUME,
    Figures,
    Make,
    csi_processes,
    in_thread,
    wait_for,
)
from tests.support.fakes import makers
from tests.support.fakes.array import Array
from tests.support.fakes.stores import ObservedStore

ATTACHMENT = Attachment(
    id="1b6c6f52-3f5e-4a0e-9d0f-6f1d3c1c1a11",
    volume_id=VOLUME.id,
    backend="array",
    node_id="n",
    access_mode=AccessMode.SINGLE_NODE_WRITER,
    connector={"host": "n", "initiator": "iqn.2016-04.com.example:n"},
)


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

    with pytest.raises(PreconditionFailed, match="taken"):
        backend.connect(volume, ATTACHMENT, check=refuse)
    assert [list(others) for others in asked] == [[]]
    assert store.page(Attachment).records == ()
    assert backend.connect(volume, ATTACHMENT).status is Status.AVAILABLE


def test_a_driver_is_not_asked_for_what_it_would_not_do(make: Make, figures: Figures, tmp_path: Path) -> None:
    """The driver for files exports nothing, and wants nothing of a connector."""
    backend = make(
        driver="csi_cinderlib.drivers.loopfile.LoopFileDriver", loopfile_directories=f"pool:{tmp_path}/files"
    )
    volume = backend.create_volume(replace(VOLUME, pool="pool", host="csi-cinderlib@array#pool"))
    attachment = backend.connect(volume, ATTACHMENT)
    backend.disconnect(attachment)
    called = [operation for _, operation, _ in figures]
    assert called[-3:] == ["create_volume", "initialize_connection", "terminate_connection"]
    backend.kill()
    backend.wait_until_ended()
    with pytest.raises(BackendUnavailable):
        backend.connect(volume, ATTACHMENT)


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
    with pytest.raises(BackendUnavailable, match="set-up did not finish within 1 s"):
        backend.start()
    wait_for(lambda: not csi_processes())


def test_a_set_up_that_hangs_ends_when_the_back_end_is_stopped(make: Make) -> None:
    backend = make(start=False, nothing_faults=["get_volume_stats=hang"])
    starting = in_thread(backend.start)
    wait_for(csi_processes)
    backend.stop()
    wait_for(lambda: starting, remote.DRAIN_SECONDS / 2)
    assert isinstance(starting[0], BackendUnavailable)
    assert backend.failure == "stopped"
    wait_for(lambda: not csi_processes())
    with pytest.raises(BackendUnavailable, match="stopped"):
        backend.start()


def test_a_process_that_is_stopped_is_found_and_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make()
    with monkeypatch.context() as patch:  # not while one starts, which may take longer to answer on a busy machine
        patch.setattr(line, "PING_SECONDS", 0.1)
        patch.setattr(line, "HUNG_SECONDS", 1.0)
        os.kill(backend.pid, signal.SIGSTOP)
        assert backend.wait_until_ended() == "the driver process stopped responding and was killed"
    assert backend.last_cause is line.Cause.HUNG
    with pytest.raises(BackendUnavailable, match="stopped responding"):
        backend.create_volume(VOLUME)
    backend.start()
    assert backend.ready
    assert backend.remark == "the driver process stopped responding and was killed and was restarted"
    assert backend.problem == ""


def test_a_process_whose_threads_are_all_busy_is_not_taken_for_one_that_hangs(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(line, "PING_SECONDS", 0.1)
    journal = tmp_path / "journal"
    backend = make(nothing_faults=["create_volume=hang"], nothing_journal=str(journal))
    hanging = in_thread(lambda: backend.create_volume(VOLUME))
    ended = in_thread(backend.wait_until_ended)
    wait_for(lambda: "create_volume" in journal.read_text())
    assert backend.verbs._line is not None
    for _ in range(5):
        backend.verbs._line.peer.begin(PING).result(60)
    assert (hanging, ended, backend.ready) == ([], [], True)


def test_an_array_that_hangs_when_it_is_asked_about_itself_holds_up_nobody_for_long(make: Make) -> None:
    """The last report has to do meanwhile; who waits for the answer sees that there is none."""
    backend = make(nothing_faults=["get_volume_stats:3=hang"])
    waiting = in_thread(backend.stats)
    assert backend.ask_rated_stats(Candidate(size=GiB(1)))(0.1)[0].pools
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
    with pytest.raises(BackendUnavailable, match=rf"the previous driver process \({first.pid}\) has not ended yet"):
        second.start()
    first.stop()
    wait_for(lambda: not csi_processes())
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


def test_an_operation_of_several_calls_ends_before_the_process_of_a_back_end_that_is_stopped(
    make: Make, store: ObservedStore, array_file: Path
) -> None:
    backend = make(nothing_faults=["create_export@after=slow"])
    volume = backend.create_volume(VOLUME)
    connecting = in_thread(lambda: backend.connect(volume, makers.attachment(volume)))
    wait_for(lambda: store.page(Attachment).records)
    time.sleep(0.5)
    backend.stop()
    with pytest.raises(BackendUnavailable, match="stopped"):
        backend.delete_volume(volume)
    wait_for(lambda: connecting)
    assert connecting == [None]
    assert [record.status for record in store.page(Attachment).records] == [Status.AVAILABLE]
    assert [lun.hosts for lun in Array(array_file).luns()] == [{"node-1"}]
    wait_for(lambda: not csi_processes())


def test_a_process_exports_nothing_again_beside_the_next_one(
    make: Make, store: ObservedStore, figures: Figures, released: threading.Event
) -> None:
    count = 400  # more than are exported before this thread comes to stop it
    for _ in range(count):
        volume = store.add(replace(makers.volume(backend="array"), status=Status.AVAILABLE))
        store.add(replace(makers.attachment(volume), status=Status.AVAILABLE))
    backend = make(driver="tests.support.fakes.nothing.NothingDriver", nothing_delay=0.1)
    volume = backend.create_volume(VOLUME)
    reached = threading.Event()

    def exported() -> int:
        return figures.count(("array", "ensure_export", "ok"))

    def check(_others: Sequence[Attachment]) -> None:
        reached.set()
        released.wait(120)

    in_thread(lambda: backend.connect(volume, makers.attachment(volume), check=check))
    assert reached.wait(60)
    wait_for(exported)
    backend.stop()
    begun = exported() + WORKERS
    assert begun < count
    time.sleep(0.7)
    assert exported() <= begun


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_call_whose_process_dies_can_be_carried_on_in_the_next_one(
    make: Make, store: ObservedStore, array_file: Path
) -> None:
    backend = make(nothing_faults=["create_volume:1@after=exit"])
    with pytest.raises(BackendUnavailable, match="driver process ended during the call"):
        backend.create_volume(VOLUME)
    wait_for(lambda: not backend.ready)
    record = store.get(Volume, VOLUME.id)
    assert (record.status, "driver process ended" in record.message) == (Status.ERROR, True)
    again = make()
    assert again.resume_create_volume(record).status is Status.AVAILABLE
    assert len(Array(array_file).luns()) == 1


def test_a_bug_of_a_driver_is_an_error_of_its_call(make: Make) -> None:
    backend = make()
    with pytest.raises(InvalidRequest):
        backend.validate_connector({})
    assert backend.ready
