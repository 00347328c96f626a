"""Our driver in the cluster, as a user installs it: images, snapshot controller, `helm install`."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.bed import images
from tests.cluster.bed.node import Cluster
from tools import lookup

CHART = images.ROOT / "charts" / "csi-cinderlib"
NAMESPACE = "csi-cinderlib"
RELEASE = "csi-cinderlib"
SIDECARS = {
    "provisioner": "csi-provisioner",
    "attacher": "csi-attacher",
    "resizer": "csi-resizer",
    "snapshotter": "csi-snapshotter",
}


def merged(*values: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm does it with several files of values: mappings key by key, everything else whole, the last one wins."""
    result: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result


@dataclass
class Installation:
    """What `helm install` made, and ways to use it."""

    cluster: Cluster
    values: Mapping[str, Any] = field(default_factory=dict)

    def load_images(self) -> None:
        for archive in images.archives():
            self.cluster.load_image(archive)

    def start_snapshot_controller(self) -> None:
        """It belongs to the cluster, not to a driver; here it runs beside the other controllers."""
        for path in sorted(lookup.folder("snapshot-definitions").iterdir()):
            self.cluster.kubectl("apply", "-f", str(path))
        kubeconfig = self.cluster.folder / "admin.kubeconfig"
        with (self.cluster.folder / "snapshot-controller.log").open("wb") as log:
            # In the cluster's pid namespace, so it ends with it.
            subprocess.Popen(
                self.cluster.argv("snapshot-controller", f"--kubeconfig={kubeconfig}", "--v=2"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def helm(self, *arguments: str, values: Mapping[str, Any] | None = None, seconds: float = 180) -> str:
        more: tuple[str, ...] = ()
        if arguments[0] in ("install", "upgrade"):
            path = self.cluster.folder / "values.json"
            path.write_text(json.dumps(merged(self.defaults(), self.values, values or {})))
            more = ("--values", str(path))
        return self.cluster.run(
            str(lookup.program("helm")), *arguments, "--namespace", NAMESPACE, *more, seconds=seconds
        )

    def defaults(self) -> dict[str, Any]:
        """The images of this bed; everything else is the chart's default."""

        def image(name: str) -> dict[str, Any]:
            repository, _, tag = name.rpartition(":")
            return {"image": {"repository": repository, "tag": tag}}

        return {
            "controller": image(images.OWN["controller"]),
            "node": image(images.OWN["node"]),
            "sidecars": {key: image(images.SIDECARS[name]) for key, name in SIDECARS.items()},
            "volumeSnapshotClasses": [{"name": "cinderlib"}],
        }

    def install(self, values: Mapping[str, Any] | None = None) -> None:
        self.helm("install", RELEASE, str(CHART), "--create-namespace", values=values)
        self.wait_ready()

    def upgrade(self, values: Mapping[str, Any]) -> None:
        self.helm("upgrade", RELEASE, str(CHART), values=values)
        self.wait_ready()

    def wait_ready(self) -> None:
        for kind in ("deployment/csi-cinderlib-controller", "daemonset/csi-cinderlib-node"):
            try:
                self.cluster.kubectl("-n", NAMESPACE, "rollout", "status", kind, "--timeout=90s")
            except RuntimeError as error:
                raise RuntimeError(f"{error}\n{self.diagnosis()}") from error

    def diagnosis(self) -> str:
        """What a person would look at first."""
        looks: Sequence[Sequence[str]] = (
            ("get", "pods,pvc,pv,volumeattachments,volumesnapshots", "-A", "-o", "wide"),
            ("get", "events", "-A", "--sort-by=.lastTimestamp"),
            ("-n", NAMESPACE, "get", "cinderlib", "-o", "wide"),
            ("-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/component=controller", "-c", "cinderlib", "--tail=40"),
            ("-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/component=node", "-c", "cinderlib", "--tail=40"),
        )
        told = []
        for look in looks:
            try:
                told.append(f"--- kubectl {' '.join(look)}\n{self.cluster.kubectl(*look)[-6000:]}")
            except RuntimeError as error:
                told.append(f"--- kubectl {' '.join(look)}\n{error}")
        return "\n".join(told)

    # For the tests: objects in the namespace `default`.

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.cluster.kubectl(
            "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def get(self, kind: str, name: str, *more: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.cluster.kubectl("get", kind, name, "-o", "json", *more))
        return found

    def items(self, kind: str, *more: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.cluster.kubectl("get", kind, "-o", "json", *more))["items"]
        return found

    def wait(self, kind: str, name: str, condition: str, *, seconds: int = 60) -> None:
        """`condition` as kubectl wait --for takes it. Raises RuntimeError with the state of everything."""
        try:
            self.cluster.kubectl(
                "wait", f"{kind}/{name}", f"--for={condition}", f"--timeout={seconds}s", seconds=seconds + 30
            )
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self.diagnosis()}") from error

    def shell(self, pod: str, script: str) -> str:
        """What the script prints in the pod's first container."""
        return self.cluster.kubectl("exec", pod, "--", "sh", "-ec", script)

    def delete(self, kind: str, *names: str, seconds: int = 90) -> None:
        self.cluster.kubectl(
            "delete", kind, *names, "--ignore-not-found", f"--timeout={seconds}s", seconds=seconds + 30
        )


def remove_folder(path: Path) -> None:
    """After the cluster has ended; mounts went with its namespaces."""
    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.25)
    raise RuntimeError(f"{path} cannot be removed")
