"""VolumeImport objects on a real API server, carried out by a controller with the chart's rights and the one to make PersistentVolumes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, IMPORT
from csi_cinderlib.persistence.kubernetes.rest import ApiError
from tests.cluster.bed.custom_resources import Namespace
from tests.cluster.bed.protection import protecting
from tests.support.repeating import until

pytestmark = pytest.mark.cluster

LOOP_FILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    with (directory / "disk.img").open("wb") as file:
        file.write(b"content")
        file.truncate(2 * BYTES_PER_GIB)
    return directory


@pytest.fixture
def driver(tmp_path: Path, files: Path, namespace: Namespace) -> Iterator[DriverProcess]:
    for verb in ("create", "list", "get", "patch", "delete"):
        namespace.grant_in_cluster("controller", verb, "persistentvolumes")
    namespace.grant_in_cluster("controller", "get", "storageclasses", kind_group="storage.k8s.io")
    state = tmp_path / "state"
    state.mkdir()
    options = {"loopfile_directories": [f"one:{files}"], "max_over_subscription_ratio": 1000}
    access = {"kubeconfig": str(namespace.kubeconfigs["controller"]), "namespace": namespace.name}
    store = {"plugin": "kubernetes", "options": {**access, "allow_unsealed": True}}
    (state / "config.yaml").write_text(
        json.dumps({"backends": {"local": {"driver": LOOP_FILE, "options": options}}, "store": store})
    )
    process = DriverProcess(state, ("--config", str(state / "config.yaml"), "--mode", "controller"))
    process.wait_until_ready()
    with protecting(namespace.server.admin, namespace.name):
        yield process
    process.stop()


class Imports:
    """The VolumeImport objects of the namespace, as an administrator."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._admin = namespace.server.admin

    def create(self, object_name: str, **spec: Any) -> None:
        wanted = {
            "backend": "local",
            "name": "disk.img",
            "claim": {"namespace": self._namespace.name, "name": "db"},
            **spec,
        }
        body = {"apiVersion": API_VERSION, "kind": IMPORT.kind, "metadata": {"name": object_name}, "spec": wanted}
        self._admin.post(IMPORT.path(self._namespace.name), body)

    def ready(self, name: str, reason: str = "") -> dict[str, Any]:
        """Its condition, once there is one, with that reason."""
        found: dict[str, Any] = {}

        def is_there() -> bool:
            status = self._admin.get(IMPORT.path(self._namespace.name, name)).get("status") or {}
            found.update((status.get("conditions") or [{}])[0])
            return bool(found) and reason in ("", found["reason"])

        until(is_there)
        return found

    def forget_condition(self, name: str) -> None:
        """As after a kill before it was written. The controller then carries the object out at once."""
        path = f"{IMPORT.path(self._namespace.name, name)}/status"
        self._admin.patch(path, [{"op": "remove", "path": "/status/conditions"}])

    def volume_name(self, name: str) -> str:
        status = self._admin.get(IMPORT.path(self._namespace.name, name))["status"]
        return str(status["persistentVolume"])

    def ask_to_delete(self, name: str) -> None:
        self._admin.delete(IMPORT.path(self._namespace.name, name))

    def delete(self, name: str) -> None:
        self.ask_to_delete(name)
        until(lambda: self._find(IMPORT.path(self._namespace.name, name)) is None)

    def exists(self, path: str) -> bool:
        """Whether there is such an object that is not being deleted."""
        found = self._find(path)
        return found is not None and not found["metadata"].get("deletionTimestamp")

    def _find(self, path: str) -> dict[str, Any] | None:
        try:
            return self._admin.get(path)
        except ApiError as error:
            assert error.status == 404
            return None


@pytest.fixture
def imports(namespace: Namespace, driver: DriverProcess) -> Imports:
    return Imports(namespace)


def test_an_object_imports_a_volume_and_its_deletion_gives_it_up(
    imports: Imports, namespace: Namespace, files: Path
) -> None:
    imports.create("db", size="2Gi", storageClassName="fast")
    condition = imports.ready("db")
    assert (condition["status"], condition["reason"]) == ("True", "Imported"), condition
    path = f"/api/v1/persistentvolumes/{imports.volume_name('db')}"
    volume = namespace.server.admin.get(path)
    assert volume["spec"]["capacity"] == {"storage": "2Gi"}
    assert volume["spec"]["storageClassName"] == "fast"
    assert (volume["spec"]["claimRef"]["namespace"], volume["spec"]["claimRef"]["name"]) == (namespace.name, "db")
    assert (files / f"volume-{volume['spec']['csi']['volumeHandle']}").exists()
    with pytest.raises(ApiError, match="an import cannot be changed"):
        namespace.server.admin.merge(IMPORT.path(namespace.name, "db"), {"spec": {"size": "3Gi"}})
    imports.delete("db")
    assert (files / "disk.img").exists()
    assert not imports.exists(path)


