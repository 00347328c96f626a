"""An encrypted claim in a cluster: used with its key if the node's kernel can encrypt, and never in plain."""

from __future__ import annotations

import pytest

from tests.cluster.driver.conftest import Kube, until
from tests.cluster.driver.test_examples import encrypts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NODE_SECRET = "csi.storage.k8s.io/node-stage-secret"


def encrypted_claim(kube: Kube, **keys: str) -> str:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": kube.name("key")}, "stringData": keys}
    parameters = {
        "encryption": "luks2",
        f"{NODE_SECRET}-name": kube.make(secret),
        f"{NODE_SECRET}-namespace": "${pvc.namespace}",
    }
    return kube.claim(storage_class=kube.storage_class(parameters))


def said(kube: Kube, pod: str) -> str:
    """The messages of the pod's events."""
    events = kube.installation.items("events", "--field-selector", f"involvedObject.name={pod}")
    return "\n".join(str(event["message"]) for event in events)


def test_the_volume_says_that_it_is_encrypted(kube: Kube) -> None:
    claim = encrypted_claim(kube, passphrase="canary-of-a-key")
    kube.installation.wait("pvc", claim, "jsonpath={.status.phase}=Bound")
    volume = kube.installation.get("pv", kube.installation.get("pvc", claim)["spec"]["volumeName"])
    assert volume["spec"]["csi"]["volumeAttributes"]["encryption"] == "luks2"
    assert "canary" not in str(volume)


def test_a_secret_without_a_key_is_named_in_the_events_of_the_pod(kube: Kube) -> None:
    pod = kube.pod(encrypted_claim(kube, password="canary-of-a-key"), wait=False)
    until(lambda: "secrets[passphrase]: must not be empty" in said(kube, pod), kube.installation)
    assert kube.installation.get("pod", pod)["status"]["phase"] == "Pending"
    assert "canary" not in said(kube, pod)


def test_a_kernel_without_encryption_keeps_the_pod_waiting_instead_of_using_the_volume_in_plain(kube: Kube) -> None:
    if encrypts():
        pytest.skip("this kernel encrypts: see the example")
    pod = kube.pod(encrypted_claim(kube, passphrase="canary-of-a-key"), wait=False)
    until(lambda: "device-mapper" in said(kube, pod), kube.installation)
    assert kube.installation.get("pod", pod)["status"]["phase"] == "Pending"
    assert "canary" not in said(kube, pod)
