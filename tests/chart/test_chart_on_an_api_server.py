"""The chart on a real API server, by `helm install`: what Kubernetes accepts, and what the accounts may do there."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import LeaseLost, StaleRecord
from csi_cinderlib.persistence.kubernetes.leases import NAME, KubernetesLease
from csi_cinderlib.persistence.kubernetes.rest import Access, Client
from csi_cinderlib.persistence.lease import TIMING, Lease, State
from csi_cinderlib.sealing import Sealer, generate_key
from scripts.generate.chart import CHART
from tests.chart.conftest import Json
from tests.cluster.bed.apiserver import ApiServer

pytestmark = pytest.mark.cluster

NAMESPACE = "storage-system"
REFUSAL = "only the object of its own node"
"""Of the policy for what a node plugin writes."""
RELEASE = "csi-cinderlib"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
APPLIED = ((), ("--server-side=false",), ("--server-side=true", "--force-conflicts"))
"""Ways in which Helm brings an object to what a revision says."""
FOREIGN = ("secrets", "configmaps", "pods", "nodes", "events", "persistentvolumes", "storage.k8s.io/volumeattachments")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    made = ApiServer(tmp_path_factory.mktemp("api-server"), arguments=["--allow-privileged=true"])
    made.start()
    try:
        add_node(made, "n1")
        yield made
    finally:
        made.stop()


def add_node(server: ApiServer, name: str) -> None:
    server.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"zone": name}}})


@dataclass
class Release:
    """The chart, installed."""

    server: ApiServer
    program: str
    kubeconfig: Path

    def helm(self, *arguments: str) -> str:
        """Raises RuntimeError with what helm said."""
        command = [self.program, *arguments, f"--namespace={NAMESPACE}", f"--kubeconfig={self.kubeconfig}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def install(self, *arguments: str, chart: Path = CHART) -> None:
        self.helm("install", RELEASE, str(chart), *arguments)
        wait_for_the_policy(self)

    def upgrade(self, *arguments: str) -> str:
        return self.helm("upgrade", RELEASE, str(CHART), *arguments)

    def keys(self) -> bytes:
        secret = self.server.admin.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{RELEASE}-controller-sealing")
        return base64.b64decode(secret["data"]["keys.yaml"])

    def rotate(self) -> bytes:
        """Put a new key in front, and return all."""
        old = self.keys()
        keys = f"- {{id: c{old.count(b'id:') + 1}, key: {generate_key()}}}\n".encode() + old
        patch = json.dumps({"data": {"keys.yaml": base64.b64encode(keys).decode()}})
        self.server.kubectl("-n", NAMESPACE, "patch", "secret", f"{RELEASE}-controller-sealing", "-p", patch)
        return keys

    def token(self, role: str, node: str = "") -> str:
        """Of that role's account; with a node, as the kubelet gets it for the pod that runs there."""
        request: Json = {"spec": {}}
        if node:
            request["spec"]["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": f"{role}-{node}"}
            self.server.apply(pod(f"{role}-{node}", node, account(role)))
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account(role)}/token"
        answer = self.server.admin.post(path, request)
        return str(answer["status"]["token"])


def account(role: str) -> str:
    return f"{RELEASE}-{role}"


