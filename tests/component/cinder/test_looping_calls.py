"""What a driver does in the background ends with its back end, and keeps no process from ending."""

from __future__ import annotations

import importlib.util
import io
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder import looping, ratings
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.errors import BackendUnavailable, DriverError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

LOOPING = "tests.support.fakes.looping.LoopingDriver"
HANG = 60
"""Seconds."""
KINDS = ("fixed", "fixed with delay", "fixed with timeout", "dynamic", "back-off")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "LoopingDriver" in thread.name]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a thread may take longer to end than a back end waits for it."""
    monkeypatch.setattr(looping, "STOP_SECONDS", HANG)


@pytest.fixture(autouse=True)
def no_loop_is_left() -> Iterator[None]:
    assert loops() == []
    yield
    until(lambda: not loops())


def ticks(backend: LocalBackend) -> int:
    from tests.support.fakes.looping import LoopingDriver

    return LoopingDriver.ticks.get(f"csi-cinderlib@{backend.name}", 0)


def test_every_kind_is_tried() -> None:
    from tests.support.fakes import looping as fake

    assert tuple(fake.KINDS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_background_loop_ends_with_its_back_end(make: MakeBackend, kind: str) -> None:
    backend = make(driver=LOOPING, looping_kind=kind)
    assert len(loops()) == 1
    if "delay" not in kind:
        until(lambda: ticks(backend))
    backend.stop()
    assert loops() == []


def test_loops_of_other_back_ends_go_on(make: MakeBackend) -> None:
    stopped, other = make("stopped", driver=LOOPING), make("other", driver=LOOPING)
    stopped.stop()
    before = ticks(other)
    until(lambda: ticks(other) > before)
    assert len(loops()) == 1
    other.stop()


@pytest.mark.parametrize("method", ["check_for_setup_error", "get_volume_stats"])
def test_failed_starts_leave_no_loop(make: MakeBackend, method: str) -> None:
    backend = make(driver=LOOPING, start=False, nothing_fail=[method])
    for _ in range(3):
        with pytest.raises(DriverError):
            backend.start()
        assert loops() == []


def test_a_start_that_ends_by_a_bug_leaves_no_loop(make: MakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    backend = make(driver=LOOPING, start=False)
    with monkeypatch.context() as patched:
        patched.setattr(ratings, "check", fail)
        with pytest.raises(RuntimeError, match="a bug"):
            backend.start()
    assert (loops(), backend.ready) == ([], False)
    backend.start()
    assert backend.ready


def test_a_back_end_that_starts_again_has_its_loop_again(make: MakeBackend) -> None:
    backend = make(driver=LOOPING, start=False, nothing_fail=["check_for_setup_error:1"])
    with pytest.raises(DriverError):
        backend.start()
    make("fake", driver=LOOPING, nothing_fail=[])
    before = ticks(backend)
    until(lambda: ticks(backend) > before)
    assert len(loops()) == 1


def test_a_loop_that_a_call_waits_for_ends_with_the_call(make: MakeBackend) -> None:
    backend: Any = make(driver=LOOPING, looping_wait="now")
    driver = backend.driver
    with ThreadPoolExecutor(1) as pool:
        creation = pool.submit(backend.create_volume, makers.volume())
        until(lambda: driver.event is not None and driver.event.is_awaited)
        assert len(loops()) == 2
        backend.stop()
        assert len(loops()) == 1
        driver.done.set()
        assert creation.result(HANG).status is Status.AVAILABLE


def test_a_call_that_waits_for_a_stopped_loop_does_not_take_it_for_done(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend: Any = make(driver=LOOPING, looping_wait="late")
    driver = backend.driver
    with ThreadPoolExecutor(1) as pool:
        creation = pool.submit(backend.create_volume, makers.volume())
        assert driver.waiting.wait(HANG)
        backend.stop()
        assert loops() == []
        driver.go_on.set()
        with pytest.raises(BackendUnavailable, match="the back end was stopped during the call"):
            creation.result(HANG)
    (left,) = store.page(Volume).records
    assert left.status is Status.ERROR


def test_an_end_that_comes_while_a_call_begins_to_wait_is_no_success() -> None:
    done = looping.Done()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(done.wait)
        until(lambda: done.is_awaited)
        done.refuse("array")
        done.send(True)
        with pytest.raises(BackendUnavailable):
            waiting.result(HANG)


def test_a_loop_that_ends_without_a_result_does_not_keep_its_caller_waiting(runtime: Runtime) -> None:
    from oslo_service import loopingcall

    def leave() -> None:
        raise SystemExit("the library gave up")

    with pytest.raises(SystemExit, match="the library gave up"):
        loopingcall.FixedIntervalLoopingCall(leave).start(0).wait(HANG)


def test_a_loop_that_hangs_is_named_and_delays_the_end_by_a_short_time_only(
    make: MakeBackend, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = _Hanging()
    backend: Any = make(driver=LOOPING)
    monkeypatch.setattr(backend.driver, "configuration", hanging)
    assert hanging.entered.wait(HANG)
    monkeypatch.setattr(looping, "STOP_SECONDS", 2.0)
    start = time.monotonic()
    backend.stop()
    assert time.monotonic() - start < looping.STOP_SECONDS + HANG / 2
    (line,) = [line for line in log.getvalue().splitlines() if "looping call still running" in line]
    assert '"call": "LoopingDriver._tick"' in line
    hanging.released.set()


class _Hanging:
    """A configuration whose option is answered when it is released."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()

    @property
    def looping_hangs(self) -> bool:
        self.entered.set()
        self.released.wait(HANG)
        return False


