"""What the chart's values change in a cluster: capacity, a limit for a node, a database for the records; and other sealing keys."""

from __future__ import annotations

import ctypes
import json
import os
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.config.settings import DRIVER_NAME
from csi_cinderlib.sealing import generate_key
from tests.cluster.bed.inside import ADDRESS
from tests.cluster.bed.installation import NAMESPACE, RELEASE, Installation
from tests.cluster.bed.node import Cluster
from tests.cluster.driver.conftest import Kube, until, volume_files
from tests.cluster.driver.test_volumes import SUM, WRITE
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

_CLONE_NEWNET = 0x40000000


@contextmanager
def installed_with(kube: Kube, values: Mapping[str, Any]) -> Iterator[None]:
    """The release with these values; what the test made goes before they do."""
    installation = kube.installation
    until(lambda: not installation.items("volumeattachments"), installation)
    until(lambda: not installation.items("pv"), installation)  # an earlier test's: these values may lack its back end
    installation.upgrade(values)
    try:
        yield
    finally:
        kube.clean()
        until(lambda: not installation.items("pv"), installation)
        installation.upgrade({})


def test_a_pod_waits_where_no_back_end_has_as_much_as_its_claim_asks_for(kube: Kube) -> None:
    with installed_with(kube, {"csiDriver": {"storageCapacity": True}}):
        installation = kube.installation

        def shown() -> list[str]:
            found = installation.items("csistoragecapacities", "-n", NAMESPACE)
            return [item.get("capacity", "0") for item in found if item["storageClassName"] == "cinderlib"]

        until(lambda: shown() not in ([], ["0"]), installation)
        assert len(shown()) == 1, "one for the class, from the one node"
        waits = kube.pod(kube.claim(size="100Ti"), wait=False)
        kube.pod(kube.claim())
        until(lambda: "did not have enough free storage" in scheduling_of(kube, waits), installation)


def test_one_pod_more_than_a_node_takes_waits_until_another_has_gone(kube: Kube) -> None:
    with installed_with(kube, {"node": {"maxVolumes": 2}}):
        installation = kube.installation
        first, _ = (kube.pod(kube.claim()) for _ in range(2))
        third = kube.pod(kube.claim(), wait=False)
        until(lambda: "exceed max volume count" in scheduling_of(kube, third), installation)
        assert installation.get("pod", third)["status"]["phase"] == "Pending"
        kube.delete("pod", first)
        installation.wait("pod", third, "condition=Ready", seconds=90)


def scheduling_of(kube: Kube, pod: str) -> str:
    """Why the scheduler has found no node for it."""
    conditions = kube.installation.get("pod", pod)["status"].get("conditions", [])
    return "".join(item.get("message", "") for item in conditions if item["type"] == "PodScheduled")


class PostgreSQLForPods(PostgreSQL):
    """Reachable at the node's address; to be made and started in the node's network."""

    @property
    def url(self) -> str:
        return super().url.replace("127.0.0.1", ADDRESS)

    def command(self) -> list[str]:
        return [*super().command(), "-clisten_addresses=*"]

    def initialize(self) -> None:
        super().initialize()
        with (self.directory / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host csi csi 10.0.0.0/8 scram-sha-256\n")
        self.query("SELECT pg_reload_conf()")


@contextmanager
def network_of(cluster: Cluster) -> Iterator[None]:
    """What this thread starts, starts in the cluster's network. `os.setns` came with Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(file: int) -> None:
        if libc.setns(file, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    with Path("/proc/thread-self/ns/net").open() as own, Path(f"/proc/{cluster.first_pid}/ns/net").open() as theirs:
        enter(theirs.fileno())
        try:
            yield
        finally:
            enter(own.fileno())


@pytest.fixture
def database(installation: Installation) -> Iterator[PostgreSQL]:
    with network_of(installation.cluster):
        yield from running(PostgreSQLForPods)


def test_the_records_are_in_the_database_that_a_secret_names(kube: Kube, database: PostgreSQL) -> None:
    """The nodes' registrations stay in Kubernetes: a node never reaches the database."""
    installation = kube.installation
    metadata = {"name": "database", "namespace": NAMESPACE}
    installation.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": database.url}}
    )
    before = volume_files(installation)
    in_kubernetes = len(installation.items("volumes.cinderlib.io", "-n", NAMESPACE))
    with installed_with(kube, {"store": "database"}):
        claim = kube.claim()
        pod = kube.pod(claim)
        written = kube.shell(pod, WRITE)
        assert len(volume_files(installation) - before) == 1
        assert database.query("SELECT count(*) FROM volumes") == [(1,)]
        assert len(installation.items("volumes.cinderlib.io", "-n", NAMESPACE)) == in_kubernetes
        kube.delete("pod", pod)
        assert kube.shell(kube.pod(claim), SUM) == written
    assert database.query("SELECT count(*) FROM volumes") == [(0,)]
    installation.delete("secret", "database", "-n", NAMESPACE)


