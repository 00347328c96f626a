"""One cluster with the driver installed by Helm, for all tests of this folder; and short names for what they make."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed import images
from tests.cluster.bed.installation import Installation, remove_folder
from tests.cluster.bed.node import Cluster
from tests.support import absence

_names = itertools.count(1)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if kept := os.environ.get("CINDERLIB_CLUSTER"):
        # While writing tests: the cluster that `python -m tests.cluster.bed.up FOLDER` keeps running.
        yield Installation(Cluster(Path(kept), running=True))
        return
    if not absence.ASKED_FOR:
        pytest.skip("a whole cluster takes its time: make cluster-test")
    cluster = Cluster(tmp_path_factory.mktemp("kubernetes") / "cluster")
    with ExitStack() as undo:
        undo.callback(remove_folder, cluster.folder)
        undo.callback(cluster.stop)
        cluster.start()
        installed = Installation(cluster)
        installed.load_images()
        installed.start_snapshot_controller()
        installed.install()
        yield installed


@pytest.fixture
def kube(installation: Installation, request: pytest.FixtureRequest) -> Iterator[Kube]:
    made = Kube(installation)
    yield made
    made.clean()


class Kube:
    """Objects of one test in the namespace `default`; all are deleted at its end."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.made: list[tuple[str, str]] = []

    def name(self, kind: str) -> str:
        return f"{kind}-{next(_names)}"

    def make(self, manifest: Mapping[str, Any]) -> str:
        name: str = manifest["metadata"]["name"]
        self.installation.apply(manifest)
        self.made.append((manifest["kind"].lower(), name))
        return name

    def storage_class(self, parameters: Mapping[str, str], **fields: Any) -> str:
        return self.make(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": self.name("class")},
                "provisioner": "csi.cinderlib.io",
                "parameters": parameters,
                "allowVolumeExpansion": True,
                "volumeBindingMode": "Immediate",
                **fields,
            }
        )

    def claim(
        self,
        *,
        size: str = "1Gi",
        storage_class: str = "cinderlib",
        mode: str = "Filesystem",
        access: str = "ReadWriteOnce",
        source: Mapping[str, str] | None = None,
        name: str = "",
        attributes: str = "",
    ) -> str:
        spec: dict[str, Any] = {
            "accessModes": [access],
            "storageClassName": storage_class,
            "volumeMode": mode,
            "resources": {"requests": {"storage": size}},
        }
        if source:
            spec["dataSource"] = source
        if attributes:
            spec["volumeAttributesClassName"] = attributes
        return self.make(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name or self.name("claim")},
                "spec": spec,
            }
        )

    def pod(self, claim: str, *, wait: bool = True, **spec: Any) -> str:
        """A pod that sleeps with the claim at /data (or as the device /dev/data). More of its spec by keyword."""
        block = self.installation.get("pvc", claim)["spec"].get("volumeMode") == "Block"
        volume: dict[str, Any] = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
        container = sleeper()
        if block:
            container["volumeDevices"] = [{"name": "data", "devicePath": "/dev/data"}]
        else:
            container["volumeMounts"] = [{"name": "data", "mountPath": "/data", **spec.pop("mount", {})}]
        volume["persistentVolumeClaim"].update(spec.pop("claim_options", {}))
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name("pod")},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [container],
                "volumes": [volume],
                **spec,
            },
        }
        name = self.make(pod)
        if wait:
            self.installation.wait("pod", name, "condition=Ready", seconds=90)
        return name

    def shell(self, pod: str, script: str) -> str:
        return self.installation.shell(pod, script)

    def delete(self, kind: str, name: str) -> None:
        self.installation.delete(kind, name)
        self.made.remove((kind, name))

    def snapshot(self, claim: str) -> str:
        name = self.make(
            {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": self.name("snapshot")},
                "spec": {
                    "volumeSnapshotClassName": "cinderlib",
                    "source": {"persistentVolumeClaimName": claim},
                },
            }
        )
        self.installation.wait("volumesnapshot", name, "jsonpath={.status.readyToUse}=true")
        return name

    def clean(self) -> None:
        for kind, name in reversed(self.made):
            self.installation.delete(kind, name)
        self.made.clear()


def sleeper() -> dict[str, Any]:
    return {
        "name": "main",
        "image": images.BASE,
        "imagePullPolicy": "Never",
        "command": ["sleep", "infinity"],
    }


def volume_files(installation: Installation) -> set[str]:
    """The files of the local back end."""
    listed = installation.cluster.run("find", "/var/lib/csi-cinderlib/volumes", "-type", "f", "-name", "volume-*")
    return {Path(line).name for line in listed.split()}


def until(true: Callable[[], bool], installation: Installation, *, seconds: float = 90) -> None:
    """Ask again until it is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, installation.diagnosis()
        time.sleep(0.5)
