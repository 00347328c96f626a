"""The store on custom resources, on a real API server with etcd, as a service account with the chart's rules and no more."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.codec import BY_NAME
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.kubernetes.names import object_name
from csi_cinderlib.persistence.kubernetes.resources import RESOURCES
from tests.cluster.bed.apiserver import ApiServer
from tests.cluster.bed.back_end_site import Site
from tests.cluster.bed.custom_resources import Namespace, serving


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with serving(tmp_path_factory.mktemp("api-server")) as server:
        yield server


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
        self._change(kind, id, {"op": "add", "path": "/spec/exact", "value": "{]"})

    def rename(self, kind: str, id: str, new_id: str) -> None:
        self._change(kind, id, {"op": "replace", "path": "/spec/id", "value": new_id})

    def _change(self, kind: str, id: str, operation: dict[str, str]) -> None:
        path = RESOURCES[BY_NAME[kind]].path(self.namespace.name, object_name(BY_NAME[kind], id))
        self.namespace.server.admin.patch(path, [operation])

    def contents(self) -> bytes:
        """Every object of this namespace as etcd has it; other tests' lie beside them."""
        found = [self.namespace.objects(resource.plural) for resource in RESOURCES.values()]
        return json.dumps(found, ensure_ascii=False).encode()

    def row_counts(self) -> Mapping[str, int]:
        return {item.plural: len(self.namespace.objects(item.plural)) for item in RESOURCES.values()}

    def kill_server(self) -> None:
        self.namespace.server.stop_server(signal_number=signal.SIGKILL)
        self.namespace.server.stop_etcd(signal_number=signal.SIGKILL)

    def start_server(self) -> None:
        self.namespace.server.start()


@pytest.fixture
def persistence_harness(namespace: Namespace, tmp_path: Path) -> KubernetesHarness:
    namespace.let_controller_write_nodes()
    return KubernetesHarness(state_dir=tmp_path, namespace=namespace)


@pytest.fixture
def site(namespace: Namespace, tmp_path: Path) -> Iterator[Site]:
    site = Site(namespace, tmp_path)
    yield site
    for driver in site.begun:
        driver.stop()
