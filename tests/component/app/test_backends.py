"""The back ends of a controller, each kept running whatever happens to it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app import backends, stopping
from csi_cinderlib.app.sources import Configured, Sources
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.backend import forking
from csi_cinderlib.backend.line import Cause, Line
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import DriverError, NotFound
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.observe.metrics import RESTARTS
from tests.support.running import NOTHING, Run, wait_for


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


@pytest.mark.parametrize("is_forked", [False, True], ids=["before the fork", "after the fork"])
def test_close_during_a_start_leaves_no_process(run: Run, monkeypatch: pytest.MonkeyPatch, is_forked: bool) -> None:
    begun, may_go_on = list[threading.Thread](), threading.Event()

    class Process(forking.Process):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            if is_forked:
                super().__init__(*arguments, **named)
            begun.append(threading.current_thread())
            assert may_go_on.wait(60)
            if not is_forked:
                super().__init__(*arguments, **named)

    monkeypatch.setattr(forking, "Process", Process)
    running, _ = run(WELL)
    wait_for(lambda: begun)
    running.close()
    forking.cool_down()
    may_go_on.set()
    begun[0].join(60)
    assert not begun[0].is_alive()
    assert forking._warm._process is None
    wait_for(lambda: not forking._living)


def test_wait_ends_when_the_process_stops_during_a_set_up_that_hangs(run: Run, tmp_path: Path) -> None:
    (tmp_path / "held").touch()
    running, _ = run(BackendSettings(name="well", driver=NOTHING, options={"nothing_held": str(tmp_path / "held")}))
    waiting = threading.Thread(target=running.wait, daemon=True)
    waiting.start()
    running._stopping.failed(DriverError("stopped by the test"))
    running._stopping.rest()
    waiting.join(10)
    assert not waiting.is_alive()


def test_close_during_a_refresh_starts_no_back_end(run: Run, tmp_path: Path) -> None:
    (tmp_path / "backends").mkdir()
    running, registry = run(directory=str(tmp_path / "backends"))
    running.close()
    (tmp_path / "backends" / "well.yaml").write_text(f"well: {{driver: {NOTHING}}}\n")
    running.refresh()
    assert registry.all() == ()


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
    assert len(messages) == 1
    assert messages[0].startswith("back end file ignored")


def test_every_reason_has_a_figure() -> None:
    assert {*Cause, "reconfigured"} == set(RESTARTS)


def test_a_reread_during_the_start_waits(tmp_path: Path) -> None:
    """SIGHUP may arrive at any time: two threads would claim objects and start drivers twice."""
    reading, refreshed = threading.Semaphore(), threading.Event()

    class Slow(Sources):
        def read(self) -> Configured:
            assert reading.acquire(blocking=False), "two threads read at once"
            if not threads:
                threads.append(threading.Thread(target=reread, daemon=True))
                threads[0].start()
                refreshed.wait(0.2)
            reading.release()
            return Configured((), lambda _name: False)

    def reread() -> None:
        running.refresh()
        refreshed.set()

    threads: list[threading.Thread] = []
    settings = Settings(state_dir=tmp_path, backends_directory=str(tmp_path))
    running = backends.RunningBackends(settings, Stopping(), Backends(), unmade, sources=Slow(settings))
    running.start()
    assert refreshed.wait(60)


def unmade(_settings: BackendSettings) -> RemoteBackend:
    raise AssertionError("no back end is configured")
