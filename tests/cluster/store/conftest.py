"""The store on custom resources, on a real API server with etcd, as a service account with the chart's rules and no more."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.kubernetes.names import object_name
from csi_cinderlib.persistence.kubernetes.resources import (
    API_VERSION,
    RESOURCES,
    controller_rules,
    definitions,
    node_rules,
)
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from csi_cinderlib.persistence.kubernetes.store import KubernetesStore
from tests.cluster.bed import programs
from tests.cluster.bed.apiserver import ApiServer

PLURALS = {kind.__name__.lower(): resource.plural for kind, resource in RESOURCES.items()}
KINDS = {kind.__name__.lower(): kind for kind in RESOURCES}


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    try:
        server = ApiServer(tmp_path_factory.mktemp("api-server"))
    except programs.CannotBuild as problem:
        pytest.skip(str(problem))
    server.start()
    try:
        server.apply(*definitions())
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield server
    finally:
        server.stop()


@dataclass
class Namespace:
    """A namespace of its own with the accounts that the chart makes."""

    server: ApiServer
    folder: Path
    name: str = field(default_factory=lambda: f"ns-{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.accounts = {role: self.server.service_account_token(self.name, role) for role in ("controller", "node")}
        self.grant("controller", "controller", controller_rules())
        self.grant("node", "node", node_rules())
        self.kubeconfigs = {
            role: self.server.write_kubeconfig(self.folder / f"{role}.kubeconfig", token)
            for role, token in self.accounts.items()
        }

    def grant(self, account: str, name: str, rules: list[dict[str, Any]]) -> None:
        group = "rbac.authorization.k8s.io"
        base = f"/apis/{group}/v1/namespaces/{self.name}"
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.name}
        reference = {"apiGroup": group, "kind": "Role", "name": name}
        admin = self.server.admin
        admin.post(f"{base}/roles", {"metadata": {"name": name}, "rules": rules})
        admin.post(f"{base}/rolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})

    def let_controller_write_nodes(self) -> None:
        """The contract is for all kinds; in a cluster each node writes its own."""
        rules = node_rules()
        rules[0]["verbs"] = [*rules[0]["verbs"], "delete"]
        self.grant("controller", "controller-as-node", rules)

    def store(self, sealer: Sealer | None, role: str = "controller") -> KubernetesStore:
        return KubernetesStore(Client(from_kubeconfig(self.kubeconfigs[role])), self.name, sealer)

    def objects(self, plural: str) -> list[dict[str, Any]]:
        path = f"/apis/{API_VERSION}/namespaces/{self.name}/{plural}"
        found: list[dict[str, Any]] = self.server.admin.get(path)["items"]
        return found


@pytest.fixture
def namespace(api_server: ApiServer, tmp_path: Path) -> Namespace:
    return Namespace(api_server, tmp_path)


@dataclass(kw_only=True)
class KubernetesHarness(Harness):
    plugin: str = "kubernetes"
    namespace: Namespace

    def __post_init__(self) -> None:
        self.options = {
            "kubeconfig": str(self.namespace.kubeconfigs["controller"]),
            "namespace": self.namespace.name,
            "allow_unsealed": True,
        }

    def open(self, sealer: Sealer | None = None) -> Store:
        return self.namespace.store(sealer)

    def corrupt(self, kind: str, id: str) -> None:
        plural, name = PLURALS[kind.replace("-", "")], object_name(KINDS[kind.replace("-", "")], id)
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace.name}/{plural}/{name}"
        self.namespace.server.admin.patch(path, [{"op": "remove", "path": "/spec/backend"}])

    def contents(self) -> bytes:
        """Every object of this namespace as etcd has it; other tests' lie beside them."""
        return json.dumps([self.namespace.objects(plural) for plural in PLURALS.values()], ensure_ascii=False).encode()

    def row_counts(self) -> Mapping[str, int]:
        return {plural: len(self.namespace.objects(plural)) for plural in PLURALS.values()}

    def kill_server(self) -> None:
        self.namespace.server.stop_server(signal_number=signal.SIGKILL)
        self.namespace.server.stop_etcd(signal_number=signal.SIGKILL)

    def start_server(self) -> None:
        self.namespace.server.start()


@pytest.fixture
def persistence_harness(namespace: Namespace, tmp_path: Path) -> KubernetesHarness:
    namespace.let_controller_write_nodes()
    return KubernetesHarness(state_dir=tmp_path, namespace=namespace)