@pytest.mark.parametrize("spec", [{}, {"storageClassName": ""}, {"storageClassName": "fast"}], ids=str)
def test_an_object_is_ready_again_whatever_its_class_and_the_policy_of_its_volume(
    imports: Imports, namespace: Namespace, spec: dict[str, str]
) -> None:
    imports.create("db", reclaimPolicy="Delete", **spec)
    imports.ready("db", "Imported")
    path = f"/api/v1/persistentvolumes/{imports.volume_name('db')}"
    uid = namespace.server.admin.get(path)["metadata"]["uid"]
    namespace.server.admin.merge(path, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
    imports.forget_condition("db")
    assert imports.ready("db")["reason"] == "Imported"
    assert namespace.server.admin.get(path)["metadata"]["uid"] == uid
    imports.delete("db")


def test_the_deletion_of_its_volume_ends_an_object(
    imports: Imports, namespace: Namespace, driver: DriverProcess, files: Path
) -> None:
    imports.create("db", reclaimPolicy="Delete")
    imports.ready("db", "Imported")
    path = f"/api/v1/persistentvolumes/{imports.volume_name('db')}"
    handle = namespace.server.admin.get(path)["spec"]["csi"]["volumeHandle"]
    stub: Any = csi_pb2_grpc.ControllerStub(driver.channel)  # as the provisioner does
    stub.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=handle), timeout=60)
    namespace.server.admin.delete(path)
    until(lambda: not imports.exists(path))
    with (files / "disk.img").open("wb") as file:
        file.truncate(BYTES_PER_GIB)
    imports.forget_condition("db")
    condition = imports.ready("db")
    assert (condition["status"], condition["reason"]) == ("False", "Deleted")
    assert (files / "disk.img").exists(), "it is another volume"
    imports.delete("db")
    assert (files / "disk.img").exists()


def test_a_refused_object_says_why_and_touches_no_other_import(
    imports: Imports, namespace: Namespace, files: Path
) -> None:
    imports.create("missing", name="other.img")
    condition = imports.ready("missing")
    assert (condition["status"], condition["reason"]) == ("False", "Refused")
    assert "other.img is not a regular file" in condition["message"]
    imports.create("db")
    assert imports.ready("db")["status"] == "True"
    imports.create("again", static=True)
    condition = imports.ready("again")
    assert (condition["status"], condition["reason"]) == ("False", "Refused")
    assert "which must give it up first" in condition["message"]
    path = f"/api/v1/persistentvolumes/{imports.volume_name('db')}"
    imports.delete("again")
    imports.delete("missing")
    assert imports.exists(path)
    imports.delete("db")
    assert (files / "disk.img").exists()


def test_a_second_object_for_a_volume_is_refused_and_can_follow_the_first(
    imports: Imports, namespace: Namespace, files: Path
) -> None:
    """As a renamed object in Git."""
    imports.create("legacy-db")
    assert imports.ready("legacy-db")["status"] == "True"
    path = f"/api/v1/persistentvolumes/{imports.volume_name('legacy-db')}"
    imports.create("db")
    condition = imports.ready("db")
    assert (condition["status"], condition["reason"]) == ("False", "Refused")
    imports.delete("db")
    assert imports.exists(path)
    assert not (files / "disk.img").exists(), "the import of the first object is not touched"
    imports.delete("legacy-db")
    imports.create("db")
    assert imports.ready("db")["status"] == "True"
    imports.delete("db")


def test_an_object_that_is_made_again_gets_a_new_volume_with_its_own_policy(
    imports: Imports, namespace: Namespace, files: Path
) -> None:
    imports.create("db", reclaimPolicy="Delete")
    imports.ready("db", "Imported")
    first = imports.volume_name("db")
    imports.delete("db")
    imports.create("db", reclaimPolicy="Retain")
    imports.ready("db", "Imported")
    second = imports.volume_name("db")
    assert first != second
    volume = namespace.server.admin.get(f"/api/v1/persistentvolumes/{second}")
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert not imports.exists(f"/api/v1/persistentvolumes/{first}")
    imports.delete("db")


def test_a_volume_is_given_up_only_after_its_claim_is_gone(imports: Imports, namespace: Namespace, files: Path) -> None:
    imports.create("db", reclaimPolicy="Delete")
    imports.ready("db", "Imported")
    name = imports.volume_name("db")
    admin, path = namespace.server.admin, f"/api/v1/namespaces/{namespace.name}/persistentvolumeclaims"
    spec = {"storageClassName": "", "volumeName": name, "accessModes": ["ReadWriteOnce"]}
    admin.post(path, {"metadata": {"name": "db"}, "spec": {**spec, "resources": {"requests": {"storage": "1Gi"}}}})
    imports.ask_to_delete("db")
    condition = imports.ready("db", "UndoRefused")
    assert f"PersistentVolume {name} (of {namespace.name}/db) still exists" in condition["message"]
    assert not (files / "disk.img").exists(), "the volume is still imported"
    left = admin.get(f"/api/v1/persistentvolumes/{name}")
    assert left["spec"]["persistentVolumeReclaimPolicy"] == "Retain", "a released volume must not be deleted"
    admin.delete(f"{path}/db")
    until((files / "disk.img").exists)
