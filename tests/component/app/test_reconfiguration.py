"""Changed options of working back ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.app import reconfiguration
from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.observations import Observations
from csi_cinderlib.backend import forking
from csi_cinderlib.lifecycle.remote import RemoteBackend
from tests.support.running import NOTHING, Run, wait_for

HELD = "tests.support.fakes.held.HeldDriver"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of one back end in the directory of back ends."""
    path = tmp_path / "backends" / "well.yaml"
    path.parent.mkdir()
    return path


def write(file: Path, options: str = "", driver: str = NOTHING) -> None:
    file.write_text(f"well: {{driver: {driver}, options: {{{options}}}}}\n")


@pytest.fixture
def served(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunningBackends, RemoteBackend]:
    """A back end of that file that works."""
    monkeypatch.setattr(reconfiguration, "PATIENCE", 60.0)
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
    assert shown.startswith("changed options rejected: ")
    assert shown.endswith("; the previous configuration stays in use")
    (seen,) = Observations(running._registry, unreadable=running.unreadable).look()
    told = running.tell(seen)
    assert (told["state"], reason in str(told["reason"])) == ("ready", True)
    logged = [record for record in caplog.records if record.getMessage().startswith("changed options rejected")]
    assert len(logged) == 1


def test_several_problems_of_a_change_are_on_one_line(
    served: tuple[RunningBackends, RemoteBackend], file: Path
) -> None:
    running, _ = served
    write(file, "nothing_prt: 1, nothing_port: '99999999'")
    running.refresh()
    shown = running.unreadable()["well"]
    assert "nothing_prt" in shown
    assert "nothing_port: invalid value" in shown
    assert "\n" not in shown


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


@pytest.fixture
def checked(
    served: tuple[RunningBackends, RemoteBackend], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Changed options of that back end are being checked, as long as this file exists."""
    running, _ = served
    held = tmp_path / "held"
    held.touch()
    write(file, f"nothing_held: {held}", HELD)
    monkeypatch.setattr(reconfiguration, "PATIENCE", 0.1)
    running.refresh()
    wait_for(lambda: len(forking._living) == 2)
    return held


def test_a_slow_check_does_not_delay_changes_of_other_back_ends(
    served: tuple[RunningBackends, RemoteBackend], checked: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, backend = served
    another = file.with_name("another.yaml")
    another.write_text(f"another: {{driver: {NOTHING}}}\n")
    running.refresh()
    wait_for(lambda: [other.name for other in running._registry.all() if other.ready] == ["well", "another"])
    another.unlink()
    running.refresh()
    assert running._registry.all() == (backend,)
    checked.unlink()
    monkeypatch.setattr(reconfiguration, "PATIENCE", 60.0)
    running.refresh()
    assert running._registry.all()[0] is not backend
    wait_for(lambda: running._registry.all()[0].ready)


def test_a_change_during_a_check_ends_the_check(
    served: tuple[RunningBackends, RemoteBackend], checked: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, backend = served
    monkeypatch.setattr(reconfiguration, "PATIENCE", 60.0)
    write(file, "nothing_pools: [second]")
    running.refresh()
    assert running._registry.all()[0] is not backend
    wait_for(lambda: running._registry.all()[0].ready and len(forking._living) == 1)
    assert checked.exists()


def test_a_change_that_is_reverted_during_its_check_leaves_no_process(
    served: tuple[RunningBackends, RemoteBackend], checked: Path, file: Path
) -> None:
    running, backend = served
    write(file, "nothing_pools: [first]")
    running.refresh()
    wait_for(lambda: len(forking._living) == 1)
    assert (running._registry.all(), running.unreadable(), checked.exists()) == ((backend,), {}, True)


@pytest.mark.usefixtures("checked")
def test_close_during_a_check_leaves_no_process(
    served: tuple[RunningBackends, RemoteBackend], caplog: pytest.LogCaptureFixture
) -> None:
    running, backend = served
    running.close()
    wait_for(lambda: not forking._living)
    running.refresh()
    assert running._registry.all() == (backend,)
    assert "rejected" not in caplog.text


def test_a_rejected_change_and_a_second_file_of_the_back_end_are_both_reported(
    served: tuple[RunningBackends, RemoteBackend], file: Path
) -> None:
    running, _ = served
    file.with_name("first.yaml").write_text(f"well: {{driver: {NOTHING}, options: {{nothing_poools: [second]}}}}\n")
    running.refresh()
    assert "nothing_poools: is not an option" in running.unreadable()["well"]
    assert "is already configured in another file" in running.unreadable()["well"]
