"""What the chart makes is valid for every Kubernetes that it supports, asks for no more than it needs, and leaks nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml

from csi_cinderlib.commands.crds import text as crds
from csi_cinderlib.persistence.kubernetes.resources import controller_rules, node_rules, secret_rules
from tests.chart.conftest import NAMES, ROOT, Json, Render, container, one, pod

VERSIONS = ("1.30", "1.32", "1.34", "1.35", "1.36")
FOREIGN = {"ServiceMonitor", "BackendConfiguration", "VolumeSnapshotClass"}
"""Kinds of custom resources: their schemas are not Kubernetes' own."""

NEEDS = {
    "persistentvolumes": "get list watch create patch delete",
    "persistentvolumeclaims": "get list watch update",
    "persistentvolumeclaims/status": "patch",
    "events": "list watch create update patch",
    "nodes": "get list watch",
    "pods": "get list watch",
    "storageclasses": "get list watch",
    "csinodes": "get list watch",
    "volumeattributesclasses": "get list watch",
    "volumeattachments": "get list watch patch",
    "volumeattachments/status": "patch",
}
DRIVERS = {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]}
"""The driver's own: which cluster this is."""
SNAPSHOTS = {
    "volumesnapshots": "get list watch update",
    "volumesnapshotclasses": "get list watch",
    "volumesnapshotcontents": "get list watch update patch",
    "volumesnapshotcontents/status": "update patch",
}
"""deploy/kubernetes/rbac.yaml of external-provisioner 6.4.0, -attacher 4.13.0, -resizer 2.3.0 and -snapshotter 8.7.0, united. The
provisioner reads VolumeAttributesClasses, too."""
GROUP_SNAPSHOTS = {
    "volumegroupsnapshotclasses": "get list watch",
    "volumegroupsnapshotcontents": "get list watch update patch",
    "volumegroupsnapshotcontents/status": "update patch",
}
HEALTH = {"events": "get list watch create update patch"}
"""external-health-monitor 0.18.0 states `get` besides."""
CAPACITY = {
    "csistoragecapacities": "get list watch create update patch delete",
    "pods": "get",
    "replicasets": "get",
}
"""What external-provisioner states for its own namespace, to own what it makes there by the Deployment."""


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str, render: Render) -> None:
    different = {yaml.safe_dump(item): item for name in NAMES for item in render(name) if item["kind"] not in FOREIGN}
    assert len(different) > 40
    for item in different.values():
        kubernetes_validate.validate(item, version, strict=True)


def test_the_chart_brings_the_definitions_that_the_program_makes() -> None:
    brought = (ROOT / "charts/csi-cinderlib/crds/cinderlib.io.yaml").read_text()
    assert brought == crds(), "make chart"
    for item in yaml.safe_load_all(brought):
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)


def test_the_roles_are_what_the_program_needs_and_no_more(render: Render) -> None:
    objects = render()
    assert _ours(objects) == controller_rules()
    assert one(objects, "Role", "-node")["rules"] == node_rules()
    assert [item["metadata"]["name"] for item in objects if item["kind"] == "ClusterRole"] == [
        "storage-csi-cinderlib-controller"
    ]


def _ours(objects: list[Json]) -> list[Json]:
    """The rules of the controller's role but for those of the sidecars."""
    sidecars = {*CAPACITY}
    rules = one(objects, "Role", "-controller")["rules"]
    return [rule for rule in rules if not sidecars.intersection(rule["resources"])]


def test_with_a_database_the_controller_sees_no_record_among_our_objects_but_the_nodes(render: Render) -> None:
    records = {"volumes", "volumes/status", "attachments", "leases"}
    assert _ours(render("database")) == [rule for rule in controller_rules() if not records & {*rule["resources"]}]


@pytest.mark.parametrize(
    ("sidecars", "needs"),
    [
        ({}, NEEDS | SNAPSHOTS),
        ({"snapshotter": {"enabled": False, "groupSnapshots": True}}, NEEDS | {"volumesnapshotcontents": "list"}),
        ({"snapshotter": {"groupSnapshots": True}}, NEEDS | SNAPSHOTS | GROUP_SNAPSHOTS),
        ({"healthMonitor": {"enabled": True}}, NEEDS | SNAPSHOTS | HEALTH),
    ],
    ids=["usual", "no snapshots", "group snapshots", "health"],
)
def test_the_sidecars_may_do_what_their_projects_state_and_no_more(
    sidecars: Json, needs: Mapping[str, str], render: Render
) -> None:
    role = one(render({"sidecars": sidecars}), "ClusterRole", "-controller")
    rules = [rule for rule in role["rules"] if rule != DRIVERS]
    assert len(rules) == len(role["rules"]) - 1
    assert _granted(rules) == {resource: sorted(verbs.split()) for resource, verbs in needs.items()}


