"""What the pods may do on their hosts, who gets which credentials, and who may read the figures: as little as works."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.chart.conftest import NAMES, ROOT, Json, Render, container, one, pod

ROLES = ("controller", "node")
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
NEED_NO_API = {"liveness-probe", "node-driver-registrar"}
"""The containers that talk to sockets alone."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ROLES)
def test_every_container_says_what_it_needs_and_may_do(name: str, role: str, render: Render) -> None:
    spec = pod(render(name), role)
    for item in spec["containers"]:
        assert item["resources"]["requests"], item["name"]
        context = item["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, item["name"]
        if not context.get("privileged"):
            assert context["allowPrivilegeEscalation"] is False, item["name"]
            assert context["capabilities"] == {"drop": ["ALL"]}, item["name"]
            profile = context.get("seccompProfile") or spec["securityContext"]["seccompProfile"]
            assert profile == {"type": "RuntimeDefault"}, item["name"]
        else:
            assert item["name"] == "cinderlib"
            assert role == "node" or name == "everything"


def test_with_arrays_alone_nothing_of_the_controller_is_root(render: Render) -> None:
    spec = pod(render("database"), "controller")
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert all("runAsUser" not in item["securityContext"] for item in spec["containers"])
    assert "hostNetwork" not in spec
    assert not [volume for volume in spec["volumes"] if "hostPath" in volume]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ROLES)
def test_the_token_is_in_the_containers_that_ask_the_api_server_alone(name: str, role: str, render: Render) -> None:
    spec = pod(render(name), role)
    assert spec["automountServiceAccountToken"] is False
    have = {
        item["name"]
        for item in spec["containers"]
        if any(mount["mountPath"] == TOKEN_PATH and mount["readOnly"] for mount in item["volumeMounts"])
    }
    assert have == {item["name"] for item in spec["containers"]} - NEED_NO_API
    (token,) = (volume["projected"] for volume in spec["volumes"] if volume["name"] == "token")
    files = [source.popitem() for source in token["sources"]]
    assert [kind for kind, _ in files] == ["serviceAccountToken", "configMap", "downwardAPI"]


@pytest.mark.parametrize("name", NAMES)
def test_a_node_gets_no_secret_but_the_key_that_nodes_had_before_and_those_of_its_metrics(
    name: str, render: Render
) -> None:
    """No new installation has the first one."""
    objects = render(name)
    spec = pod(objects, "node")
    shared, *others = (volume["secret"] for volume in spec["volumes"] if "secret" in volume)
    assert shared["optional"] is True
    controllers = {
        volume["name"]: volume["secret"] for volume in pod(objects, "controller")["volumes"] if "secret" in volume
    }
    assert controllers["shared-sealing"]["secretName"] == shared["secretName"]
    assert controllers["sealing"]["secretName"] != shared["secretName"]
    assert [secret["secretName"] for secret in others] == (
        ["metrics-tls", "metrics-token"] if name == "everything" else []
    )
    assert [volume["name"] for volume in spec["volumes"] if "projected" in volume] == ["token"]
    assert "secretKeyRef" not in yaml.safe_dump(spec)


@pytest.mark.parametrize("name", NAMES)
def test_of_the_hosts_namespaces_a_node_shares_network_and_processes_where_its_protocols_need_them(
    name: str, render: Render
) -> None:
    spec = pod(render(name), "node")
    shared = {key for key, value in spec.items() if key.startswith("host") and value is True}
    assert shared == (set() if name == "files-only" else {"hostNetwork", "hostPID"})


def host_paths(spec: Json) -> set[str]:
    return {volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}


@pytest.mark.parametrize("role", ROLES)
def test_the_security_model_says_why_a_pod_has_each_part_of_its_host(role: str, render: Render) -> None:
    values = {"localBackend": {"path": "/LOCAL"}, "kubeletPath": "/KUBELET", "driverName": "driver"}
    spec = pod(render({**values, "controller": {"privileged": role == "controller"}}), role)
    namespaces = {key for key, value in spec.items() if key.startswith("host") and value is True}
    page = (ROOT / "docs/explanation/security-model.md").read_text()
    (table,) = re.findall(rf"<!-- host: {role} -->\n\n(.*?)\n\n", page, re.DOTALL)
    rows = [re.findall(r"^\| (.*?) \| (.*) \|$", row)[0] for row in table.splitlines()[2:]]
    told = {word for first, _ in rows for word in re.findall(r"`([^`]+)`", first)}
    places = {"/LOCAL": "localBackend.path", "/KUBELET": "KUBELET", "/driver": "/DRIVER"}
    paths = set()
    for path in host_paths(spec):
        for there, named in places.items():
            path = path.replace(there, named)  # noqa: PLW2901 - names of the page
        paths.add(path.removeprefix("/") if path.startswith("/KUBELET") else path)
    assert told == paths | namespaces | {"privileged"}
    assert all(why.strip() for _, why in rows)


