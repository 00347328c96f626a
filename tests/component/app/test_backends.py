"""The back ends of a controller, each kept running whatever happens to it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app import backends, stopping
from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.observations import Observations
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.backend import forking
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.backend.line import Cause, Line
from csi_cinderlib.config.settings import BackendSettings, LogSettings, Settings
from csi_cinderlib.errors import NotFound
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.observe.metrics import RESTARTS
from tests.support.fakes.stores import ObservedStore

NOTHING = "tests.support.fakes.nothing.NothingDriver"


Run = Callable[..., tuple[RunningBackends, Backends]]


@pytest.fixture
def counted() -> list[tuple[str, str]]:
    """The restarts that were counted, with their reasons."""
    return []


@pytest.fixture
def run(tmp_path: Path, counted: list[tuple[str, str]]) -> Iterator[Run]:
    """Begin to run the back ends of these settings."""
    store, begun = ObservedStore(), list[RunningBackends]()

    def make(settings: BackendSettings) -> RemoteBackend:
        def assign(is_first: bool) -> Assignment:
            log = LogSettings(format="text")
            return Assignment(settings=settings, state_dir=tmp_path, traits=store.traits, log=log)

        return RemoteBackend(assign, store=store, deadline=Deadline(), bulkhead=Bulkhead(64, lambda: 1), owner="me")

    def run(*back_ends: BackendSettings, directory: str = "") -> tuple[RunningBackends, Backends]:
        registry = Backends()
        settings = Settings(backends=back_ends, backends_directory=directory, state_dir=tmp_path)
        running = RunningBackends(
            settings, Stopping(), registry, make, restarted=lambda name, why: counted.append((name, why))
        )
        begun.append(running)
        running.start()
        return running, registry

    yield run
    for running in begun:
        running.close()
    forking.cool_down()


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_start_that_fails_as_nobody_foresaw_is_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the limit of processes and threads is reached for a while."""
    failures = iter([RuntimeError("can't start new thread")] * 2)

    class Process(forking.Process):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            for failure in failures:
                raise failure
            super().__init__(*arguments, **named)

    monkeypatch.setattr(stopping, "RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(forking, "Process", Process)
    _, registry = run(BackendSettings(name="quick", driver=NOTHING))
    wait_for(lambda: registry.all()[0].ready)


LATE = "from tests.support.fakes.nothing import NothingDriver\n\n\nclass LateDriver(NothingDriver):\n    pass\n"


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module of a driver, which is not there yet, where drivers' processes look for modules."""
    monkeypatch.syspath_prepend(str(tmp_path))
    forking.cool_down()  # its successor has the new path
    return tmp_path / f"late_{tmp_path.name}.py"


def late_driver(file: Path) -> BackendSettings:
    return BackendSettings(name="late", driver=f"{file.stem}.LateDriver")


WELL = BackendSettings(name="well", driver=NOTHING)


def test_a_back_end_whose_library_is_installed_later_is_started_then(
    run: Run, late: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "RETRY_SECONDS", (0.01,))
    _, registry = run(late_driver(late), WELL)
    wait_for(lambda: registry.all()[1].ready and "there is no driver" in registry.all()[0].failure)
    late.write_text(LATE)
    wait_for(lambda: registry.all()[0].ready)


def test_a_back_end_that_cannot_be_started_again_as_configured_is_tried_until_it_can(
    run: Run, late: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller goes on: another start of it would not be better off."""
    monkeypatch.setattr(stopping, "RETRY_SECONDS", (0.01,))
    late.write_text(LATE)
    running, registry = run(late_driver(late))
    (backend,) = registry.all()
    wait_for(lambda: backend.ready)
    late.unlink()
    running.restart("late")
    wait_for(lambda: "there is no driver" in backend.failure)
    late.write_text(LATE)
    wait_for(lambda: backend.ready)
    assert running._stopping.error is None


def test_a_controller_none_of_whose_back_ends_ever_worked_ends_with_the_reason(run: Run, late: Path) -> None:
    running, _ = run(late_driver(late))
    wait_for(lambda: running._stopping.error is not None)
    assert "there is no driver" in str(running._stopping.error)


def test_a_back_end_that_waits_for_its_next_attempt_is_started_at_once_when_an_administrator_asks(
    run: Run, late: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "RETRY_SECONDS", (3600.0,))
    running, registry = run(late_driver(late), WELL)
    wait_for(lambda: "there is no driver" in registry.all()[0].failure)
    late.write_text(LATE)
    running.restart("late")
    wait_for(lambda: registry.all()[0].ready)


def test_a_restart_of_an_unknown_back_end_is_refused(run: Run) -> None:
    running, _ = run(WELL)
    with pytest.raises(NotFound):
        running.restart("nothing")


def test_each_restart_is_counted_with_its_reason(
    run: Run, counted: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "RETRY_SECONDS", (0.0,))
    running, registry = run(WELL)
    backend = registry.all()[0]
    assert isinstance(backend, RemoteBackend)
    ends: list[tuple[str, Callable[[int], object]]] = [
        ("requested", lambda _pid: running.restart("well")),
        ("killed", lambda pid: os.kill(pid, signal.SIGKILL)),
        ("crashed", lambda pid: os.kill(pid, signal.SIGSEGV)),
    ]
    for number, (_, end) in enumerate(ends):
        wait_for(lambda: backend.ready)
        end(backend.pid)
        wait_for(lambda number=number: len(counted) > number)  # type: ignore[misc]
    assert counted == [("well", reason) for reason, _ in ends]
    wait_for(lambda: backend.ready)


def test_a_back_end_is_started_again_though_the_thread_that_tells_of_its_end_has_no_turn(
    run: Run, counted: list[tuple[str, str]]
) -> None:
    _, registry = run(WELL)
    backend = registry.all()[0]
    assert isinstance(backend, RemoteBackend)
    wait_for(lambda: backend.ready)
    pid, line, turn = backend.pid, backend.verbs._line, threading.Event()
    assert line is not None
    tell = line._lost

    def tell_late(ended: Line) -> None:
        turn.wait()
        tell(ended)

    line._lost = tell_late
    try:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: backend.pid not in (0, pid))
    finally:
        turn.set()
    assert counted == [("well", "killed")]


def test_a_back_end_whose_options_change_is_counted_as_reconfigured(
    run: Run, counted: list[tuple[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "backends" / "well.yaml"
    file.parent.mkdir()
    file.write_text(f"well: {{driver: {NOTHING}}}\n")
    running, registry = run(directory=str(file.parent))
    wait_for(lambda: registry.all()[0].ready)
    running.refresh()
    assert counted == []
    file.write_text(f"well: {{driver: {NOTHING}, options: {{nothing_pools: [another]}}}}\n")
    running.refresh()
    assert counted == [("well", "reconfigured")]
    wait_for(lambda: registry.all()[0].ready)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of one back end in the directory of back ends."""
    path = tmp_path / "backends" / "well.yaml"
    path.parent.mkdir()
    return path


def write(file: Path, options: str = "", driver: str = NOTHING) -> None:
    file.write_text(f"well: {{driver: {driver}, options: {{{options}}}}}\n")


@pytest.fixture
def served(run: Run, file: Path) -> tuple[RunningBackends, RemoteBackend]:
    """A back end of that file that works."""
    write(file, "nothing_pools: [first]")
    running, registry = run(directory=str(file.parent))
    wait_for(lambda: registry.all()[0].ready)
    backend = registry.all()[0]
    assert isinstance(backend, RemoteBackend)
    wait_for(lambda: running._kept["well"].has_worked)
    return running, backend


@pytest.mark.parametrize(
    ("options", "driver", "reason"),
    [
        ("nothing_poools: [second]", NOTHING, "backends.well.options.nothing_poools: is not an option of this driver"),
        ("nothing_port: '99999999'", NOTHING, "backends.well.options.nothing_port: invalid value"),
        ("", "not_there.Driver", "there is no driver 'not_there.Driver'"),
        ("", "tests.support.fakes.dying.DyingDriver", "the driver process exited with code 3"),
    ],
    ids=["option", "value", "driver", "crash"],
)
def test_a_rejected_change_leaves_the_working_back_end_in_use(
    served: tuple[RunningBackends, RemoteBackend],
    file: Path,
    caplog: pytest.LogCaptureFixture,
    options: str,
    driver: str,
    reason: str,
) -> None:
    running, backend = served
    pid = backend.pid
    write(file, options, driver)
    for _ in range(3):
        running.refresh()
    assert (running._registry.all(), backend.pid, backend.ready) == ((backend,), pid, True)
    shown = running.unreadable()["well"]
    assert reason in shown
    assert shown.endswith("; the previous configuration stays in use")
    (seen,) = Observations(running._registry, unreadable=running.unreadable).look()
    told = running.tell(seen)
    assert (told["state"], reason in str(told["reason"])) == ("ready", True)
    logged = [record for record in caplog.records if record.getMessage().startswith("changed options rejected")]
    assert len(logged) == 1


def test_a_corrected_change_replaces_the_previous_options(
    served: tuple[RunningBackends, RemoteBackend], file: Path
) -> None:
    running, backend = served
    write(file, "nothing_poools: [second]")
    running.refresh()
    write(file, "nothing_pools: [second]")
    running.refresh()
    assert running.unreadable() == {}
    wait_for(lambda: running._registry.all()[0] is not backend and running._registry.all()[0].ready)
    assert [pool.name for pool in running._registry.all()[0].stats().pools] == ["second"]


def test_a_rejected_change_that_is_reverted_leaves_no_trace(
    served: tuple[RunningBackends, RemoteBackend], file: Path
) -> None:
    running, backend = served
    write(file, "nothing_poools: [second]")
    running.refresh()
    write(file, "nothing_pools: [first]")
    running.refresh()
    assert running.unreadable() == {}
    assert running._registry.all() == (backend,)


def test_a_rejected_change_does_not_delay_a_removal(served: tuple[RunningBackends, RemoteBackend], file: Path) -> None:
    running, _ = served
    write(file, "nothing_poools: [second]")
    running.refresh()
    file.unlink()
    running.refresh()
    assert running._registry.all() == ()
    assert running.unreadable() == {}


def test_a_valid_change_that_fails_in_its_set_up_replaces_the_previous_options(
    served: tuple[RunningBackends, RemoteBackend], file: Path
) -> None:
    running, _ = served
    write(file, "nothing_fail: [do_setup]")
    running.refresh()
    wait_for(lambda: "the array says no" in running._registry.all()[0].failure)
    assert running.unreadable() == {}


def test_wrong_options_at_the_start_make_the_back_end_unusable_with_the_reason(run: Run, file: Path) -> None:
    write(file, "nothing_poools: [first]")
    running, registry = run(directory=str(file.parent))
    wait_for(lambda: "is not an option of this driver" in registry.all()[0].failure)
    assert not registry.all()[0].ready
    write(file, "nothing_pools: [first]")
    running.refresh()
    wait_for(lambda: registry.all()[0].ready)


def test_a_file_that_breaks_is_the_trouble_of_the_back_ends_that_were_in_it_last(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "backends" / "all.yaml"
    file.parent.mkdir()
    file.write_text(f"kept: {{driver: {NOTHING}}}\nremoved: {{driver: {NOTHING}}}\n")
    running, registry = run(directory=str(file.parent))
    file.write_text(f"kept: {{driver: {NOTHING}}}\n")
    running.refresh()
    file.write_text("kept: {\n")
    running.refresh()
    assert [backend.name for backend in registry.all()] == ["kept"]
    assert list(running.unreadable()) == ["kept"]


def test_a_file_that_is_named_otherwise_is_told_once(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "backends"
    directory.mkdir()
    (directory / "all.yaml.old").write_text("")
    running, _ = run(directory=str(directory))
    running.refresh()
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [message.partition(" path=")[0] for message in messages] == ["back end file ignored"]


def test_every_reason_has_a_figure() -> None:
    assert {*Cause, "reconfigured"} == set(RESTARTS)