@pytest.mark.parametrize(("capacity", "needs"), [(False, {}), (True, CAPACITY)])
def test_in_their_namespace_they_keep_capacity_where_it_is_wanted(
    capacity: bool, needs: Mapping[str, str], render: Render
) -> None:
    objects = render({"csiDriver": {"storageCapacity": capacity}})
    ours = _ours(objects)
    rules = [rule for rule in one(objects, "Role", "-controller")["rules"] if rule not in ours]
    assert _granted(rules) == {resource: sorted(verbs.split()) for resource, verbs in needs.items()}


NO_LOCAL = {"localBackend": {"enabled": False}}
ARRAY = {"a": {"driver": "example.Driver"}}
FILES = {"f": {"driver": "csi_cinderlib.drivers.loopfile.LoopFileDriver"}}


@pytest.mark.parametrize(
    ("values", "replicas"),
    [
        ({**NO_LOCAL, "backends": ARRAY}, 2),
        ({**NO_LOCAL, "backendSecrets": ["arrays"]}, 2),
        ({"localBackend": {"shared": True}}, 2),
        ({}, 1),
        ({"localBackend": {"node": "n1"}, "backends": ARRAY}, 1),
        ({**NO_LOCAL, "backends": {**ARRAY, **FILES}}, 1),
        ({**NO_LOCAL, "backendSecrets": ["lvm"], "controller": {"privileged": True}}, 1),
        ({**NO_LOCAL, "backends": ARRAY, "sidecars": {"livenessProbe": {"enabled": True}}}, 1),
        ({"controller": {"replicaCount": 2}}, 2),
        ({**NO_LOCAL, "backends": ARRAY, "controller": {"replicaCount": 1}}, 1),
        ({**NO_LOCAL, "backends": ARRAY, "controller": {"replicaCount": 0}}, 0),
    ],
)
def test_a_standby_is_the_default_where_it_can_reach_the_back_ends(values: Json, replicas: int, render: Render) -> None:
    assert one(render(values), "Deployment")["spec"]["replicas"] == replicas


