"""What the commands see of custom resources, and what they say where their account may not look."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import cli
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.model.records import Provider, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.kubernetes.leases import KubernetesLease
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from csi_cinderlib.sealing import Sealer
from tests.cluster.bed.custom_resources import Namespace

pytestmark = pytest.mark.cluster

KEY = SealingKey(id="k1", key="pyF05b7aY1J3Hn5XpaT1CD2ADRM1sV0dQ8bq1q2SnYo=")


@pytest.fixture
def volume(namespace: Namespace) -> Volume:
    """In the store, with a sealed secret, as a claim's."""
    labels = {"pvc/namespace": namespace.name, "pvc/name": "data"}
    record = Volume(
        id="0b0e9a37-3a3c-4f0f-8d11-5f0c1a526c5e",
        name="pvc-1",
        backend="array1",
        size=GiB(1),
        status=Status.AVAILABLE,
        labels=labels,
        provider=Provider(auth="CHAP u geheim"),
    )
    store = namespace.store(Sealer([KEY]))
    stored = store.add(record)
    store.close()
    return stored


@pytest.fixture
def config(namespace: Namespace, tmp_path: Path) -> Any:
    """Writes the configuration of an account; it has no sealing key."""

    def write(role: str) -> str:
        options = {"kubeconfig": str(namespace.kubeconfigs[role]), "namespace": namespace.name}
        path = tmp_path / f"{role}.yaml"
        path.write_text(
            json.dumps({"state_dir": str(tmp_path / "state"), "store": {"plugin": "kubernetes", "options": options}})
        )
        return str(path)

    return write


def test_records_are_listed_without_the_keys_of_their_secrets(
    volume: Volume, config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["get", "volumes", "--config", config("controller"), "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["status"]) == (volume.id, "available")
    assert not (tmp_path / "state").exists()


def test_a_right_that_is_missing_is_named_by_verb_and_resource(
    volume: Volume, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["get", "volumes", "--config", config("node")]) == 1
    assert 'cannot list resource "volumes" in API group "cinderlib.io"' in capsys.readouterr().err


def test_a_repair_is_left_to_the_active_controller(namespace: Namespace, config: Any) -> None:
    store = namespace.store(None)
    store.add(Volume(id="half", backend="array1", size=GiB(1), status=Status.CREATING, owner="gone"))
    record = KubernetesLease(Client(from_kubeconfig(namespace.kubeconfigs["controller"])), namespace.name)
    active = lease.Lease(record, "the-other-pod")
    assert active.acquire()
    plain = config("controller")
    settings = json.loads(Path(plain).read_text())
    settings["store"]["options"]["allow_unsealed"] = True
    Path(plain).write_text(json.dumps(settings))
    assert "the-other-pod is the active controller; run this command there" in failed_fix(plain)
    active.release()
    assert "back end 'array1': it is no longer configured" in failed_fix(plain)
    assert active.acquire()  # released at the end
    assert store.get(Volume, "half").status is Status.CREATING
    store.close()


def failed_fix(config: str) -> str:
    """What a repair in a process of its own says."""
    argv = [sys.executable, "-m", "csi_cinderlib", "orphans", "fix", "half", "--config", config]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done.stderr
    return done.stdout + done.stderr


def test_nothing_is_exported_without_the_keys(
    volume: Volume, config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(tmp_path / "backup"), "--config", config("controller")]) == 1
    assert "the export would be incomplete" in capsys.readouterr().err
    assert not (tmp_path / "backup").exists()


def test_a_claim_is_followed_to_its_volume_and_what_may_not_be_seen_is_named(
    namespace: Namespace, volume: Volume, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    admin, name = namespace.server.admin, namespace.name
    size = {"requests": {"storage": "1Gi"}}
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": size,
            "volumeName": f"pvc-{name}",
            "storageClassName": "",
        },
    }
    admin.post(f"/api/v1/namespaces/{name}/persistentvolumeclaims", claim)
    pv = {
        "metadata": {"name": f"pvc-{name}"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "csi": {"driver": "csi.cinderlib.io", "volumeHandle": volume.id},
            "storageClassName": "",
        },
    }
    admin.post("/api/v1/persistentvolumes", pv)
    namespace.grant_in_cluster("controller", "get", "persistentvolumes")
    namespace.grant_in_cluster("controller", "get", "persistentvolumeclaims")
    assert cli.main(["explain", f"{name}/data", "--config", config("controller"), "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["claim"]["phase"], told["pv"]["handle"], told["volume"]["id"]) == ("Pending", volume.id, volume.id)
    assert told["unseen"].keys() == {"pods", "events", "VolumeAttachments", "host"}
    assert 'cannot list resource "volumeattachments"' in told["unseen"]["VolumeAttachments"]
    assert [item["code"] for item in told["diagnoses"]] == ["backend-not-configured"]
    admin.delete(f"/api/v1/persistentvolumes/pvc-{name}")
