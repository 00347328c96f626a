"""What happens to a cluster in its life: pods killed, upgrades, lost nodes, a hundred claims, an uninstall."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from typing import Any

import pytest

from tests.cluster.bed.inside import NODE
from tests.cluster.bed.installation import NAMESPACE, RELEASE, Installation
from tests.cluster.driver.conftest import Kube, until, volume_files
from tests.cluster.driver.test_volumes import SUM, WRITE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def kill(installation: Installation, component: str) -> None:
    """End its pods at once, as a lost process would."""
    selector = f"app.kubernetes.io/component={component}"
    installation.cluster.kubectl(
        "-n", NAMESPACE, "delete", "pod", "-l", selector, "--force", "--grace-period=0", "--wait=false"
    )


@pytest.mark.parametrize("component", ["controller", "node"])
def test_a_pod_starts_although_the_driver_is_killed_while_its_volume_is_attached_and_mounted(
    kube: Kube, component: str
) -> None:
    claims = [kube.claim() for _ in range(3)]
    pods = [kube.pod(claim, wait=False) for claim in claims]
    for _ in range(2):
        time.sleep(1)
        kill(kube.installation, component)
    for pod in pods:
        kube.installation.wait("pod", pod, "condition=Ready", seconds=180)
    written = [kube.shell(pod, WRITE) for pod in pods]
    kill(kube.installation, component)
    for pod in pods:
        kube.delete("pod", pod)
    kube.installation.wait_ready()
    again = [kube.pod(claim) for claim in claims]
    assert [kube.shell(pod, SUM) for pod in again] == written


def test_an_upgrade_leaves_running_pods_and_their_data_alone(kube: Kube) -> None:
    claim = kube.claim()
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    started = kube.installation.get("pod", pod)["status"]["startTime"]
    kube.installation.upgrade({"logging": {"format": "json", "level": "debug"}})
    assert kube.shell(pod, SUM) == written
    kube.shell(pod, "echo after >/data/after; sync")
    assert kube.installation.get("pod", pod)["status"]["startTime"] == started
    kube.delete("pod", pod)
    assert kube.shell(kube.pod(claim), "cat /data/after").strip() == "after"


def test_the_attachment_of_a_node_that_was_deleted_vanishes(kube: Kube) -> None:
    """A node that is only an object: what an attach needs of it, and nothing that could answer."""
    claim = kube.claim(storage_class=kube.storage_class({}))
    kube.installation.wait("pvc", claim, "jsonpath={.status.phase}=Bound")
    volume = kube.installation.get("pvc", claim)["spec"]["volumeName"]
    name = kube.name("lost-node")
    known = kube.installation.get("storagenodes.cinderlib.io", NODE, "-n", NAMESPACE)
    known["metadata"] = {"name": name, "namespace": NAMESPACE}
    known["spec"]["id"] = known["spec"]["connector"]["host"] = name
    driver = {"name": "csi.cinderlib.io", "nodeID": name, "topologyKeys": []}
    kube.installation.apply(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}},
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": name},
            "spec": {"drivers": [driver]},
        },
        known,
    )
    kube.make(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": name},
            "spec": {
                "attacher": "csi.cinderlib.io",
                "nodeName": name,
                "source": {"persistentVolumeName": volume},
            },
        }
    )
    kube.installation.wait("volumeattachment", name, "jsonpath={.status.attached}=true")
    kube.installation.delete("node", name)
    kube.installation.delete("storagenodes.cinderlib.io", name, "-n", NAMESPACE)
    kube.delete("volumeattachment", name)
    assert not [item for item in attachments(kube.installation) if item["spec"]["node_id"] == name]


def attachments(installation: Installation) -> list[dict[str, Any]]:
    return installation.items("attachments.cinderlib.io", "-n", NAMESPACE)


def test_a_hundred_claims_at_once_are_bound_and_then_gone(kube: Kube) -> None:
    before = volume_files(kube.installation)
    storage_class = kube.storage_class({})
    claims = [claim_of(storage_class, f"many-{number}") for number in range(100)]
    started = time.monotonic()
    kube.installation.apply(*claims)
    names = [claim["metadata"]["name"] for claim in claims]
    wait_bound(kube.installation, names)
    print(f"100 claims bound in {time.monotonic() - started:.1f} s")
    assert len(volume_files(kube.installation) - before) == 100
    kube.installation.delete("pvc", *names)
    until(lambda: not volume_files(kube.installation) - before, kube.installation)


def wait_bound(installation: Installation, claims: Collection[str]) -> None:
    bound = ("--for=jsonpath={.status.phase}=Bound", "--timeout=180s")
    installation.cluster.kubectl("wait", *(f"pvc/{name}" for name in claims), *bound, seconds=200)


def claim_of(storage_class: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def test_a_node_can_write_its_own_object_and_nothing_else(installation: Installation) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:{RELEASE}-node"
    for resource in ("volumes.cinderlib.io", "attachments.cinderlib.io", "secrets", "persistentvolumes"):
        with pytest.raises(RuntimeError, match="no"):
            installation.cluster.kubectl("auth", "can-i", "get", resource, "--as", account, "-n", NAMESPACE)
    pod = next(
        item["metadata"]["name"]
        for item in installation.items("pod", "-n", NAMESPACE)
        if item["metadata"]["labels"]["app.kubernetes.io/component"] == "node"
    )
    token = installation.cluster.kubectl(
        "exec",
        "-n",
        NAMESPACE,
        pod,
        "-c",
        "cinderlib",
        "--",
        "cat",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    )
    forged = installation.get("storagenodes.cinderlib.io", NODE, "-n", NAMESPACE)
    mine = json.dumps({"spec": {"topology": forged["spec"].get("topology", {})}})
    as_node = (
        "--kubeconfig=/dev/null",
        "--server=https://10.77.0.1:6443",
        "--insecure-skip-tls-verify",
        f"--token={token}",
    )
    path = ("-n", NAMESPACE, "patch", "storagenodes.cinderlib.io")
    installation.cluster.kubectl(*as_node, *path, NODE, "--type=merge", "-p", mine)
    forged["metadata"] = {"name": "other-node", "namespace": NAMESPACE}
    forged["spec"]["id"] = forged["spec"]["connector"]["host"] = "other-node"
    with pytest.raises(RuntimeError, match="own node only"):
        installation.cluster.kubectl(*as_node, "create", "-f", "-", text=json.dumps(forged))


def test_no_secret_of_a_connection_is_shown_to_those_who_read_attachments(kube: Kube) -> None:
    claim = kube.claim()
    kube.pod(claim)
    volume = kube.installation.get("pvc", claim)["spec"]["volumeName"]
    shown = next(
        item
        for item in kube.installation.items("volumeattachments")
        if item["spec"]["source"]["persistentVolumeName"] == volume
    )
    assert shown["status"]["attachmentMetadata"]["connection"].startswith("n1:")
    record = next(
        item
        for item in attachments(kube.installation)
        if item["spec"]["volume_id"] in json.dumps(kube.installation.get("pv", volume))
    )
    assert "connection_info" not in record["spec"]
    assert record["spec"]["sealed"]["connection_info"].startswith("k:")


def test_an_uninstall_leaves_volumes_and_records_and_a_new_install_finds_them(kube: Kube) -> None:
    installation = kube.installation
    claim = kube.claim()
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    kube.delete("pod", pod)
    until(lambda: not attachments(installation), installation)
    files, records = volume_files(installation), len(installation.items("volumes.cinderlib.io", "-n", NAMESPACE))
    said = installation.helm("get", "notes", RELEASE)
    assert "kubectl delete crd" in said
    installation.helm("uninstall", RELEASE, "--wait")
    assert volume_files(installation) == files
    assert len(installation.items("volumes.cinderlib.io", "-n", NAMESPACE)) == records
    installation.install()
    assert kube.shell(kube.pod(claim), SUM) == written