def check(tmp_path: Path, driver: str, options: Mapping[str, object]) -> subprocess.CompletedProcess[str]:
    text = ", ".join(f"{key}: {value}" for key, value in options.items())
    (tmp_path / "config.yaml").write_text(f"backends:\n  a: {{driver: {driver}, options: {{{text}}}}}\n")
    words = ["check", "--config", str(tmp_path / "config.yaml"), "--state-dir", str(tmp_path / "state")]
    return subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", *words], capture_output=True, text=True, timeout=4 * HANG, check=False
    )


def test_a_loop_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    outcome = check(tmp_path, LOOPING, {"looping_hangs": "true"})
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "pool a/one" in outcome.stdout


def test_a_check_of_powerflex_that_is_away_ends(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        options = {
            "san_ip": "127.0.0.1",
            "powerflex_rest_server_port": closed.getsockname()[1],
            "san_login": "admin",
            "san_password": "secret",
            "powerflex_storage_pools": "'domain:pool'",
        }
        driver = "cinder.volume.drivers.dell_emc.powerflex.driver.PowerFlexDriver"
        outcome = check(tmp_path, driver, options)
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert "back end a  " in outcome.stdout and "  bad  " in outcome.stdout
    assert "ConfigurationError" not in outcome.stdout


OTHER_WAYS = {
    "drivers/datera/datera_iscsi.py": "a lock of eventlet.green.threading",
    "drivers/fungible/swagger_api_client.py": "a pool for asynchronous requests, which the driver makes none of",
    "drivers/hitachi/hbsd_replication.py": "items of the pool of hbsd_rest",
    "drivers/hitachi/hbsd_rest.py": "a pool of futurist; its calls wait for the items",
    "drivers/ibm/ibm_storage/ds8k_proxy.py": "eventlet.spawn, to wait for a copy",
    "drivers/infortrend/raidcmd_cli/common_cli.py": "os.forkpty, of a child that a call talks to",
}
"""Modules of Cinder's drivers with threads or processes other than by looping calls, which nothing ends: all end by themselves."""
_OTHER_WAY = re.compile(
    r"threading\.(Thread|Timer)|\b_thread\b|ThreadPool|GreenPool|eventlet\.(spawn|green\b)|greenthread\.spawn|GreenThread"
    r"|threadgroup|concurrent\.futures|import multiprocessing|asyncio|PeriodicWorker|periodic_task\.|os\.fork"
)
_LOOP = re.compile(r"\b(\w*LoopingCall|RetryDecorator)\b")


def sources() -> Iterator[tuple[str, str]]:
    package = importlib.util.find_spec("cinder")  # to import it here would bring the real eventlet
    assert package is not None and package.submodule_search_locations
    root = Path(package.submodule_search_locations[0]) / "volume"
    for folder in ("drivers", "targets"):
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), path.read_text()


def test_what_drivers_start_is_known() -> None:
    """A new version of Cinder may bring a new way, which then needs its own end."""
    assert {name for name, text in sources() if _OTHER_WAY.search(text)} == set(OTHER_WAYS)


def test_all_kinds_of_looping_calls_of_drivers_are_tried() -> None:
    found = {kind for _, text in sources() for kind in _LOOP.findall(text)}
    assert found == {"FixedIntervalLoopingCall", "FixedIntervalWithTimeoutLoopingCall", "DynamicLoopingCall"}
