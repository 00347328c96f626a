"""VolumeAttributesClasses: a claim changes its class, and the volume changes on the back end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.driver.conftest import Kube, until
from tests.cluster.driver.test_volumes import SUM, WRITE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

GIB = 1024**3
WHOLE = GIB - GIB // 64
"""A new ext4 file system zeroes its inode tables, 1/64 of the volume, and the loop device releases their space."""
SPEC = "extraSpecs/provisioning:type"


@pytest.fixture
def thin(kube: Kube) -> str:
    return attributes(kube, "thin")


@pytest.fixture
def thick(kube: Kube) -> str:
    return attributes(kube, "thick")


def attributes(kube: Kube, kind: str) -> str:
    return kube.make(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttributesClass",
            "metadata": {"name": kube.name(kind)},
            "driverName": "csi.cinderlib.io",
            "parameters": {SPEC: kind},
        }
    )


def change(kube: Kube, claim: str, name: str) -> None:
    patch = json.dumps({"spec": {"volumeAttributesClassName": name}})
    kube.installation.cluster.kubectl("patch", "pvc", claim, "--type=merge", "-p", patch)


def status(kube: Kube, claim: str) -> dict[str, Any]:
    found: dict[str, Any] = kube.installation.get("pvc", claim)["status"]
    return found


def has(kube: Kube, claim: str, name: str) -> bool:
    return status(kube, claim).get("currentVolumeAttributesClassName") == name


def allocated(kube: Kube, claim: str) -> int:
    """Bytes of the volume's file on the back end."""
    volume = kube.installation.get("pvc", claim)["spec"]["volumeName"]
    handle = kube.installation.get("pv", volume)["spec"]["csi"]["volumeHandle"]
    file = f"/var/lib/csi-cinderlib/volumes/volume-{handle}"
    return int(kube.installation.cluster.run("stat", "-c", "%b", file)) * 512


def test_a_claim_changes_its_class_and_back_while_a_pod_uses_it(kube: Kube, thin: str, thick: str) -> None:
    claim = kube.claim(attributes=thin)
    pod = kube.pod(claim)
    written = kube.shell(pod, WRITE)
    assert has(kube, claim, thin)
    assert allocated(kube, claim) < GIB / 2
    change(kube, claim, thick)
    until(lambda: has(kube, claim, thick), kube.installation)
    assert allocated(kube, claim) >= WHOLE
    kube.delete("pod", pod)
    until(lambda: not kube.installation.items("volumeattachments"), kube.installation)
    change(kube, claim, thin)
    until(lambda: has(kube, claim, thin), kube.installation)
    assert allocated(kube, claim) < GIB / 2
    assert kube.shell(kube.pod(claim), SUM) == written


def test_a_class_with_an_unknown_parameter_is_infeasible_and_can_be_left(kube: Kube, thick: str) -> None:
    claim = kube.claim()
    kube.pod(claim)
    wrong = attributes(kube, "quick")
    change(kube, claim, wrong)
    until(lambda: status(kube, claim).get("modifyVolumeStatus", {}).get("status") == "Infeasible", kube.installation)
    said = kube.installation.cluster.kubectl("describe", "pvc", claim)
    assert f"mutable_parameters[{SPEC}]: unknown value 'quick'; supported: thin, thick" in said
    assert allocated(kube, claim) < GIB / 2
    change(kube, claim, thick)
    until(lambda: has(kube, claim, thick), kube.installation)
    assert allocated(kube, claim) >= WHOLE
