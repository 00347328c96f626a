"""A store is one cluster's: a controller of another one does not start, until it is told that the first one is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.provisioning.installation import CLUSTER_KEY
from tests.cluster.bed.custom_resources import Namespace

pytestmark = pytest.mark.cluster

ANOTHER = "8d3a5e0c-0d6e-4f55-9c1b-1f0a3c1c7d11"


@pytest.fixture
def uid(namespace: Namespace) -> str:
    """This cluster's, which the controller may read."""
    namespace.grant_in_cluster("controller", "get", "namespaces")
    return str(namespace.server.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"])


def start(namespace: Namespace, state: Path, take_over_from: str = "") -> DriverProcess:
    state.mkdir()
    options = (
        f"{{kubeconfig: {namespace.kubeconfigs['controller']}, namespace: {namespace.name}, allow_unsealed: true}}"
    )
    (state / "config.yaml").write_text(
        f"store: {{plugin: kubernetes, options: {options}, take_over_from: '{take_over_from}'}}\n"
    )
    return DriverProcess(state, ("--mode", "controller", "--config", str(state / "config.yaml")))


def serve(namespace: Namespace, state: Path, take_over_from: str = "") -> str:
    """Start and stop a controller; its log."""
    driver = start(namespace, state, take_over_from)
    try:
        driver.wait_until_ready()
    finally:
        driver.stop()
    return driver.log()


def recorded(namespace: Namespace) -> str:
    return namespace.store(None).get(KeyValue, CLUSTER_KEY).value


def test_a_store_becomes_the_clusters_at_its_first_start(namespace: Namespace, uid: str, tmp_path: Path) -> None:
    for name in ("first", "again"):
        serve(namespace, tmp_path / name)
        assert recorded(namespace) == uid


def test_another_clusters_store_is_refused_until_it_is_taken_over(
    namespace: Namespace, uid: str, tmp_path: Path
) -> None:
    namespace.store(None).add(KeyValue(id=CLUSTER_KEY, value=ANOTHER))
    with pytest.raises(PreconditionFailed, match=f"belongs to cluster {ANOTHER}, but this is cluster {uid}"):
        serve(namespace, tmp_path / "refused")
    with pytest.raises(PreconditionFailed, match="belongs to cluster"):
        serve(namespace, tmp_path / "another word", take_over_from=ANOTHER[::-1])
    assert recorded(namespace) == ANOTHER
    serve(namespace, tmp_path / "taken", take_over_from=ANOTHER)
    assert recorded(namespace) == uid


def test_a_controller_that_may_not_ask_serves_and_says_so(namespace: Namespace, tmp_path: Path) -> None:
    assert "store ownership not verified" in serve(namespace, tmp_path / "state")