def test_sealing_keys_are_rotated_under_a_pod_that_goes_on(kube: Kube) -> None:
    installation = kube.installation
    claim = kube.claim()
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    (old,) = sealing_keys(installation)
    new = {"id": f"k-{os.urandom(4).hex()}", "key": generate_key()}
    write_sealing_keys(installation, [new, old])
    # Controllers that other tests have killed are waited for, five minutes long (docs/how-to/rotate-sealing-keys.md).
    until(lambda: f'"key": "{new["id"]}"' in sealed_again(installation), installation, seconds=450)
    assert keys_in_use(installation) == {old["id"]}
    assert kube.shell(kube.pod(claim), SUM) == written, "beside the first, by the connection that the old key sealed"
    other = kube.pod(kube.claim())
    assert keys_in_use(installation) == {old["id"], new["id"]}
    installation.upgrade({})
    assert sealing_keys(installation) == [new, old], "Helm writes no key again"
    assert kube.shell(pod, SUM) == written

    for name in [name for kind, name in kube.made if kind == "pod" and name != other]:
        kube.delete("pod", name)
    until(lambda: keys_in_use(installation) == {new["id"]}, installation)
    write_sealing_keys(installation, [new])
    assert kube.shell(kube.pod(claim), SUM) == written


def test_the_key_of_a_node_is_exchanged_under_a_pod_that_goes_on(kube: Kube) -> None:
    installation = kube.installation
    claim = kube.claim()
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    (before,) = public_keys(installation)
    assert ": new key " in rotate_node_key(installation)
    until(lambda: public_keys(installation) != [before], installation)
    assert kube.shell(kube.pod(claim), SUM) == written, "beside the first, by the connection for the old key"
    kube.pod(kube.claim())
    assert len(node_keys_in_use(installation)) == 2
    assert kube.shell(pod, SUM) == written

    for name in [name for kind, name in kube.made if kind == "pod"]:
        kube.delete("pod", name)
    until(lambda: not installation.items("volumeattachments"), installation)
    assert "old keys removed: 1" in rotate_node_key(installation, "--forget-old")
    assert kube.shell(kube.pod(claim), SUM) == written


def rotate_node_key(installation: Installation, *options: str) -> str:
    (pod,) = (
        item["metadata"]["name"]
        for item in installation.items("pod", "-n", NAMESPACE)
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == "node"
    )
    command = ("csi-cinderlib", "rotate-node-key", f"--state-dir=/var/lib/csi-cinderlib/{DRIVER_NAME}", *options)
    return installation.cluster.kubectl("exec", "-n", NAMESPACE, pod, "-c", "cinderlib", "--", *command)


def public_keys(installation: Installation) -> list[str]:
    """Of the nodes, as they registered them."""
    return [item["spec"]["public_key"] for item in installation.items("storagenodes.cinderlib.io", "-n", NAMESPACE)]


def node_keys_in_use(installation: Installation) -> set[str]:
    """The keys of nodes that connections are encrypted to."""
    found = installation.items("volumeattachments")
    return {item["status"]["attachmentMetadata"]["connection"].split(":")[2] for item in found}


def sealing_keys(installation: Installation) -> list[dict[str, str]]:
    secret = installation.get("secret", f"{RELEASE}-controller-sealing", "-n", NAMESPACE)
    found: list[dict[str, str]] = yaml.safe_load(b64decode(secret["data"]["keys.yaml"]))
    return found


def write_sealing_keys(installation: Installation, keys: list[dict[str, str]]) -> None:
    change = json.dumps({"stringData": {"keys.yaml": json.dumps(keys)}})
    installation.cluster.kubectl("-n", NAMESPACE, "patch", "secret", f"{RELEASE}-controller-sealing", "-p", change)


def keys_in_use(installation: Installation) -> set[str]:
    """Of the connections that nodes hold."""
    found = installation.items("volumeattachments")
    return {item["status"]["attachmentMetadata"]["connection"].split(":")[1] for item in found}


def sealed_again(installation: Installation) -> str:
    """The controller's lines on records that it has written with another key."""
    log = installation.cluster.kubectl(
        "-n", NAMESPACE, "logs", f"deployment/{RELEASE}-controller", "-c", "cinderlib", "--tail=-1"
    )
    return "\n".join(line for line in log.splitlines() if "records resealed" in line)
