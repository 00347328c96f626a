"""`kubectl` shows how the back ends are: a controller with the chart's rights, its back ends in files that come, change and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.persistence.kubernetes.resources import BACKEND
from csi_cinderlib.sealing import generate_key
from tests.cluster.bed.custom_resources import Namespace
from tests.support.processes import drivers

pytestmark = pytest.mark.cluster

Json = dict[str, Any]
DRIVER = "tests.support.fakes.nothing.NothingDriver"
GOOD = f"{{driver: {DRIVER}}}"
PASSWORD = "canary-hunter2"
BROKEN = (
    f"{{driver: {DRIVER}, options: {{nothing_fail: [check_for_setup_error], nothing_password: {PASSWORD},"
    f" nothing_error: 'no session for admin/{PASSWORD}'}}}}"
)


class Site:
    """A controller on a directory of back ends, and what the administrator sees of it."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.directory = folder / "backends"
        self.directory.mkdir()
        self._folder = folder
        self._key = generate_key()

    def start(self, name: str = "c1") -> DriverProcess:
        state = self._folder / name
        state.mkdir()
        options = f"{{kubeconfig: {self.namespace.kubeconfigs['controller']}, namespace: {self.namespace.name}}}"
        (state / "config.yaml").write_text(
            f"backends_directory: {self.directory}\nstore: {{plugin: kubernetes, options: {options}}}\n"
            f"sealing_keys: [{{id: k, key: {self._key}}}]\n"
        )
        return DriverProcess(state, ("--mode", "controller", "--config", str(state / "config.yaml")))

    def kubectl(self, *words: str) -> str:
        return self.namespace.server.kubectl("--namespace", self.namespace.name, *words)

    def statuses(self) -> dict[str, Json]:
        return {item["metadata"]["name"]: item.get("status", {}) for item in self.namespace.objects(BACKEND.plural)}

    def events(self) -> list[tuple[str, str, str]]:
        path = f"/apis/events.k8s.io/v1/namespaces/{self.namespace.name}/events"
        found = self.namespace.server.admin.get(path)["items"]
        return sorted((item["regarding"]["name"], item["reason"], item["note"]) for item in found)

    def until(self, holds: Callable[[], bool], driver: DriverProcess) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline, f"{self.statuses()}\n{driver.log()}"
            time.sleep(0.2)

    def ready(self) -> dict[str, bool]:
        return {name: bool(status.get("ready")) for name, status in self.statuses().items() if status}


@pytest.fixture
def site(namespace: Namespace, tmp_path: Path) -> Site:
    return Site(namespace, tmp_path)


@pytest.fixture
def ended() -> Iterator[list[DriverProcess]]:
    drivers: list[DriverProcess] = []
    yield drivers
    for driver in drivers:
        driver.stop()


def test_back_ends_come_break_mend_and_go_before_the_eyes_of_kubectl(site: Site, ended: list[DriverProcess]) -> None:
    (site.directory / "a.yaml").write_text(f"well: {GOOD}\nNetApp_2: {GOOD}\n")
    (site.directory / "b.yaml").write_text(f"ill: {BROKEN}\n")
    driver = site.start()
    ended.append(driver)
    driver.wait_until_ready()
    site.until(lambda: len(site.ready()) == 3, driver)
    (odd,) = [name for name in site.statuses() if name.startswith("netapp-2-")]
    assert site.ready() == {"well": True, odd: True, "ill": False}
    assert "no session for admin/***" in site.statuses()["ill"]["reason"]
    table = [line.split() for line in site.kubectl("get", "clbe").splitlines()]
    assert table[0] == ["NAME", "READY", "REASON", "DRIVER", "FREE", "AGE"]
    (well,) = [line for line in table if line[0] == "well"]
    assert well[1:4] == ["true", DRIVER, "1000"]

    site.until(lambda: len(site.events()) == 3, driver)
    assert site.events()[1][:2] == (odd, "BackendReady")
    assert "BackendNotReady" in site.kubectl("describe", "clbe", "ill")

    (site.directory / "a.yaml").write_text("well: {driver: [\n")
    site.until(lambda: "stays in use" in site.statuses()["well"]["reason"], driver)
    assert site.ready()["well"], "the previous configuration stays in use"
    (site.directory / "a.yaml").unlink()
    site.until(lambda: set(site.statuses()) == {"ill"}, driver)

    (site.directory / "b.yaml").write_text(f"ill: {GOOD}\n")
    site.until(lambda: site.ready() == {"ill": True}, driver)
    seen = site.kubectl("get", "clbe,events", "-o", "yaml") + driver.log()
    assert PASSWORD not in seen


