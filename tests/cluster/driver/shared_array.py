"""An array that the controllers share, nodes that are objects only, and what happens to the pod of the active controller."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_cinderlib.persistence.kubernetes.leases import NAME
from tests.cluster.bed import images
from tests.cluster.bed.inside import NODE
from tests.cluster.bed.installation import NAMESPACE, Installation
from tests.support.fakes.array import Array, Event

BACKEND = "array"
DELAY = 0.3
"""Seconds of each call."""
CALLS = 6
"""At a time; half of them create something. So all claims of a test take some seconds, and the undoing of what a lost controller began
does not take long before the next one creates something."""
DRIVER = "csi.cinderlib.io"
_MOUNTED = "/opt/array"
_TESTS = "/opt/fakes"
_LOOK_SECONDS = 0.1


def values(folder: Path) -> dict[str, Any]:
    """The chart's, for an array whose file is in this folder. Because the local back end is shared as well, there is a standby."""
    options = {
        "nothing_array_file": f"{_MOUNTED}/{_file(folder).name}",
        "nothing_delay": str(DELAY),
    }  # text: the chart cannot know the type of an option that no driver of Cinder has
    mounted = {"array": (folder, _MOUNTED), "fakes": (images.ROOT / "tests", f"{_TESTS}/tests")}
    return {
        "localBackend": {"shared": True},
        "backends": {
            BACKEND: {
                "driver": "tests.support.fakes.array_driver.ArrayDriver",
                "options": options,
                "max_concurrent_calls": CALLS,
            }
        },
        "controller": {
            "env": [{"name": "PYTHONPATH", "value": _TESTS}],
            "volumes": [{"name": name, "hostPath": {"path": str(path)}} for name, (path, _) in mounted.items()],
            "volumeMounts": [{"name": name, "mountPath": path} for name, (_, path) in mounted.items()],
        },
    }


def _file(folder: Path) -> Path:
    return folder / "array.log"


# --- nodes


def register_node(installation: Installation, name: str) -> None:
    """What an attachment needs of a node; nothing there could mount anything."""
    known = installation.get("storagenodes.cinderlib.io", NODE, "-n", NAMESPACE)
    known["metadata"] = {"name": name, "namespace": NAMESPACE}
    known["spec"]["id"] = name
    known["spec"]["connector"] = {
        "host": name,
        "initiator": f"iqn.2026-01.org.example:{name}",
    }  # no name of the true one's
    driver = {"name": DRIVER, "nodeID": name, "topologyKeys": []}
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "CSINode"}
    installation.apply(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}},
        {**kind, "metadata": {"name": name}, "spec": {"drivers": [driver]}},
        known,
    )


def remove_node(installation: Installation, name: str) -> None:
    installation.delete("node", name)
    installation.delete("storagenodes.cinderlib.io", name, "-n", NAMESPACE)


def attachment(volume: str, node: str) -> dict[str, Any]:
    """As Kubernetes' attach controller makes it for the first pod that needs this PersistentVolume on that node."""
    source = {"persistentVolumeName": volume}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": f"{node}-{volume}"},
        "spec": {"attacher": DRIVER, "nodeName": node, "source": source},
    }


# --- the array's audit log


@dataclass
class Watch:
    """When the array was seen to do something."""

    folder: Path
    at: list[float] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.array = Array(_file(self.folder))

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.at = [time.monotonic()] * len(self.array.events())
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._over.clear()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            new = len(self.array.events()) - len(self.at)
            self.at += [time.monotonic()] * new

    def gap(self, since: float, last: str) -> float:
        """The longest time in which nothing was done, from then on to the last event of this action."""
        events = self.array.events()[: len(self.at)]
        end = max(index for index, event in enumerate(events) if event.action == last)
        times = [since, *(at for at in self.at[: end + 1] if at > since)]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


def doubles(events: Collection[Event]) -> list[str]:
    """What the array should never have had: two volumes of one name, or a volume that is mapped to two nodes."""
    found = []
    names: dict[str, str] = {}
    hosts: dict[str, set[str]] = {}
    for event in events:
        if event.action == "create":
            names[event.id] = event.name
            if Counter(names.values())[event.name] > 1:
                found.append(f"a second {event.name}")
        elif event.action == "delete":
            del names[event.id]
        elif event.action == "map":
            hosts.setdefault(event.id, set()).add(event.host)
            if len(hosts[event.id]) > 1:
                found.append(f"{event.name} is mapped to {sorted(hosts[event.id])}")
        elif event.action == "unmap":
            hosts.get(event.id, set()).discard(event.host)
    return found


# --- the pod of the active controller


def leader(installation: Installation) -> str:
    """The pod of the active controller; "" if nobody is."""
    lease = installation.get("lease", NAME, "-n", NAMESPACE)
    pods = [pod["metadata"]["name"] for pod in installation.items("pod", "-n", NAMESPACE)]
    return next((pod for pod in pods if pod in lease["spec"].get("holderIdentity", "")), "")


@contextmanager
def killed(installation: Installation, pod: str) -> Iterator[None]:
    """Its processes end without notice, and it does not come back."""
    _signal(installation, pod, signal.SIGKILL)
    path = ("-n", NAMESPACE, "delete", "pod", pod)
    installation.cluster.kubectl(*path, "--force", "--grace-period=0", "--wait=false")
    yield


@contextmanager
def stopped(installation: Installation, pod: str) -> Iterator[None]:
    """It is stopped with all its sidecars, as on a machine that hangs, and goes on at the end."""
    _signal(installation, pod, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(installation, pod, signal.SIGCONT)


@contextmanager
def partitioned(installation: Installation, pod: str) -> Iterator[None]:
    """It reaches its array and not the API server, until the end."""
    address = installation.get("pod", pod, "-n", NAMESPACE)["status"]["podIP"]
    rules = f"""
        table ip partition {{
            chain in {{ type filter hook input priority -10; ip saddr {address} tcp dport 6443 drop; }}
            chain out {{ type filter hook output priority -10; ip daddr {address} tcp sport 6443 drop; }}
        }}
    """
    installation.cluster.run("nft", "-f", "-", text=rules)
    try:
        yield
    finally:
        installation.cluster.run("nft", "delete", "table", "ip", "partition")


def _signal(installation: Installation, pod: str, number: signal.Signals) -> None:
    uid = installation.get("pod", pod, "-n", NAMESPACE)["metadata"]["uid"]
    groups = list(Path("/sys/fs/cgroup/memory/kubepods").rglob(f"pod{uid}/*/cgroup.procs"))
    processes = [int(line) for group in groups for line in group.read_text().split()]
    assert len(processes) > len(groups) > 1, groups
    for process in processes:
        with suppress(ProcessLookupError):  # the first process of a container takes the others along
            os.kill(process, number)
