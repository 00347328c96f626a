"""Claims as pods see them: every kind of volume, with the data checked from inside."""

from __future__ import annotations

import time

import pytest

from tests.cluster.driver.conftest import Kube, volume_files

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

WRITE = "head -c 3000000 /dev/urandom >/data/file; sync; sha256sum </data/file"
SUM = "sha256sum </data/file"


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_mounted_volume_keeps_its_data_from_one_pod_to_the_next(kube: Kube, fs_type: str) -> None:
    storage_class = kube.storage_class({"csi.storage.k8s.io/fstype": fs_type})
    claim = kube.claim(storage_class=storage_class)
    first = kube.pod(claim)
    assert kube.shell(first, "stat -f -c %T /data").strip().replace("ext2/ext3", "ext4") == fs_type
    written = kube.shell(first, WRITE)
    kube.delete("pod", first)
    assert kube.shell(kube.pod(claim), SUM) == written


def test_a_raw_block_volume_keeps_its_data_from_one_pod_to_the_next(kube: Kube) -> None:
    claim = kube.claim(mode="Block")
    first = kube.pod(claim)
    kube.shell(first, "echo precious | dd of=/dev/data bs=512 seek=7 conv=fsync status=none")
    kube.delete("pod", first)
    second = kube.pod(claim)
    assert "precious" in kube.shell(second, "dd if=/dev/data bs=512 skip=7 count=1 status=none")
    assert kube.shell(second, "blockdev --getsize64 /dev/data").strip() == str(1024**3)


