"""What `check` says of a cluster, asked of a real API server with the rights of the controller and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from csi_cinderlib.persistence.kubernetes.leases import NAME, KubernetesLease
from csi_cinderlib.persistence.kubernetes.resources import controller_rules
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from csi_cinderlib.persistence.lease import State
from csi_cinderlib.sealing import generate_key
from tests.cluster.bed.custom_resources import Namespace

pytestmark = pytest.mark.cluster


def check(namespace: Namespace, folder: Path, kubeconfig: Path | None = None) -> tuple[int, list[dict[str, str]]]:
    """Its exit code and its findings."""
    chosen = kubeconfig or namespace.kubeconfigs["controller"]
    settings = {
        "mode": "controller",
        "store": {"plugin": "kubernetes", "options": {"kubeconfig": str(chosen), "namespace": namespace.name}},
        "backends": {"a": {"driver": "tests.support.fakes.nothing.NothingDriver"}},
        "sealing_keys": [{"id": "k1", "key": generate_key()}],
    }
    config = folder / "check.json"
    config.write_text(json.dumps(settings))
    words = ["check", "-o", "json", "--config", str(config), "--state-dir", str(folder / "state")]
    argv = [sys.executable, "-m", "csi_cinderlib", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def of(found: list[dict[str, str]], what: str) -> list[dict[str, str]]:
    return [row for row in found if row["what"] == what]


def test_a_cluster_that_gives_all_rights_is_good(namespace: Namespace, tmp_path: Path) -> None:
    code, found = check(namespace, tmp_path)
    assert code == 0, found
    assert [row["level"] for row in of(found, "Kubernetes")] == ["ok"]
    assert [row["level"] for row in of(found, "clock")] == ["ok"]
    assert of(found, "permissions")[0]["detail"].startswith("all ")
    assert of(found, "custom resources")[0]["detail"] == "cinderlib.io is served as v1"
    assert "does not exist: no controller has been active yet" in of(found, "lease")[0]["detail"]


def test_what_this_account_may_not_read_is_unknown(namespace: Namespace, tmp_path: Path) -> None:
    _, found = check(namespace, tmp_path)
    assert "unknown" in {row["level"] for row in of(found, "custom resources")}
    assert {row["level"] for row in of(found, "sidecars")} == {"unknown"}


def test_an_account_that_may_read_more_is_told_more(namespace: Namespace, tmp_path: Path) -> None:
    pod(namespace, "controller-0")
    admin = namespace.server.write_kubeconfig(tmp_path / "admin", namespace.server.admin_token)
    code, found = check(namespace, tmp_path, admin)
    assert {row["level"] for row in of(found, "custom resources")} == {"ok"}
    assert [row["level"] for row in of(found, "sidecars")] == ["note"]
    assert {row["detail"]: row["level"] for row in of(found, "Secrets")} == {
        "keys does not exist": "bad",
        "more does not exist": "note",
    }
    assert code == 1


def test_a_right_that_is_missing_is_bad_and_named(namespace: Namespace, tmp_path: Path) -> None:
    token = namespace.server.service_account_token(namespace.name, "poor")
    namespace.grant("poor", "poor", [rule for rule in controller_rules() if "deletecollection" not in rule["verbs"]])
    code, found = check(namespace, tmp_path, namespace.server.write_kubeconfig(tmp_path / "poor", token))
    assert code == 1
    (row,) = [row for row in of(found, "permissions") if row["level"] == "bad"]
    assert row["detail"] == f"missing permission: deletecollection attachments (cinderlib.io) in {namespace.name}"


def test_the_holder_of_the_lease_is_shown(namespace: Namespace, tmp_path: Path) -> None:
    with closing(Client(from_kubeconfig(namespace.kubeconfigs["controller"]))) as client:
        KubernetesLease(client, namespace.name).write("pod-a_1", 17, State())
        _, found = check(namespace, tmp_path)
        assert of(found, "lease")[0]["level"] == "ok"
        assert of(found, "lease")[0]["detail"].startswith("pod-a_1 is active")
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace.name}/leases/{NAME}"
        client.merge(path, {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}})
        _, found = check(namespace, tmp_path)
        assert of(found, "lease")[0]["level"] == "note"
        assert "no controller is active" in of(found, "lease")[0]["detail"]


def test_a_server_that_is_away_is_bad(namespace: Namespace, tmp_path: Path) -> None:
    path = tmp_path / "away"
    text = namespace.kubeconfigs["controller"].read_text().replace(namespace.server.url, "https://127.0.0.1:1")
    path.write_text(text)
    code, found = check(namespace, tmp_path, path)
    assert code == 1
    assert {row["level"] for row in of(found, "Kubernetes")} == {"bad"}


def test_it_creates_nothing(namespace: Namespace, tmp_path: Path) -> None:
    check(namespace, tmp_path)
    assert namespace.objects("volumes") == namespace.objects("keyvalues") == []
    assert namespace.objects("leases", group="coordination.k8s.io/v1") == []


def pod(namespace: Namespace, name: str) -> None:
    container = {"name": "cinderlib", "image": "registry.local/csi-cinderlib-controller:0.1.0"}
    sidecar = {"name": "provisioner", "image": "registry.k8s.io/sig-storage/csi-provisioner:v5.0.0"}
    volumes = [
        {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "more", "secret": {"secretName": "more", "optional": True}},
    ]
    metadata = {"name": name, "labels": {"app.kubernetes.io/component": "controller"}}
    account = {"serviceAccountName": "controller", "automountServiceAccountToken": False}
    body = {"metadata": metadata, "spec": {**account, "containers": [container, sidecar], "volumes": volumes}}
    namespace.server.admin.post(f"/api/v1/namespaces/{namespace.name}/pods", body)
