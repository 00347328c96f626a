"""The active controller is lost amid creations, attachments and deletions, and its standby goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster.bed.installation import NAMESPACE, RELEASE, Installation
from tests.cluster.driver import shared_array
from tests.cluster.driver.conftest import Kube, until, volume_files
from tests.cluster.driver.shared_array import attachment, doubles, killed, leader, partitioned, stopped
from tests.cluster.driver.test_operations import claim_of, wait_bound
from tests.cluster.driver.test_values import installed_with
from tests.cluster.driver.test_volumes import WRITE
from tests.program.serve.replicas import FAIL_OVER
from tests.support.fakes.array import VOLUME, Array

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

HERE, THERE = "node-here", "node-there"
ATTACHED = "jsonpath={.status.attached}=true"
CREATED = 50
MOVED = 6
DELETED = 6
PODS = 2
"""With volumes of the local back end, which are really mounted."""
BEGUN = 4
"""Volumes that have been created when the active controller is lost."""
LATE = 4
"""Volumes that are asked for after that, so that the next one has some to create, however quick the lost one was."""

Disturbance = Callable[[Installation, str], AbstractContextManager[None]]


@dataclass
class Site:
    """Two controllers and their array; and what one test makes there."""

    kube: Kube
    watch: shared_array.Watch
    storage_class: str
    made: dict[str, list[str]] = field(default_factory=lambda: {"volumeattachment": [], "pvc": []})

    @property
    def installation(self) -> Installation:
        return self.kube.installation

    def claim(self, count: int, storage_class: str = "") -> list[str]:
        """New claims; their names."""
        names = [self.kube.name("claim") for _ in range(count)]
        self.made["pvc"] += names
        self.installation.apply(*(claim_of(storage_class or self.storage_class, name) for name in names))
        return names

    def volumes(self, claims: list[str]) -> list[str]:
        """Their PersistentVolumes."""
        wait_bound(self.installation, claims)
        found = {item["metadata"]["name"]: item["spec"]["volumeName"] for item in self.installation.items("pvc")}
        return [found[claim] for claim in claims]

    def attach(self, volumes: list[str], node: str) -> list[str]:
        """Ask for attachments; their names."""
        wanted = [attachment(volume, node) for volume in volumes]
        names = [item["metadata"]["name"] for item in wanted]
        self.made["volumeattachment"] += names
        self.installation.apply(*wanted)
        return names

    def wait_for(self, kind: str, names: list[str], condition: str) -> None:
        for name in names:
            self.installation.wait(kind, name, condition, seconds=120)

    def remove(self, kind: str, names: list[str]) -> None:
        """Ask for it, and do not wait."""
        self.installation.cluster.kubectl("delete", kind, *names, "--wait=false")

    def luns(self) -> dict[str, set[str]]:
        """What is on the array, by name, and the nodes that it is mapped to."""
        return {lun.name: lun.hosts for lun in self.watch.array.luns()}

    def created(self) -> int:
        return len(self.watch.array.events("create"))

    def clean(self) -> None:
        self.kube.clean()
        for kind, names in self.made.items():
            if names:
                self.installation.delete(kind, *names)
        until(lambda: not self.luns(), self.installation)
        self.installation.wait_ready()


@pytest.fixture(scope="module")
def array(installation: Installation) -> Iterator[tuple[shared_array.Watch, str]]:
    """With it the name of a StorageClass for it."""
    kube = Kube(installation)
    folder = installation.cluster.folder / "array"
    folder.mkdir(exist_ok=True)
    with installed_with(kube, shared_array.values(folder)):
        for node in (HERE, THERE):
            shared_array.register_node(installation, node)
        yield shared_array.Watch(folder), kube.storage_class({"backend": shared_array.BACKEND})
        for node in (HERE, THERE):
            shared_array.remove_node(installation, node)


@pytest.fixture
def site(kube: Kube, array: tuple[shared_array.Watch, str]) -> Iterator[Site]:
    site = Site(kube, *array)
    yield site
    site.clean()


def handles(installation: Installation, volumes: list[str]) -> list[str]:
    """The names on the array of these PersistentVolumes."""
    found = {item["metadata"]["name"]: item["spec"]["csi"]["volumeHandle"] for item in installation.items("pv")}
    return [f"volume-{found[volume]}" for volume in volumes]


@pytest.mark.parametrize("disturbance", [killed, stopped, partitioned])
def test_a_standby_takes_over_in_time_and_nothing_exists_or_is_mapped_twice(
    site: Site, disturbance: Disturbance
) -> None:
    installation = site.installation
    files = volume_files(installation)
    moved, doomed = site.volumes(site.claim(MOVED)), site.claim(DELETED)
    gone = handles(installation, site.volumes(doomed))
    here = site.attach(moved, HERE)
    site.wait_for("volumeattachment", here, ATTACHED)
    lost = leader(installation)

    with site.watch.watching():
        count = site.created()
        claims, local = site.claim(CREATED), site.claim(PODS, "cinderlib")
        site.remove("pvc", doomed)
        site.remove("volumeattachment", here)
        there = site.attach(moved, THERE)
        pods = [site.kube.pod(claim, wait=False) for claim in local]
        until(lambda: site.created() >= count + BEGUN, installation)
        since = time.monotonic()
        with disturbance(installation, lost):
            late = site.claim(LATE)
            until(lambda: leader(installation) not in ("", lost), installation)
            taken = time.monotonic() - since
            wait_bound(installation, late)
        names, mapped = handles(installation, site.volumes(claims + late)), handles(installation, moved)
        site.wait_for("volumeattachment", there, ATTACHED)
        site.wait_for("pod", pods, "condition=Ready")
        until(lambda: not set(gone) & set(site.luns()), installation)
    gap = site.watch.gap(since, "create")
    print(f"{disturbance.__name__}: the lease was taken over after {taken:.1f} s, and {gap:.1f} s were without service")

    assert gap <= FAIL_OVER
    assert doubles(site.watch.array.events()) == []
    assert len({*names, *mapped}) == CREATED + LATE + MOVED
    assert site.luns() == {name: {THERE} if name in mapped else set() for name in (*names, *mapped)}
    assert disturbance is killed or ended(installation, lost) == 1
    assert all(site.kube.shell(pod, WRITE) for pod in pods)
    assert len(volume_files(installation) - files) == PODS


def ended(installation: Installation, pod: str) -> int:
    """The exit code with which its controller has ended."""

    def last() -> dict[str, Any]:
        statuses = installation.get("pod", pod, "-n", NAMESPACE)["status"]["containerStatuses"]
        state: dict[str, Any] = next(item for item in statuses if item["name"] == "cinderlib")["lastState"]
        return state

    until(lambda: "terminated" in last(), installation)
    return int(last()["terminated"]["exitCode"])


def test_a_standby_is_ready_beside_the_active_controller(site: Site) -> None:
    """By the chart's default, because all nodes reach the back ends."""
    installation = site.installation
    status = installation.get("deployment", f"{RELEASE}-controller", "-n", NAMESPACE)["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    until(
        lambda: len(controllers(installation)) == 2 and leader(installation) in controllers(installation), installation
    )
    (standby,) = controllers(installation) - {leader(installation)}
    log = installation.cluster.kubectl("-n", NAMESPACE, "logs", standby, "-c", "cinderlib", "--tail=-1")
    assert "holds the lease" in log
    assert "back end ready" not in log


def controllers(installation: Installation) -> set[str]:
    """The pods of controllers, also those of before an upgrade that are about to end."""
    found = installation.items("pod", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller")
    return {pod["metadata"]["name"] for pod in found}


def test_a_second_volume_of_a_name_and_a_second_mapping_are_noticed() -> None:
    array = Array(None)
    for host in ("here", "there"):
        id = array.create(VOLUME, "a", 1)
        array.map(id, host)
        array.unmap(id, host)
        array.delete(id)
    assert doubles(array.events()) == []
    first, second = array.create(VOLUME, "b", 1), array.create(VOLUME, "b", 1)
    array.map(first, "here")
    array.map(second, "there")
    array.map(first, "there")
    assert doubles(array.events()) == ["a second b", "b is mapped to ['here', 'there']"]