def test_files_alone_need_nothing_of_the_hosts_network_and_configuration(render: Render) -> None:
    objects = render("files-only")
    assert {path for path in host_paths(pod(objects, "node")) if path.startswith("/etc")} == set()
    item = container(objects, "node")
    assert "host" not in item["readinessProbe"]["httpGet"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ROLES)
def test_no_volume_is_in_a_pod_for_nothing(name: str, role: str, render: Render) -> None:
    spec = pod(render(name), role)
    mounted = {mount["name"] for item in spec["containers"] for mount in item["volumeMounts"]}
    assert {volume["name"] for volume in spec["volumes"]} == mounted


def test_the_kubelets_own_credentials_are_not_in_the_nodes_pod(render: Render) -> None:
    """/var/lib/kubelet/pki is the kubelet's identity; no mounted directory holds it."""
    assert [path for path in host_paths(pod(render(), "node")) if "/var/lib/kubelet/pki/".startswith(f"{path}/")] == []


def test_the_kubelet_makes_the_directory_of_the_socket(render: Render) -> None:
    objects = render()
    endpoint = next(item["value"] for item in container(objects, "node")["env"] if item["name"] == "CSI_ENDPOINT")
    made = {
        volume["name"]: volume["hostPath"]["path"]
        for volume in pod(objects, "node")["volumes"]
        if volume.get("hostPath", {}).get("type") == "DirectoryOrCreate"
    }
    assert endpoint == f"unix://{made['plugin']}/csi.sock"
    assert {"name": "plugin", "mountPath": made["plugin"]} in container(objects, "node")["volumeMounts"]


def services(objects: list[Json]) -> list[str]:
    names = [item["metadata"]["name"] for item in objects if item["kind"] == "Service"]
    return [name.removesuffix("-metrics").rpartition("-")[2] for name in names]


@pytest.mark.parametrize(
    ("values", "roles"),
    [
        ({}, ["controller"]),
        ({"metrics": {"hostAddress": "node"}}, ["controller", "node"]),
        ({"node": {"hostNetwork": False}}, ["controller", "node"]),
        ({"controller": {"privileged": True}}, []),
        ({"metrics": {"enabled": False, "hostAddress": "node"}}, []),
    ],
)
def test_a_service_leads_to_the_figures_that_can_be_reached(values: Json, roles: list[str], render: Render) -> None:
    with_monitor = {**values, "metrics": {**values.get("metrics", {}), "serviceMonitor": {"enabled": True}}}
    objects = render(with_monitor)
    assert services(objects) == roles
    assert [item["kind"] for item in objects].count("ServiceMonitor") == bool(roles)


def test_metrics_are_scraped_also_from_what_cannot_get_ready(render: Render) -> None:
    objects = render("everything")
    found = [item for item in objects if item["kind"] == "Service"]
    assert [item["spec"]["publishNotReadyAddresses"] for item in found] == [True, True]
    wanted = one(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert all(wanted.items() <= item["metadata"]["labels"].items() for item in found)


def test_the_monitor_uses_the_certificate_and_the_token(render: Render) -> None:
    def endpoint(**metrics: Any) -> Json:
        values = {"metrics": {"serviceMonitor": {"enabled": True}, **metrics}}
        (found,) = one(render(values), "ServiceMonitor")["spec"]["endpoints"]
        return dict(found)

    plain = {"port": "metrics", "interval": "30s"}
    assert endpoint() == plain
    tls = {
        "ca": {"secret": {"name": "t", "key": "ca.crt"}},
        "serverName": "storage-csi-cinderlib-metrics.csi-cinderlib.svc",
    }
    assert endpoint(tlsSecret="t") == {**plain, "scheme": "https", "tlsConfig": tls}
    mine = {"enabled": True, "tlsConfig": {"insecureSkipVerify": True}}
    found = endpoint(tlsSecret="t", tokenSecret="k", serviceMonitor=mine)
    assert found["tlsConfig"] == {"insecureSkipVerify": True}
    assert found["authorization"] == {"credentials": {"name": "k", "key": "token"}}


def test_an_image_is_named_by_its_digest_where_there_is_one(render: Render) -> None:
    digest = f"sha256:{'0a' * 32}"
    values = {"node": {"image": {"digest": digest}}, "sidecars": {"attacher": {"image": {"digest": digest}}}}
    objects = render(values)
    assert container(objects, "node")["image"] == f"registry.local/csi-cinderlib-node@{digest}"
    assert container(objects, "controller", "attacher")["image"] == f"registry.k8s.io/sig-storage/csi-attacher@{digest}"
    assert ":" in container(objects, "controller", "resizer")["image"]
