"""An API server with our definitions installed, and namespaces with the accounts that the chart makes and no more rights."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_cinderlib.persistence.api import Sealer
from csi_cinderlib.persistence.kubernetes.resources import API_VERSION, controller_rules, definitions, node_rules
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from csi_cinderlib.persistence.kubernetes.store import KubernetesStore
from tests.cluster.bed.apiserver import ApiServer
from tests.support.repeating import until


@contextmanager
def serving(folder: Path) -> Iterator[ApiServer]:
    """A durable API server that knows the custom resources. Raises tools.lookup.Missing."""
    server = ApiServer(folder)
    server.start()
    try:
        server.apply(*definitions())
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=100s")
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
        for rule in rules:
            self._wait_until_granted(account, rule, namespace=self.name)

    def grant_in_cluster(self, account: str, verb: str, plural: str, *, kind_group: str = "") -> None:
        """That verb on a kind that lies in no namespace, of the core group if none is named."""
        admin, group = self.server.admin, "rbac.authorization.k8s.io"
        metadata = {"name": f"{self.name}-{account}-{verb}-{plural}"}
        subject = {"kind": "ServiceAccount", "name": account, "namespace": self.name}
        reference = {"apiGroup": group, "kind": "ClusterRole", "name": metadata["name"]}
        rule = {"apiGroups": [kind_group], "resources": [plural], "verbs": [verb]}
        admin.post(f"/apis/{group}/v1/clusterroles", {"metadata": metadata, "rules": [rule]})
        admin.post(
            f"/apis/{group}/v1/clusterrolebindings",
            {"metadata": metadata, "roleRef": reference, "subjects": [subject]},
        )
        self._wait_until_granted(account, rule)

    def _wait_until_granted(self, account: str, rule: Mapping[str, Any], *, namespace: str = "") -> None:
        """The API server goes by what it has heard of roles and bindings, and answers who made them before it has heard of these."""
        resource, _, part = rule["resources"][-1].partition("/")
        asked = {"verb": rule["verbs"][-1], "group": rule["apiGroups"][-1], "resource": resource, "subresource": part}
        asked |= {"name": rule["resourceNames"][-1]} if "resourceNames" in rule else {}
        user = f"system:serviceaccount:{self.name}:{account}"
        review = {"spec": {"user": user, "resourceAttributes": {**asked, "namespace": namespace}}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        until(lambda: self.server.admin.post(path, review)["status"]["allowed"])

    def let_controller_write_nodes(self) -> None:
        """The contract is for all kinds; in a cluster each node writes its own."""
        rules = node_rules()
        rules[0]["verbs"] = [*rules[0]["verbs"], "delete"]
        self.grant("controller", "controller-as-node", rules)

    def let_controller_be_a_node(self) -> None:
        """One process that is both."""
        self.grant("controller", "controller-and-node", node_rules())

    def store(self, sealer: Sealer | None, role: str = "controller") -> KubernetesStore:
        return KubernetesStore(Client(from_kubeconfig(self.kubeconfigs[role])), self.name, sealer)

    def objects(self, plural: str, *, group: str = API_VERSION) -> list[dict[str, Any]]:
        path = f"/apis/{group}/namespaces/{self.name}/{plural}"
        found: list[dict[str, Any]] = self.server.admin.get(path)["items"]
        return found