def test_a_snapshot_restores_and_a_clone_copies_what_was_there_at_that_moment(kube: Kube) -> None:
    claim = kube.claim()
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    snapshot = kube.snapshot(claim)
    kube.shell(pod, "echo later >/data/later; sync")
    restored = kube.claim(
        size="2Gi",
        source={"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot},
    )
    cloned = kube.claim(source={"kind": "PersistentVolumeClaim", "name": claim})
    of_snapshot, of_clone = kube.pod(restored), kube.pod(cloned)
    assert kube.shell(of_snapshot, SUM) == written
    assert kube.shell(of_snapshot, "ls /data/later 2>/dev/null || echo none").strip() == "none"
    assert size_of(kube, of_snapshot) > 1.7 * 1024**3
    assert kube.shell(of_clone, SUM) == written
    assert kube.shell(of_clone, "cat /data/later").strip() == "later"


def test_an_xfs_volume_grows_while_a_pod_uses_it(kube: Kube) -> None:
    storage_class = kube.storage_class({"csi.storage.k8s.io/fstype": "xfs"})
    claim = kube.claim(storage_class=storage_class)
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    grow(kube, claim, "3Gi")
    assert size_of(kube, pod) > 2.8 * 1024**3
    assert kube.shell(pod, SUM) == written


def test_an_ext4_volume_grows_while_no_pod_uses_it_and_shows_when_one_does(kube: Kube) -> None:
    claim = kube.claim()
    first = kube.pod(claim)
    written = kube.shell(first, WRITE)
    kube.delete("pod", first)
    # The pod's object goes before the kubelet has unmounted; in use, ext4 would have to grow by CAP_SYS_RESOURCE.
    volume = kube.installation.get("pvc", claim)["spec"]["volumeName"]
    deadline = time.monotonic() + 60
    while any(
        item["spec"]["source"]["persistentVolumeName"] == volume
        for item in kube.installation.items("volumeattachments")
    ):
        assert time.monotonic() < deadline, kube.installation.diagnosis()
        time.sleep(0.5)
    kube.installation.cluster.kubectl("patch", "pvc", claim, "-p", resize("3Gi"))
    second = kube.pod(claim)
    kube.installation.wait("pvc", claim, "jsonpath={.status.capacity.storage}=3Gi")
    assert size_of(kube, second) > 2.7 * 1024**3
    assert kube.shell(second, SUM) == written


def size_of(kube: Kube, pod: str) -> int:
    """Bytes of the file system at /data."""
    blocks, block = kube.shell(pod, "stat -f -c '%b %S' /data").split()
    return int(blocks) * int(block)


def resize(size: str) -> str:
    return f'{{"spec": {{"resources": {{"requests": {{"storage": "{size}"}}}}}}}}'


def grow(kube: Kube, claim: str, size: str) -> None:
    kube.installation.cluster.kubectl("patch", "pvc", claim, "-p", resize(size))
    kube.installation.wait("pvc", claim, f"jsonpath={{.status.capacity.storage}}={size}")


def test_one_pod_alone_gets_a_read_write_once_pod_volume(kube: Kube) -> None:
    claim = kube.claim(access="ReadWriteOncePod")
    first = kube.pod(claim)
    second = kube.pod(claim, wait=False)
    time.sleep(5)
    assert kube.installation.get("pod", second)["status"]["phase"] == "Pending"
    kube.delete("pod", first)
    kube.installation.wait("pod", second, "condition=Ready", seconds=90)


def test_two_pods_of_one_node_share_a_read_write_once_volume(kube: Kube) -> None:
    claim = kube.claim()
    first, second = kube.pod(claim), kube.pod(claim)
    written = kube.shell(first, WRITE)
    assert kube.shell(second, SUM) == written


def test_a_volume_mounted_read_only_cannot_be_written(kube: Kube) -> None:
    claim = kube.claim()
    writer = kube.pod(claim)
    written = kube.shell(writer, WRITE)
    kube.delete("pod", writer)
    reader = kube.pod(claim, claim_options={"readOnly": True})
    assert kube.shell(reader, SUM) == written
    with pytest.raises(RuntimeError, match="Read-only file system"):
        kube.shell(reader, "echo no >/data/no")


def test_a_sub_path_shows_that_part_alone(kube: Kube) -> None:
    claim = kube.claim()
    pod = kube.pod(claim, mount={"subPath": "part/of"})
    kube.shell(pod, "echo inside >/data/file; sync")
    kube.delete("pod", pod)
    assert kube.shell(kube.pod(claim), "cat /data/part/of/file").strip() == "inside"


def test_the_group_of_a_pod_owns_the_files(kube: Kube) -> None:
    claim = kube.claim()
    context = {"runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 4321, "runAsNonRoot": True}
    pod = kube.pod(claim, securityContext=context)
    kube.shell(pod, "echo mine >/data/file")
    assert kube.shell(pod, "stat -c %g /data /data/file").split() == ["4321", "4321"]


def test_an_ephemeral_volume_lives_and_dies_with_its_pod(kube: Kube) -> None:
    before = volume_files(kube.installation)
    template = {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "cinderlib",
            "resources": {"requests": {"storage": "1Gi"}},
        }
    }
    keeper = kube.claim()
    pod = kube.pod(
        keeper,
        volumes=[
            {"name": "data", "ephemeral": {"volumeClaimTemplate": template}},
        ],
    )
    kube.shell(pod, WRITE)
    assert len(volume_files(kube.installation) - before) == 1
    kube.delete("pod", pod)
    deadline = time.monotonic() + 60
    while volume_files(kube.installation) - before:
        assert time.monotonic() < deadline, kube.installation.diagnosis()
        time.sleep(0.5)


def test_a_stateful_set_scales_up_and_down_and_finds_its_data_again(kube: Kube) -> None:
    name = kube.name("set")
    labels = {"app": name}
    from tests.cluster.driver.conftest import sleeper

    container = {**sleeper(), "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "cinderlib",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    kube.make(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name},
            "spec": {
                "replicas": 2,
                "serviceName": name,
                "selector": {"matchLabels": labels},
                "podManagementPolicy": "Parallel",
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
                },
                "volumeClaimTemplates": [claim],
            },
        }
    )
    kube.made += [("persistentvolumeclaim", f"data-{name}-{number}") for number in range(3)]
    kubectl = kube.installation.cluster.kubectl
    kubectl("rollout", "status", f"statefulset/{name}", "--timeout=90s")
    for number in range(2):
        kube.shell(f"{name}-{number}", f"echo {number} >/data/number; sync")
    kubectl("scale", f"statefulset/{name}", "--replicas=0")
    for number in range(2):
        kubectl("wait", f"pod/{name}-{number}", "--for=delete", "--timeout=60s")
    kubectl("scale", f"statefulset/{name}", "--replicas=3")
    kubectl("rollout", "status", f"statefulset/{name}", "--timeout=90s")
    assert [kube.shell(f"{name}-{number}", "cat /data/number").strip() for number in range(2)] == ["0", "1"]
    assert kube.shell(f"{name}-2", "ls -A /data | grep -v lost+found || true").strip() == ""
    kube.made.remove(("statefulset", name))
    kube.made.append(("statefulset", name))  # deleted before its claims


def test_a_claim_that_is_deleted_in_use_stays_until_its_pod_has_gone(kube: Kube) -> None:
    claim = kube.claim()
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    kube.installation.cluster.kubectl("delete", "pvc", claim, "--wait=false")
    time.sleep(3)
    assert kube.shell(pod, SUM) == written
    volume = kube.installation.get("pvc", claim)["spec"]["volumeName"]
    kube.delete("pod", pod)
    kube.installation.cluster.kubectl("wait", f"pv/{volume}", "--for=delete", "--timeout=60s")


def test_a_wrong_class_gives_an_event_that_a_person_understands(kube: Kube) -> None:
    storage_class = kube.storage_class({"mkfsOption": "-m 0"})
    claim = kube.claim(storage_class=storage_class)
    deadline = time.monotonic() + 60
    while True:
        events = kube.installation.items("events", f"--field-selector=involvedObject.name={claim}")
        if found := [event["message"] for event in events if "mkfsOption" in event["message"]]:
            break
        assert time.monotonic() < deadline, kube.installation.diagnosis()
        time.sleep(0.5)
    assert "mkfsOptions" in found[0]