def pod(name: str, node: str, service_account: str) -> Json:
    containers = [{"name": "c", "image": "none"}]
    spec = {"nodeName": node, "serviceAccountName": service_account, "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


@pytest.fixture(scope="module")
def release(server: ApiServer, helm: str, tmp_path_factory: pytest.TempPathFactory) -> Release:
    kubeconfig = server.write_kubeconfig(tmp_path_factory.mktemp("helm") / "kubeconfig", server.admin_token)
    made = Release(server, helm, kubeconfig)
    made.install("--create-namespace")
    return made


@pytest.fixture
def new_release(release: Release) -> Release:
    """The same, installed anew: at its first revision, with a sealing key that was just made."""
    release.helm("uninstall", RELEASE)
    release.server.kubectl("-n", NAMESPACE, "delete", "secret", f"{RELEASE}-controller-sealing")
    release.install()
    return release


def wait_for_the_policy(release: Release) -> None:
    """The API server applies an admission policy some moments after it took it."""
    token = release.token("node")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            write(release, token, "nobody", "--dry-run=server")
        except RuntimeError as error:
            if REFUSAL in str(error):
                return
        time.sleep(0.1)
    raise TimeoutError("the admission policy of the nodes is not applied")


def storage_node(name: str, *, id: str = "", **spec: object) -> str:
    body: dict[str, Any] = {"apiVersion": "cinderlib.io/v1", "kind": "StorageNode", "metadata": {"name": name}}
    plain = {"id": id or name, "v": 1, "write": "w", "connector": {"host": name}, "topology": {}}
    return json.dumps({**body, "spec": {**plain, **spec}})


def write(release: Release, token: str, name: str, *options: str, id: str = "", **spec: object) -> None:
    """Raises RuntimeError with the server's words."""
    text = storage_node(name, id=id, **spec)
    release.server.kubectl("create", "-n", NAMESPACE, "-f", "-", *options, token=token, text=text)


def test_the_key_that_is_made_seals(new_release: Release) -> None:
    keys = [SealingKey(**key) for key in yaml.safe_load(new_release.keys())]
    assert [key.id for key in keys] == ["c1"]
    assert Sealer(keys).open(Sealer(keys).seal(b"hello")) == b"hello"


@pytest.mark.parametrize("applied", APPLIED, ids=" ".join)
def test_neither_an_upgrade_nor_a_rollback_touches_the_keys(new_release: Release, applied: tuple[str, ...]) -> None:
    release = new_release
    before = release.keys()
    release.upgrade("--set", "logging.level=debug", *applied)
    assert release.keys() == before
    rotated = release.rotate()
    release.upgrade("--set", "logging.level=warning", *applied)
    assert release.keys() == rotated
    release.helm("rollback", RELEASE, "1", *applied)
    assert release.keys() == rotated != before


def test_a_node_writes_its_own_object_and_no_other(release: Release) -> None:
    token = release.token("node", "n1")
    write(release, token, "n1")
    with pytest.raises(RuntimeError, match="a node plugin may write only the object of its own node"):
        write(release, token, "n2")
    patch = '[{"op": "replace", "path": "/spec/id", "value": "n2"}]'
    with pytest.raises(RuntimeError, match=REFUSAL):
        release.server.kubectl("patch", "-n", NAMESPACE, "storagenode", "n1", "--type=json", "-p", patch, token=token)
    with pytest.raises(RuntimeError, match="Forbidden"):
        release.server.kubectl("delete", "-n", NAMESPACE, "storagenode", "n1", token=token)


def test_a_node_leaves_the_keys_that_sign_to_the_controller(release: Release) -> None:
    token, refusal = release.token("node", "n4"), "only the controller may write the signing keys"

    def patched(token: str, operation: str, **value: object) -> str:
        patch = json.dumps([{"op": operation, "path": "/spec/signers", **value}])
        return release.server.kubectl(
            "patch", "-n", NAMESPACE, "storagenode", "n4", "--type=json", "-p", patch, token=token
        )

    with pytest.raises(RuntimeError, match=refusal):
        write(release, token, "n4", signers={"c1": "forged"})
    write(release, token, "n4")
    with pytest.raises(RuntimeError, match=refusal):
        patched(token, "add", value={"c1": "forged"})
    assert "patched" in patched(release.token("controller"), "add", value={"c1": "true"})
    for operation, value in (("replace", {"value": {"c1": "forged"}}), ("remove", {})):
        with pytest.raises(RuntimeError, match=refusal):
            patched(token, operation, **value)
    assert "patched" in patched(token, "replace", value={"c1": "true"}), "which is no change"


HOST = "connector.host of a registration must be the name of its node"


@pytest.mark.parametrize(
    "connector", [{"host": "n2"}, {"host": "N1"}, {"host": "n1.example.org"}, {"host": ["n1"]}, {}]
)
def test_a_node_registers_no_host_name_but_its_own(release: Release, connector: dict[str, object]) -> None:
    token = release.token("node", "n1")
    with pytest.raises(RuntimeError, match=HOST):
        write(release, token, "n1", "--dry-run=server", connector=connector)
    with pytest.raises(RuntimeError, match="only plain fields"):
        write(release, token, "n1", "--dry-run=server", exact='{"connector": {"host": "n2"}}')


def test_a_node_never_changes_its_host_name(release: Release) -> None:
    token, kubectl = release.token("node", "n1"), release.server.kubectl
    kubectl("apply", "-n", NAMESPACE, "-f", "-", text=storage_node("n1", publicKey="a field that a later version adds"))

    def patch(path: str, value: object) -> None:
        text = json.dumps([{"op": "replace", "path": path, "value": value}])
        kubectl("patch", "-n", NAMESPACE, "storagenode", "n1", "--type=json", "-p", text, token=token)

    try:
        for path, value in (("/spec/connector/host", "n2"), ("/spec/connector", {}), ("/spec/connector/host", "")):
            with pytest.raises(RuntimeError, match=HOST):
                patch(path, value)
        patch("/spec/connector", {"host": "n1", "initiator": "iqn.new"})
    finally:
        kubectl("delete", "-n", NAMESPACE, "storagenode", "n1")


def test_a_token_that_belongs_to_no_node_writes_nothing(release: Release) -> None:
    with pytest.raises(RuntimeError, match=REFUSAL):
        write(release, release.token("node"), "n1-by-nobody")


def allowed(release: Release, token: str, resource: str) -> list[str]:
    """What the token's owner may do in the release's namespace; `resource` is GROUP/RESOURCE or RESOURCE."""
    group, _, name = resource.rpartition("/")
    client = Client(Access(url=release.server.url, token=token, insecure=True), connections=1)
    found = []
    for verb in VERBS:
        asked = {"namespace": NAMESPACE, "verb": verb, "group": group, "resource": name}
        review = {"spec": {"resourceAttributes": asked}}
        answer = client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        found += [verb] if answer["status"]["allowed"] else []
    client.close()
    return found


RECORDS = ("volumes", "snapshots", "attachments", "volumegroups", "groupsnapshots", "initiatordata", "keyvalues")


def test_a_node_may_keep_its_own_object_and_nothing_else(release: Release) -> None:
    token = release.token("node", "n1")
    assert allowed(release, token, "cinderlib.io/storagenodes") == ["get", "create", "patch"]
    for resource in (
        *(f"cinderlib.io/{name}" for name in (*RECORDS, "storagebackends", "backendconfigurations")),
        *FOREIGN,
    ):
        assert allowed(release, token, resource) == [], resource


def test_the_controller_reads_no_secret(release: Release) -> None:
    token = release.token("controller")
    assert "create" in allowed(release, token, "cinderlib.io/volumes")
    for resource in ("secrets", "configmaps", "serviceaccounts", "rbac.authorization.k8s.io/roles"):
        assert allowed(release, token, resource) == [], resource
    assert allowed(release, token, "cinderlib.io/storagenodes") == ["get", "list", "patch", "delete"]


def test_of_two_controllers_one_gets_the_lease_and_the_other_takes_over(release: Release) -> None:
    access = Access(url=release.server.url, token=release.token("controller"), insecure=True)
    a, b = (Client(access, connections=1) for _ in range(2))
    now = [1000.0]
    first, second = (
        Lease(KubernetesLease(client, NAMESPACE), name, clock=lambda: now[0]) for client, name in ((a, "a"), (b, "b"))
    )
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{NAME}"
    assert first.acquire()
    assert not second.acquire()
    assert second.holder == "a"
    for _ in range(3):
        now[0] += TIMING.renew
        sent = a.calls
        first.renew()
        assert a.calls == sent + 1
        assert not second.acquire()
    spec = release.server.admin.get(path)["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("a", TIMING.duration)
    assert spec["renewTime"] > spec["acquireTime"]
    release.server.admin.merge(path, {"metadata": {"labels": {"touched": "yes"}}})  # as a renewal whose answer was lost
    first.renew()
    assert not second.acquire()
    now[0] += TIMING.duration
    assert second.acquire()
    with pytest.raises(LeaseLost):
        first.renew()
    second.release()
    assert first.acquire()
    assert release.server.admin.get(path)["spec"]["holderIdentity"] == "a"
    with pytest.raises(StaleRecord):
        KubernetesLease(b, NAMESPACE).write("b", TIMING.duration, State("a", TIMING.duration, "1"))
    with pytest.raises(StaleRecord):
        KubernetesLease(b, NAMESPACE).write("b", TIMING.duration, State())
    for client in (a, b):
        client.close()


def test_the_controller_keeps_one_lease_and_removes_none(release: Release) -> None:
    token = release.token("controller")
    assert allowed(release, token, "coordination.k8s.io/leases") == ["get", "create", "patch"]


def test_the_controller_removes_many_records_at_once_where_they_belong_to_one(release: Release) -> None:
    token = release.token("controller")
    removes = [kind for kind in RECORDS if "deletecollection" in allowed(release, token, f"cinderlib.io/{kind}")]
    assert removes == ["attachments"]


def test_kubernetes_lets_privileged_containers_alone_share_mounts_with_the_host(release: Release) -> None:
    """Why the node plugin is privileged, and CAP_SYS_ADMIN would not do."""
    manifest = pod("shares-mounts", "n1", account("node"))
    manifest["spec"]["volumes"] = [{"name": "v", "hostPath": {"path": "/v"}}]
    (item,) = manifest["spec"]["containers"]
    item["volumeMounts"] = [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]
    item["securityContext"] = {"capabilities": {"add": ["SYS_ADMIN"]}}
    with pytest.raises(RuntimeError, match="available only to privileged containers"):
        release.server.apply(manifest)
    item["securityContext"] = {"privileged": True}
    release.server.apply(manifest)


def test_a_missing_secret_with_back_ends_is_told(release: Release) -> None:
    told = release.upgrade("--set", f"backendSecrets={{{RELEASE}-backends,array1}}")
    assert "The Secret array1 in backendSecrets does not exist yet" in told
    assert f"Secret {RELEASE}-backends in backendSecrets" not in told


def test_strategies_without_limits_are_accepted(release: Release) -> None:
    release.upgrade("--set", "controller.updateStrategy.type=Recreate,node.updateStrategy.type=OnDelete")


def test_a_directory_of_one_node_is_refused_in_a_cluster_of_several(release: Release) -> None:
    add_node(release.server, "n2")
    try:
        with pytest.raises(RuntimeError, match=r"this cluster has 2 nodes; set localBackend\.node"):
            release.upgrade()
        with pytest.raises(RuntimeError, match='the cluster has no node "n3"'):
            release.upgrade("--set", "localBackend.node=n3")
        assert "on node n1" in release.upgrade("--set", "localBackend.node=n1")
    finally:
        release.server.kubectl("delete", "node", "n2")


def test_the_key_that_nodes_have_is_not_taken_for_the_controllers(release: Release) -> None:
    """Whose nodes had a Secret of their own by an earlier chart, and whose values are used again."""
    release.upgrade("--set", "sealing.sharedSecret=mine")
    with pytest.raises(RuntimeError, match=r"all nodes mount the Secret mine.*set sealing\.sharedSecret=mine"):
        release.upgrade("--set", "sealing.existingSecret=mine")
    release.upgrade("--set", "sealing.sharedSecret=mine,sealing.existingSecret=new")
    release.upgrade()


def test_uninstalling_leaves_the_key_and_the_records(release: Release) -> None:
    before = release.keys()
    release.helm("uninstall", RELEASE)
    assert release.keys() == before
    assert "volumes.cinderlib.io" in release.server.kubectl("get", "crd", "-o", "name")
    release.install()
    assert release.keys() == before


def test_keys_that_were_part_of_a_release_stay_when_they_are_no_longer(release: Release, tmp_path: Path) -> None:
    """Charts of before had the Secret among their objects."""
    release.helm("uninstall", RELEASE)
    release.server.kubectl("-n", NAMESPACE, "delete", "secret", f"{RELEASE}-controller-sealing")
    old = shutil.copytree(CHART, tmp_path / "old")
    template = old / "templates/sealing.yaml"
    template.write_text(re.sub(r"^ +helm\.sh/hook.*\n", "", template.read_text(), flags=re.MULTILINE))
    release.install(chart=old)
    assert f"name: {RELEASE}-controller-sealing" in release.helm("get", "manifest", RELEASE)
    before = release.keys()
    release.upgrade()
    assert release.keys() == before
    assert f"name: {RELEASE}-controller-sealing" not in release.helm("get", "manifest", RELEASE)