def test_a_file_that_cannot_be_read_at_all_is_shown_by_its_name(site: Site, ended: list[DriverProcess]) -> None:
    (site.directory / "array7.yaml").write_text("array7: {driver: x.Y, optoins: {}}\n")
    driver = site.start()
    ended.append(driver)
    site.until(lambda: "optoins" in site.statuses().get("array7", {}).get("reason", ""), driver)
    assert site.ready() == {"array7": False}


def test_without_the_rights_and_the_definition_the_controller_serves_all_the_same(
    site: Site, ended: list[DriverProcess]
) -> None:
    admin, role = site.namespace.server.admin, "/apis/rbac.authorization.k8s.io/v1/namespaces"
    path = f"{role}/{site.namespace.name}/roles/controller"
    rules = [rule for rule in admin.get(path)["rules"] if BACKEND.plural not in rule["resources"]]
    admin.patch(path, [{"op": "replace", "path": "/rules", "value": rules}])
    (site.directory / "a.yaml").write_text(f"well: {GOOD}\n")
    driver = site.start()
    ended.append(driver)
    driver.wait_until_ready()
    line = "back end status update failed"
    site.until(lambda: line in driver.log(), driver)
    time.sleep(7)  # another look
    assert driver.log().count(line) == 1
    assert site.statuses() == {}


def status_writes(site: Site) -> int:
    """How many the API server has had, of all controllers."""
    counts = site.namespace.server.kubectl("get", "--raw", "/metrics").splitlines()
    wanted = ("apiserver_request_total", f'resource="{BACKEND.plural}"', 'subresource="status"', 'verb="PATCH"')
    return sum(int(float(line.split()[-1])) for line in counts if all(word in line for word in wanted))


def is_left_alone(site: Site, name: str) -> bool:
    """Whether nobody writes on it for two looks."""

    def version() -> str:
        found = site.namespace.server.admin.get(BACKEND.path(site.namespace.name, name))
        return str(found["metadata"]["resourceVersion"])

    before = version()
    time.sleep(11)
    return version() == before


def test_a_standby_that_takes_over_keeps_the_one_object_of_each_back_end(
    site: Site, ended: list[DriverProcess]
) -> None:
    (site.directory / "a.yaml").write_text(f"well: {GOOD}\n")
    written = status_writes(site)
    ended.append(site.start("c1"))
    ended[0].wait_until_ready()
    ended.append(site.start("c2"))
    site.until(lambda: "holds the lease" in ended[1].log(), ended[1])
    # The active one writes at its first look, and then not for two minutes; the standby does not.
    site.until(lambda: status_writes(site) >= written + 1, ended[0])
    assert site.ready() == {"well": True}
    assert is_left_alone(site, "well") or is_left_alone(site, "well"), "the two minutes can have ended in one of them"
    ended[0].terminate()
    ended[1].wait_until_ready()
    (site.directory / "a.yaml").write_text(f"well: {BROKEN}\n")
    site.until(lambda: site.ready() == {"well": False}, ended[1])
    (site.directory / "a.yaml").unlink()
    site.until(lambda: site.statuses() == {}, ended[1])


def test_an_annotation_restarts_a_driver_once_also_over_a_restart_of_the_controller(
    site: Site, ended: list[DriverProcess]
) -> None:
    (site.directory / "a.yaml").write_text(f"well: {GOOD}\nother: {GOOD}\n")
    ended.append(site.start("c1"))
    site.until(lambda: site.ready() == {"well": True, "other": True}, ended[0])
    before = drivers(ended[0].pid)
    site.kubectl("annotate", "storagebackend", "well", "cinderlib.io/restartedAt=2026-01-01")
    site.until(lambda: site.statuses()["well"].get("restartedAt") == "2026-01-01", ended[0])
    site.until(lambda: drivers(ended[0].pid).get("well", before["well"]) != before["well"], ended[0])
    assert drivers(ended[0].pid)["other"] == before["other"]
    event = ("well", "BackendRestarting", "Restarting back end well as requested")
    site.until(lambda: event in site.events(), ended[0])
    ended[0].stop()
    ended.append(site.start("c2"))
    ended[1].wait_until_ready()
    first = drivers(ended[1].pid)
    time.sleep(11)  # two looks
    assert drivers(ended[1].pid) == first
    assert site.statuses()["well"]["restartedAt"] == "2026-01-01"
