"""What `check` says of the cluster, the store and the reports of back ends: the decisions."""

from __future__ import annotations

import copy
import math
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_cinderlib.backend.stats import BackendCapabilities, BackendStats, Pool
from csi_cinderlib.commands.examination import cluster, reports, store
from csi_cinderlib.commands.examination.findings import Level
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.kubernetes.resources import controller_rules, definitions, status_rules
from csi_cinderlib.persistence.plugins import open_store

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 29, 20, 0, 0, tzinfo=UTC)


def http(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def test_the_oldest_kubernetes_is_the_charts() -> None:
    chart = yaml.safe_load((ROOT / "charts/csi-cinderlib/Chart.yaml").read_text())
    (found,) = re.findall(r"^>=(\d+)\.(\d+)", chart["kubeVersion"])
    assert tuple(map(int, found)) == cluster.OLDEST_KUBERNETES


def test_the_sidecars_that_are_tested_are_those_that_the_chart_installs() -> None:
    values = yaml.safe_load((ROOT / "charts/csi-cinderlib/values.yaml").read_text())
    images = [sidecar["image"] for sidecar in values["sidecars"].values()]
    chosen = {image["repository"].rpartition("/")[2]: cluster.version(image["tag"]) for image in images}
    assert chosen == cluster.SIDECARS


@pytest.mark.parametrize(
    ("image", "level"),
    [
        ("registry.k8s.io/sig-storage/csi-provisioner:v6.4.0", Level.OK),
        ("registry.k8s.io/sig-storage/csi-provisioner:v6.5.1", Level.OK),
        ("registry:5000/csi-provisioner:v6.4.0@sha256:abc", Level.OK),
        ("registry.k8s.io/sig-storage/csi-provisioner:v6.3.9", Level.NOTE),
        ("registry.k8s.io/sig-storage/csi-provisioner:v5.0.0", Level.NOTE),
        ("registry.k8s.io/sig-storage/csi-provisioner:v7.0.0", Level.NOTE),
        ("registry:5000/csi-provisioner@sha256:abc", Level.UNKNOWN),
        ("registry:5000/csi-provisioner", Level.UNKNOWN),
        ("registry:5000/csi-provisioner:latest", Level.UNKNOWN),
        ("registry.local/csi-cinderlib-controller:0.1.0", None),
        ("", None),
    ],
)
def test_a_sidecar_is_judged_by_its_images_tag(image: str, level: Level | None) -> None:
    finding = cluster.judge_image(image)
    assert (finding and finding.level) is level


def pod(**containers: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "controller-0"},
        "spec": {"containers": [{"name": name, "image": image} for name, image in containers.items()]},
    }


