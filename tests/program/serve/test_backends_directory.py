"""Back ends come, change, break and go in their directory while a controller serves, and the others' work is not disturbed."""

from __future__ import annotations

import itertools
import threading
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import Calls, Start, until, whole_log

LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
NOTHING = "tests.support.fakes.nothing.NothingDriver"


class Directory:
    """The directory of back ends, and the controller that watches it."""

    def __init__(self, start: Start, base: Path) -> None:
        self._base = base
        self._path = base / "backends"
        self._path.mkdir()
        self._probes = itertools.count(1)
        self.steady("steady")
        self.driver: DriverProcess = start("--mode", "controller", config=f"backends_directory: {self._path}\n")
        self.driver.wait_until_ready()
        self.calls = Calls(self.driver)

    def steady(self, name: str) -> None:
        self.write(name, f"driver: {LOOPFILE}, options: {{loopfile_directories: [{self._base / name}]}}")

    def write(self, name: str, text: str) -> None:
        (self._path / f"{name}.yaml").write_text(f"{name}: {{{text}}}\n")

    def remove(self, name: str) -> None:
        (self._path / f"{name}.yaml").unlink()

    def files(self, name: str) -> list[str]:
        return sorted(path.name for path in (self._base / name).glob("volume-*"))

    def refusal(self, backend: str) -> str:
        """Why no volume can be made there now; "" when one was made."""
        try:
            volume = self.calls.create(f"probe-{next(self._probes)}", backend=backend)
        except grpc.RpcError as error:
            return str(error.details())
        with suppress(grpc.RpcError):  # it was taken away this very moment
            self.calls.delete(volume)
        return ""

    def until_made(self, backend: str) -> None:
        until(lambda: not self.refusal(backend), self.driver)

    def until_refused(self, backend: str, why: str) -> None:
        until(lambda: why in self.refusal(backend), self.driver)


class Work:
    """Volumes made and deleted on one back end, one after the other, until stopped."""

    def __init__(self, calls: Calls, backend: str) -> None:
        self._calls = calls
        self._backend = backend
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.done = 0
        self.failures: list[str] = []

    def __enter__(self) -> Work:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self._calls.delete(self._calls.create(f"work-{self.done}", backend=self._backend))
            except grpc.RpcError as error:
                self.failures.append(str(error))
            self.done += 1


@pytest.fixture
def directory(start: Start, tmp_path: Path) -> Directory:
    return Directory(start, tmp_path)


def test_a_back_end_is_added_changed_broken_mended_and_removed_beside_one_that_works(directory: Directory) -> None:
    kept = directory.calls.create("kept", backend="steady")
    with Work(directory.calls, "steady") as work:
        assert "unknown back end 'guest'; configured: steady" in directory.refusal("guest")
        directory.write("guest", f"driver: {NOTHING}, options: {{nothing_capacity_gb: '5'}}")
        directory.until_made("guest")

        directory.write(
            "guest", f"driver: {NOTHING}, options: {{nothing_fail: [create_volume], nothing_error: 'the array burns'}}"
        )
        directory.until_refused("guest", "the array burns")

        directory.write("guest", f"driver: {NOTHING}")
        directory.until_made("guest")
        directory.write("guest", f"driver: {NOTHING}, options: {{nothing_capacity_bg: '5'}}")
        until(lambda: "did you mean nothing_capacity_gb" in whole_log(directory.driver), directory.driver)
        assert directory.refusal("guest") == "", "the previous options stay in use"

        directory.write("guest", f"driver: {NOTHING}")
        directory.until_made("guest")
        (directory._path / "guest.yaml").write_text("guest: {driver: [\n")
        until(lambda: "back end configuration not readable" in whole_log(directory.driver), directory.driver)
        assert directory.refusal("guest") == "", "the previous configuration stays in use"

        directory.remove("guest")
        directory.until_refused("guest", "unknown back end")
        done = work.done
        until(lambda: work.done > done + 5, directory.driver)
    assert work.failures == []
    assert kept in directory.calls.volumes()
    assert directory.files("steady") == [f"volume-{kept}"]


def test_volumes_of_a_back_end_that_was_taken_away_are_there_when_it_comes_back(directory: Directory) -> None:
    directory.steady("second")
    directory.until_made("second")
    volume = directory.calls.create("v", backend="second")
    assert f"volume-{volume}" in directory.files("second")
    directory.remove("second")
    directory.until_refused("second", "unknown back end")
    listed = directory.calls.volumes()[volume]
    with pytest.raises(grpc.RpcError, match="it is no longer configured") as refused:
        directory.calls.delete(volume)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE, "the caller asks again"
    assert listed.status.volume_condition.abnormal
    directory.steady("second")
    directory.until_made("second")
    assert not directory.calls.volumes()[volume].status.volume_condition.abnormal
    directory.calls.delete(volume)
    assert f"volume-{volume}" not in directory.files("second")


def test_a_controller_without_any_back_end_is_ready_and_takes_the_first_one_up(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "backends"
    directory.mkdir()
    driver = start("--mode", "controller", config=f"backends_directory: {directory}\n")
    driver.wait_until_ready()
    calls = Calls(driver)
    with pytest.raises(grpc.RpcError, match="no back end is configured"):
        calls.create("v")
    (directory / "a.yaml").write_text(f"a: {{driver: {NOTHING}}}\n")
    until(lambda: "back end ready" in whole_log(driver), driver)
    assert calls.create("v")