def test_a_standby_is_on_another_node_where_it_can_and_one_controller_is_evicted_at_a_time(render: Render) -> None:
    objects = render("two-replicas")
    deployment = one(objects, "Deployment", "-controller")["spec"]
    assert deployment["replicas"] == 2
    (preferred,) = deployment["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    term = preferred["podAffinityTerm"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"] == deployment["selector"]["matchLabels"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    budget = one(objects, "PodDisruptionBudget", "-controller")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": deployment["selector"]}


@pytest.mark.parametrize("name", NAMES)
def test_no_sidecar_elects_a_leader_because_the_active_controller_is_one(name: str, render: Render) -> None:
    """Two elections could choose the sidecar of one pod and the controller of another."""
    for item in one(render(name), "Deployment", "-controller")["spec"]["template"]["spec"]["containers"]:
        assert not [argument for argument in item.get("args", ()) if "leader-election" in argument], item["name"]


def _granted(rules: list[Json]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for rule in rules:
        for resource in rule["resources"]:
            found[resource] = sorted({*found.get(resource, ()), *rule["verbs"]})
    return found


@pytest.mark.parametrize("name", NAMES)
def test_only_the_controller_may_read_secrets_and_only_those_of_its_objects(name: str, render: Render) -> None:
    for item in render(name):
        for rule in item.get("rules", ()):
            if name == "objects" and item["kind"] == "Role" and rule["resources"] == ["secrets"]:
                wanted = {"controller": ["team-a"], "secret-of-array1": ["array1"]}
                assert rule == secret_rules(wanted[item["metadata"]["name"].removeprefix("storage-csi-cinderlib-")])[0]
                continue
            assert not {"secrets", "*"} & {*rule["resources"], *rule["apiGroups"]}, item["metadata"]["name"]


def test_a_node_may_read_node_objects_only_where_it_needs_their_labels(render: Render) -> None:
    role = one(render({"node": {"topologyLabels": ["topology.kubernetes.io/zone"]}}), "ClusterRole", "-node")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]


def test_the_admission_policy_names_the_account_that_the_nodes_run_as(render: Render) -> None:
    objects = render()
    (condition,) = one(objects, "ValidatingAdmissionPolicy")["spec"]["matchConditions"]
    account = pod(objects, "node")["serviceAccountName"]
    assert f'"system:serviceaccount:csi-cinderlib:{account}"' in condition["expression"]
    binding = one(objects, "ValidatingAdmissionPolicyBinding")["spec"]
    assert binding["policyName"] == one(objects, "ValidatingAdmissionPolicy")["metadata"]["name"]
    assert binding["validationActions"] == ["Deny"]


def test_what_is_secret_is_in_secrets_alone(render: Render) -> None:
    """Not in ConfigMaps, arguments, environments or annotations."""
    for item in render("database"):
        assert ("canary-token" in yaml.safe_dump(item)) == (
            item["kind"] == "Secret" and "backends" in item["metadata"]["name"]
        )


@pytest.mark.parametrize("name", NAMES)
def test_ports_of_the_host_are_taken_once(name: str, render: Render) -> None:
    objects = render(name)
    taken: list[int] = []
    for role in ("controller", "node"):
        spec = pod(objects, role)
        if spec.get("hostNetwork"):
            taken += [port["containerPort"] for item in spec["containers"] for port in item.get("ports", ())]
            probes = {_host(item) for item in spec["containers"] if "livenessProbe" in item}
            assert probes == {"127.0.0.1"}
    assert len(taken) == len(set(taken))


def _host(item: Json) -> Any:
    return item["livenessProbe"]["httpGet"].get("host")


@pytest.mark.parametrize(
    "release", ["r" * 53, "csi-cinderlib-" + "r" * 39, "with.dots." + "r" * 43, "r" * 43 + "-" * 9 + "r"]
)
@pytest.mark.parametrize("values", [{}, {"fullnameOverride": "o" * 80}, {"nameOverride": "n" * 80}], ids=str)
def test_names_fit_however_long_the_releases_is(release: str, values: Json, render: Render) -> None:
    """A Service's, which is the shortest, and a label's value have 63 characters."""
    for item in render(values, release=release):
        names = [item["metadata"]["name"], *item["metadata"]["labels"].values()]
        for name in names if item["kind"] == "Service" else names[1:]:
            assert re.fullmatch(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", name), item["kind"]
        assert re.fullmatch(r"[a-z0-9]+([.-]+[a-z0-9]+)*", names[0])
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)


def test_a_services_name_has_no_dot(render: Render) -> None:
    services = [item for item in render({}, release="my.storage") if item["kind"] == "Service"]
    assert [item["metadata"]["name"] for item in services] == ["my-storage-csi-cinderlib-controller-metrics"]


@pytest.mark.parametrize(
    ("role", "kind", "key", "other"),
    [("controller", "Deployment", "strategy", "Recreate"), ("node", "DaemonSet", "updateStrategy", "OnDelete")],
)
def test_only_a_rolling_update_has_its_limits(role: str, kind: str, key: str, other: str, render: Render) -> None:
    """Kubernetes refuses them with another type: "may not be specified when strategy `type` is 'Recreate'"."""
    assert one(render({role: {"updateStrategy": {"type": other}}}), kind)["spec"][key] == {"type": other}
    assert set(one(render(), kind)["spec"][key]) == {"type", "rollingUpdate"}


@pytest.mark.parametrize("number", [7, 1_000_000, 12_345_678_901, 0.5, 1234567.5])
def test_numbers_are_written_as_they_are_given(number: float, render: Render) -> None:
    parameters = {"qos/maxIOPS": number}
    backends = {"a": {"driver": "example.Driver", "options": {"vmware_task_poll_interval": number}}}
    objects = render({"storageClasses": [{"name": "a", "parameters": parameters}], "backends": backends})
    assert one(objects, "StorageClass")["parameters"] == {"qos/maxIOPS": str(number)}
    written = yaml.safe_load(one(objects, "Secret", "-backends")["stringData"]["from-values.yaml"])
    assert written["a"]["options"] == {"vmware_task_poll_interval": number}


def test_other_values_of_parameters_are_text_as_well(render: Render) -> None:
    parameters = {"extraSpecs/a": True, "extraSpecs/b": '<"is"> \\', "extraSpecs/c": "007"}
    objects = render({"storageClasses": [{"name": "a", "parameters": parameters}]})
    assert one(objects, "StorageClass")["parameters"] == parameters | {"extraSpecs/a": "true"}


def test_a_topology_does_not_restart_the_controller(render: Render) -> None:
    """Its sidecars ask only once for the capability VOLUME_ACCESSIBILITY_CONSTRAINTS, which the controller always reports."""

    def template(topology: Json) -> Json:
        found: Json = one(render({"backends": {"a": {"driver": "x.Driver", "topology": topology}}}), "Deployment")
        return dict(found["spec"]["template"])

    assert template({"topology.kubernetes.io/zone": "a"}) == template({})


@pytest.mark.parametrize("role", ["controller", "node"])
def test_a_file_system_mounted_later_at_the_local_back_end_is_seen(role: str, render: Render) -> None:
    """Else the pod would go on with the directory below it."""
    mounts = container(render("two-replicas"), role)["volumeMounts"]
    (local,) = [mount for mount in mounts if mount["name"] == "local"]
    assert local["mountPropagation"] == "HostToContainer"


def test_a_secret_with_back_ends_that_is_missing_does_not_stop_the_others(render: Render) -> None:
    (volume,) = [volume for volume in pod(render("secrets"), "controller")["volumes"] if volume["name"] == "backends"]
    own, *others = [source["secret"] for source in volume["projected"]["sources"]]
    assert own == {"name": "storage-csi-cinderlib-backends"}
    assert others == [{"name": name, "optional": True} for name in ("arrays", "more-arrays")]
