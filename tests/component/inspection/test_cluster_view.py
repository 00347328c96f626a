"""What is read of a volume from the Kubernetes API, and what is said where it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.config.settings import Settings, StoreSettings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.inspection.cluster_view import ClusterView, reach
from csi_cinderlib.inspection.observed import Claim, ClusterAttachment, PersistentVolume
from csi_cinderlib.persistence.kubernetes.rest import Client
from tests.support.api_server import ApiServer, serving

CORE = "/api/v1/namespaces/shop"
PVC: dict[str, Any] = {
    "metadata": {"name": "data"},
    "spec": {
        "volumeName": "pvc-1",
        "storageClassName": "gold",
        "resources": {"requests": {"storage": "10Gi"}},
    },
    "status": {"phase": "Bound"},
}
PV: dict[str, Any] = {
    "metadata": {"name": "pvc-1"},
    "spec": {
        "csi": {"driver": "csi.cinderlib.io", "volumeHandle": "v1"},
        "claimRef": {"namespace": "shop", "name": "data"},
    },
    "status": {"phase": "Bound"},
}


def pod(name: str, claim: str, node: str, phase: str = "Running") -> dict[str, Any]:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}, {"name": "tmp", "emptyDir": {}}]
    return {"metadata": {"name": name}, "spec": {"nodeName": node, "volumes": volumes}, "status": {"phase": phase}}


def event(name: str, message: str, when: str) -> dict[str, Any]:
    return {"involvedObject": {"name": name}, "message": message, "lastTimestamp": when, "type": "Warning"}


def volume_attachment(pv: str, **status: Any) -> dict[str, Any]:
    spec = {"nodeName": "worker-1", "source": {"persistentVolumeName": pv}}
    return {"metadata": {"name": f"va-{pv}"}, "spec": spec, "status": status}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as api:
        api.objects |= {f"{CORE}/persistentvolumeclaims/data": PVC, "/api/v1/persistentvolumes/pvc-1": PV}
        api.lists |= {
            f"{CORE}/pods": [
                pod("web", "data", "worker-1"),
                pod("done", "data", "worker-2", "Succeeded"),
                pod("x", "y", ""),
            ],
            f"{CORE}/events": [
                event("data", "older", "2026-01-01T00:00:00Z"),
                event("web", "newer\nof two lines", "2026-01-02T00:00:00Z"),
                event("other", "not of it", "2026-01-03T00:00:00Z"),
            ],
            "/api/v1/persistentvolumes": [PV],
            "/apis/storage.k8s.io/v1/volumeattachments": [
                volume_attachment("pvc-2", attached=True),
                volume_attachment("pvc-1", attached=False, attachError={"message": "timed out"}),
            ],
        }
        yield api


@pytest.fixture
def view(api: ApiServer, tmp_path: Path) -> ClusterView:
    return ClusterView(client(api, tmp_path))


def client(api: ApiServer, tmp_path: Path) -> Client:
    settings = Settings(state_dir=tmp_path)
    return reach(settings, {"KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))})


def test_a_claim_comes_with_its_pods_and_their_warnings(view: ClusterView) -> None:
    assert view.claim("shop", "data") == Claim(
        namespace="shop",
        name="data",
        phase="Bound",
        volume_name="pvc-1",
        storage_class="gold",
        size="10Gi",
        warnings=("newer of two lines", "older"),
        pods={"web": "worker-1"},
    )
    assert view.unseen == {}


def test_a_persistent_volume_names_its_volume_and_claim(view: ClusterView) -> None:
    expected = PersistentVolume(name="pvc-1", phase="Bound", driver="csi.cinderlib.io", handle="v1", claim="shop/data")
    assert view.pv("pvc-1") == view.pv_of_handle("csi.cinderlib.io", "v1") == expected
    assert view.pv_of_handle("other", "v1") is None


def test_attachments_of_a_volume_are_shown_with_their_errors(view: ClusterView) -> None:
    assert view.attachments("pvc-1") == (ClusterAttachment(name="va-pvc-1", node="worker-1", error="timed out"),)


def test_what_does_not_exist_is_told_from_what_cannot_be_seen(view: ClusterView, api: ApiServer) -> None:
    assert view.claim("shop", "gone") == Claim(namespace="shop", name="gone")
    assert (view.pv("gone"), view.unseen) == (None, {})
    api.forbidden |= {"persistentvolumeclaims", "pods", "volumeattachments"}
    assert view.claim("shop", "data") is None
    assert view.attachments("pvc-1") == ()
    assert view.unseen.keys() == {"claim", "VolumeAttachments"}
    assert 'cannot get resource "volumeattachments"' in view.unseen["VolumeAttachments"]


def test_lists_of_several_pages_are_read_to_their_end(view: ClusterView, api: ApiServer) -> None:
    path = "/apis/storage.k8s.io/v1/volumeattachments"
    api.lists[path] = [volume_attachment("pvc-9")] * 1200 + [volume_attachment("pvc-1", attached=True)]
    assert [item.attached for item in view.attachments("pvc-1")] == [True]


def test_a_cluster_that_does_not_answer_is_named_once(api: ApiServer, tmp_path: Path) -> None:
    api.url = "http://127.0.0.1:1"
    view = ClusterView(client(api, tmp_path))
    assert (view.claim("shop", "data"), view.pv("pvc-1")) == (None, None)
    assert view.unseen.keys() == {"Kubernetes"}


@pytest.mark.parametrize("name", ["../../secrets/token", "a/b", "data?x=1", "..", "."])
def test_each_word_stays_one_path_segment(view: ClusterView, api: ApiServer, name: str) -> None:
    assert view.claim("shop", name) == Claim(namespace="shop", name=name)
    ((_, path),) = api.asked
    assert path.startswith(f"{CORE}/persistentvolumeclaims/")
    assert path.count("/") == CORE.count("/") + 2


def test_the_cluster_view_only_reads(view: ClusterView, api: ApiServer) -> None:
    view.claim("shop", "data")
    view.pv_of_handle("csi.cinderlib.io", "v1")
    view.attachments("pvc-1")
    assert {method for method, _ in api.asked} == {"GET"}


def test_the_cluster_of_the_store_is_asked_first(api: ApiServer, tmp_path: Path) -> None:
    store = StoreSettings(plugin="kubernetes", options={"kubeconfig": str(api.kubeconfig(tmp_path / "kubeconfig"))})
    assert (
        ClusterView(reach(Settings(state_dir=tmp_path, store=store), {"KUBECONFIG": "/none"})).pv("pvc-1") is not None
    )


def test_without_a_cluster_the_reason_is_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="KUBECONFIG: is not set, and this process does not run in a pod"):
        reach(Settings(state_dir=tmp_path), {})
