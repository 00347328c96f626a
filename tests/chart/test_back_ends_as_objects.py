"""BackendConfiguration objects that the chart renders, on a real API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.persistence.kubernetes.resources import BACKEND, CONFIGURATION, LABEL
from csi_cinderlib.persistence.kubernetes.statuses import manifest
from tests.chart.conftest import Render, one
from tests.chart.test_chart_on_an_api_server import NAMESPACE, Release, release, server
from tests.cluster.bed.custom_resources import serving

__all__ = ["release", "server"]
pytestmark = pytest.mark.cluster


def test_the_definition_accepts_the_objects_of_the_chart_as_they_are(render: Render, tmp_path: Path) -> None:
    rendered = [item for item in render("objects") if item["kind"] == CONFIGURATION.kind]
    with serving(tmp_path) as server:
        for item in rendered:
            server.admin.post(CONFIGURATION.path("default"), item)
            stored = server.admin.get(CONFIGURATION.path("default", item["metadata"]["name"]))
            assert stored["spec"] == item["spec"], "no field is dropped"
            assert stored["metadata"]["labels"][f"{LABEL}csi-driver"] == "csi.cinderlib.io"
    assert len(rendered) == 2


def test_objects_outlive_the_release_and_need_no_look_at_the_cluster(render: Render) -> None:
    annotations = one(render("objects"), CONFIGURATION.kind, "array1")["metadata"]["annotations"]
    assert annotations == {"helm.sh/resource-policy": "keep"}


def test_helm_moves_a_back_end_from_the_values_to_an_object_in_one_upgrade(release: Release) -> None:
    """Beside the object by which the controller shows the back end."""
    driver = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
    release.upgrade("--set-json", f'backends={{"array1": {{"driver": "{driver}"}}}}')
    release.server.admin.post(BACKEND.path(NAMESPACE), manifest("array1", driver))
    specs = f'{{"array1": {{"driver": "{driver}", "options": {{"loopfile_directories": ["/a"]}}}}}}'
    release.upgrade("--set-json", "backends={}", "--set-json", f'backendObjects={{"specs": {specs}}}')
    made = release.server.admin.get(CONFIGURATION.path(NAMESPACE, "array1"))
    assert made["spec"]["options"] == {"loopfile_directories": ["/a"]}