def test_a_container_that_does_not_start_is_noted() -> None:
    waiting = pod(provisioner="x/csi-provisioner:v6.4.0")
    waiting["status"] = {
        "containerStatuses": [{"name": "provisioner", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    }
    found = list(cluster.judge_pods([waiting]))
    assert [finding.level for finding in found] == [Level.OK, Level.NOTE]
    assert "container provisioner of controller-0 is waiting: CrashLoopBackOff" in found[1].detail


def test_secrets_that_must_exist_are_told_from_those_that_may_be_missing() -> None:
    mounting = pod(a="b")
    mounting["spec"]["volumes"] = [
        {"name": "config", "secret": {"secretName": "config"}},
        {"name": "keys", "secret": {"secretName": "shared", "optional": True}},
        {"name": "none", "emptyDir": {}},
        {
            "name": "backends",
            "projected": {
                "sources": [
                    {"secret": {"name": "backends"}},
                    {"secret": {"name": "more", "optional": True}},
                    {"configMap": {"name": "x"}},
                ]
            },
        },
    ]
    assert cluster.mounted_secrets([mounting]) == {"config": False, "shared": True, "backends": False, "more": True}


@pytest.mark.parametrize(
    ("skew", "level"),
    [(0.0, Level.OK), (0.9, Level.OK), (4, Level.OK), (6, Level.NOTE), (-6, Level.NOTE), (90, Level.BAD)],
)
def test_the_clock_is_compared_with_the_api_servers(skew: float, level: Level) -> None:
    assert cluster.judge_clock(http(NOW), NOW + timedelta(seconds=skew)).level is level


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 29 Nov 2026"])
def test_a_server_that_tells_no_time_leaves_the_skew_unknown(date: str) -> None:
    assert cluster.judge_clock(date, NOW).level is Level.UNKNOWN


@pytest.mark.parametrize(
    ("spec", "level", "words"),
    [
        (
            {"holderIdentity": "a", "renewTime": "2026-11-29T19:59:58.000000Z", "leaseDurationSeconds": 17},
            Level.OK,
            "a is active",
        ),
        (
            {"holderIdentity": "a", "renewTime": "2026-11-29T19:00:00.000000Z", "leaseDurationSeconds": 17},
            Level.NOTE,
            "3600 s ago",
        ),
        (
            {"holderIdentity": "a", "renewTime": "2026-11-29T20:00:09.000000Z", "leaseDurationSeconds": 17},
            Level.OK,
            "0 s ago",
        ),
        ({"holderIdentity": ""}, Level.NOTE, "no holder"),
        ({}, Level.NOTE, "no holder"),
        ({"holderIdentity": "a", "renewTime": "odd"}, Level.UNKNOWN, "unknown"),
        ({"holderIdentity": "a"}, Level.UNKNOWN, "unknown"),
    ],
)
def test_a_lease_is_judged_by_the_servers_time(spec: dict[str, Any], level: Level, words: str) -> None:
    finding = cluster.judge_lease(spec, http(NOW))
    assert finding.level is level
    assert words in finding.detail


def test_each_right_of_the_controllers_role_is_asked_for() -> None:
    asked = list(cluster.needed_rights("ns", uses_store=True))
    granted = sum(len(rule["apiGroups"]) * len(rule["resources"]) * len(rule["verbs"]) for rule in controller_rules())
    assert len(asked) == granted
    assert {
        "namespace": "ns",
        "group": "cinderlib.io",
        "resource": "volumes",
        "subresource": "status",
        "verb": "patch",
    } in asked
    without_store = list(cluster.needed_rights("ns", uses_store=False))
    assert {item["resource"] for item in without_store} == {
        "storagenodes",
        "storagebackends",
        "backendconfigurations",
        "events",
    }


def test_the_rights_without_a_store_are_those_of_the_chart() -> None:
    """The template grants them whatever the store is."""
    text = (ROOT / "charts/csi-cinderlib/templates/rbac-controller.yaml").read_text()
    for rule in cluster.NODE_OBJECTS, *status_rules():
        shown = f"resources: [{', '.join(rule['resources'])}]"
        after = text.partition(shown)[2].splitlines()
        verbs = next(line for line in after if line.strip().startswith("verbs:"))
        assert verbs.strip() == f"verbs: [{', '.join(rule['verbs'])}]"


def test_a_definition_that_lacks_a_field_is_older() -> None:
    for ours in definitions():
        assert cluster.lacking_fields(ours, copy.deepcopy(ours)) == []
    ours = definitions()[0]
    older = copy.deepcopy(ours)
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"].pop("x-kubernetes-preserve-unknown-fields", None)
    del schema["properties"]["spec"]["properties"]["id"]
    assert cluster.lacking_fields(ours, older) == ["spec.id"]
    schema["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] = True
    assert cluster.lacking_fields(ours, older) == []


@pytest.mark.parametrize(
    ("pool", "level", "words"),
    [
        (Pool(name="p", total=10, free=5), Level.OK, "5.0 GiB free of 10.0 GiB"),
        (Pool(name="p", total=math.inf, free=math.inf), Level.OK, "no limit free of no limit"),
        (Pool(name="p", total=10, free=0), Level.NOTE, "it is full"),
        (Pool(name="p", total=0, free=0), Level.BAD, "reports no capacity"),
        (Pool(name="p", total=0, free=None), Level.BAD, "reports no capacity"),
        (Pool(name="p"), Level.UNKNOWN, "the driver reports no capacity"),
        (Pool(name="p", total=10, free=5, raw={"backend_state": "down"}), Level.BAD, "reports state down"),
        (Pool(name="p", total=10, free=5, raw={"backend_state": "up"}), Level.OK, "5.0 GiB"),
    ],
)
def test_a_pool_without_capacity_is_not_good(pool: Pool, level: Level, words: str) -> None:
    finding = reports.judge_pool("b", pool)
    assert finding.what == "pool b/p"
    assert finding.level is level
    assert words in finding.detail


def test_a_driver_that_says_it_is_down_is_bad() -> None:
    stats = BackendStats(pools=(), raw={"backend_state": "down"})
    assert Level.BAD in {finding.level for finding in reports.describe("b", "x.Y", BackendCapabilities(), stats)}
    stats = BackendStats(pools=(), raw={})
    assert Level.BAD not in {finding.level for finding in reports.describe("b", "x.Y", BackendCapabilities(), stats)}


def test_a_store_in_a_file_must_be_writable(tmp_path: Path) -> None:
    assert store.judge_file(tmp_path / "a/b/metadata.db").level is Level.OK
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "level", "words"),
    [
        (None, Level.NOTE, "no controller has been active yet"),
        ('{"holder": "host_1", "seconds": 17}', Level.OK, "last holder: host_1"),
        ('{"holder": "", "seconds": 17}', Level.NOTE, "no holder"),
        ("[]", Level.UNKNOWN, "cannot read"),
        ("{", Level.UNKNOWN, "cannot read"),
    ],
)
def test_the_lease_in_a_database_tells_its_holder(tmp_path: Path, value: str | None, level: Level, words: str) -> None:
    with closing(open_store("memory", {}, state_dir=tmp_path)) as records:
        if value is not None:
            records.add(KeyValue(id=lease.KEY, value=value))
        finding = store.judge_lease(records)
    assert finding.level is level
    assert words in finding.detail
